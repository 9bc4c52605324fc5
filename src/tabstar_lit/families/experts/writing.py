"""Texts that a network writes: prompts in, continuations out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from tabstar_lit.families.experts.networks.decoding import decoder_of
from tabstar_lit.families.experts.networks.filling import Filler
from tabstar_lit.families.experts.text.tokenizing import Framing
from tabstar_lit.nn.generation import Stop, generate, pad_left
from tabstar_lit.nn.sampling import Sampling

READABLE = Sampling(temperature=0.8)
"""A little less than chance: what a small model writes is then easier to read."""

MARK = "▸"
"""Stands in samples where the network goes on by itself."""


def continuations(
    network: nn.Module,
    framing: Framing,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    at_once: int | None = None,
) -> list[str]:
    """Continue prompts until the token that ends a text, or so many tokens.

    Parameters
    ----------
    network : nn.Module
        Any network of the family.
    framing : Framing
        Its tokenizer.
    prompts : sequence of sequence of int
        Tokens that texts begin with, see :meth:`Framing.prompt`.
    max_new_tokens : int
        Tokens that are written, at most.
    sampling : Sampling
        How they are chosen.
    at_once : int or None
        Tokens that a masked diffuser fills in at once, see :class:`Filler`; None: one after another.

    Returns
    -------
    list of str
        What was written after each prompt.
    """
    stop = Stop(max_new_tokens, end=framing.end, pad=framing.end)
    if at_once is not None:
        filled = Filler(network, at_once).write(prompts, stop, sampling)
        return [framing.tokenizer.decode(tokens) for tokens in filled]
    device = next(network.parameters()).device
    begun = pad_left(prompts, pad=framing.end, device=device)
    written = generate(decoder_of(network), begun, stop, sampling, context=None)
    texts = zip(written.tokens.cpu(), written.lengths.tolist(), strict=True)
    return [framing.tokenizer.decode(tokens[:length].tolist()) for tokens, length in texts]


@dataclass(frozen=True)
class SampleWriter:
    """Lets a network go on with the beginnings of held-out documents, always the same.

    Attributes
    ----------
    framing : Framing
        The tokenizer.
    beginnings : mapping of str to sequence of int
        By domain, tokens of which the first begins a document.
    max_new_tokens : int
        Tokens that are written after each.
    sampling : Sampling
        How they are chosen.
    """

    framing: Framing
    beginnings: Mapping[str, Sequence[int]]
    max_new_tokens: int = 160
    sampling: Sampling = READABLE

    def __call__(self, network: nn.Module) -> Iterator[tuple[str, str]]:
        """Yield the name of each domain and the text, with a mark where the network took over."""
        written = continuations(
            network,
            self.framing,
            list(self.beginnings.values()),
            max_new_tokens=self.max_new_tokens,
            sampling=self.sampling,
        )
        for (domain, tokens), text in zip(self.beginnings.items(), written, strict=True):
            yield domain, f"{self.framing.decode(tokens)}{MARK}{text}"
