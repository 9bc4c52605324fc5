"""From the bases of a sequence to the vector of an amplicon sequence variant (ASV)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.microbes.networks.layers import Pooling, Sizes
from tabstar_lit.families.microbes.networks.lineages import Lineages
from tabstar_lit.families.microbes.study.batch import MASK, PAD, VOCABULARY_SIZE
from tabstar_lit.nn.positions import LearnedPositions

STD = 0.02
"""Of the initial vectors of letters."""


class Sequences(NamedTuple):
    """The vectors ``[U, D]`` of sequences, scores ``[U, L, 7]`` of their letters, and logits ``[U, K]`` of lineages.

    Letters are there where they are asked for, lineages where the network has some.
    """

    vectors: Tensor
    letters: Tensor | None
    lineages: Tensor | None = None


class ASVEncoder(nn.Module):
    """Letters with learned positions, a transformer, and pooling over the letters that are there.

    Parameters
    ----------
    sizes : Sizes
        Width, heads, dropout.
    layers : int
        Layers of the transformer.
    max_letters : int
        Most letters ``L`` of a sequence, START included.
    per_token : int
        Neighbouring letters that make one token.
    at_once : int or None
        Sequences that are read at once; None: all.
    n_lineages : int
        Lineages ``K`` that are told from the letters and joined to the vectors.
    given : bool
        Whether the lineages are to be given, see :class:`Lineages`.
    """

    def __init__(
        self,
        sizes: Sizes,
        layers: int,
        max_letters: int,
        *,
        per_token: int = 1,
        at_once: int | None = None,
        n_lineages: int = 0,
        given: bool = False,
    ) -> None:
        super().__init__()
        self.per_token, self.at_once, self.max_letters = per_token, at_once, max_letters
        self.letters = nn.Embedding(VOCABULARY_SIZE, sizes.width, padding_idx=PAD)
        nn.init.normal_(self.letters.weight, std=STD)
        self.join = nn.Linear(per_token * sizes.width, sizes.width) if per_token > 1 else nn.Identity()
        self.positions = LearnedPositions(-(-max_letters // per_token), sizes.width)
        self.transformer = sizes.transformer(layers)
        self.pooling = Pooling(sizes.width)
        self.letter_scores = nn.Linear(sizes.width, per_token * VOCABULARY_SIZE)
        n_letters = max_letters * (VOCABULARY_SIZE - 1)
        self.lineages = Lineages(n_letters, n_lineages, given=given) if n_lineages else None
        self.kin = nn.Linear(n_lineages, sizes.width, bias=False) if n_lineages else None

    def forward(self, sequences: Tensor, hidden: Tensor | None = None, *, letters: bool = False) -> Sequences:
        """Encode.

        Parameters
        ----------
        sequences : Tensor of int64
            ``[U, L]`` letters.
        hidden : Tensor or None
            ``[U, L]`` bool, True where a letter is not shown; lineages are told from all letters.
        letters : bool
            Whether the scores of letters are wanted.
        """
        shown = sequences if hidden is None else torch.where(hidden, MASK, sequences)
        parts = [shown] if self.at_once is None else torch.split(shown, self.at_once)
        encoded, scores = zip(*(self._encode(part, letters) for part in parts), strict=True)
        vectors = _joined(encoded)
        told = _joined([own for own in scores if own is not None]) if letters else None
        if self.lineages is None or self.kin is None:
            return Sequences(vectors, told)
        lineages = self.lineages(one_hot(sequences).to(vectors))
        return Sequences(vectors + self.kin(lineages.sigmoid()), told, lineages)

    def _encode(self, sequences: Tensor, letters: bool) -> tuple[Tensor, Tensor | None]:
        length = sequences.shape[1]
        sequences = functional.pad(sequences, (0, -length % self.per_token), value=PAD)
        mask = (sequences != PAD).view(len(sequences), -1, self.per_token).any(-1)
        tokens = self._tokens(sequences.view(*mask.shape, -1))
        states = self.transformer(self.positions(tokens), mask)
        scores = self.letter_scores(states).unflatten(2, (-1, VOCABULARY_SIZE)).flatten(1, 2) if letters else None
        return self.pooling(states, mask).vector, None if scores is None else scores[:, :length]

    def _tokens(self, sequences: Tensor) -> Tensor:
        """Map letters ``[U, T, P]`` to tokens ``[U, T, D]``.

        ``join`` of the vectors of letters is linear in the letters: both make one small table, times ones and zeros.
        """
        if isinstance(self.join, nn.Identity):
            tokens: Tensor = self.letters(sequences[..., 0])
            return tokens
        weight = self.join.weight.view(-1, self.per_token, self.letters.embedding_dim)
        table = torch.einsum("dpe,ve->dpv", weight, self.letters.weight[1:]).flatten(1)
        return functional.linear(one_hot(sequences).flatten(2).to(table), table, self.join.bias)


def one_hot(letters: Tensor) -> Tensor:
    """Return ``[..., 6]``, true where a letter is; of PAD nowhere. Unlike torch's own, it reads nothing back."""
    return letters.unsqueeze(-1) == torch.arange(1, VOCABULARY_SIZE, device=letters.device)


def _joined(parts: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
