"""Texts that masked diffusion writes block by block, several tokens at once: the surest first (arXiv 2202.04200)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.experts.networks.decoding import as_documents
from tabstar_lit.families.experts.networks.masked_diffusion import MaskedCache, MaskedExpert
from tabstar_lit.families.experts.networks.prefixes import Seen
from tabstar_lit.families.experts.networks.text_model import TextModel
from tabstar_lit.nn.decoders import evaluating
from tabstar_lit.nn.generation import Stop, pad_left, refuse_non_finite
from tabstar_lit.nn.sampling import Sampling


class Filler(nn.Module):
    """Continues prompts by filling in the slots of a block, some at once.

    Tokens that are filled in together do not see each other: the fewer passes, the worse the text.

    Parameters
    ----------
    network : nn.Module
        A masked diffuser.
    at_once : int
        Tokens that are filled in by a pass of the network, at most.

    Raises
    ------
    ConfigError
        The network is of another kind, or no token may be filled in.
    """

    def __init__(self, network: nn.Module, at_once: int) -> None:
        super().__init__()
        if not isinstance(network, TextModel) or not isinstance(network.expert, MaskedExpert):
            raise ConfigError("only masked diffusers fill in tokens at once; the others write one after another.")
        if at_once < 1:
            raise ConfigError(f"{at_once} tokens cannot be filled in at once; give 1 or more.")
        self.network, self.expert, self.at_once = network, network.expert, at_once

    def write(self, prompts: Sequence[Sequence[int]], stop: Stop, sampling: Sampling) -> list[list[int]]:
        """Return the tokens that follow each prompt, up to the one that ends a text.

        Prompts of which the same number of tokens stands in an unfinished block are continued together; what is written
        depends on the number of a prompt and not on the others.
        """
        draws = sampling.draws(range(len(prompts)), stop.max_new_tokens + self.expert.block)
        written: list[list[int]] = [[] for _ in prompts]

        def offset(number: int) -> int:
            return (len(prompts[number]) - 1) % self.expert.block

        with torch.inference_mode(), evaluating(self):
            for _, group in groupby(sorted(range(len(prompts)), key=offset), key=offset):
                rows = list(group)
                texts = self._continued([prompts[row] for row in rows], draws[rows], stop, sampling)
                for row, text in zip(rows, texts.tolist(), strict=True):
                    written[row] = _ended(text, stop)
        return written

    def _continued(self, prompts: Sequence[Sequence[int]], draws: Tensor, stop: Stop, sampling: Sampling) -> Tensor:
        """Return what follows prompts that stand at one place of their blocks."""
        device = self.network.embedding.weight.device
        tokens, mask = pad_left(prompts, pad=stop.pad, device=device)
        draws, cache = draws.to(device), self.expert.start()
        seen = self.expert.read(self.network.embedding(tokens), as_documents(mask), cache)
        written = tokens[:, :0]
        ended = torch.zeros(len(tokens), dtype=torch.bool, device=device)
        while written.shape[1] < stop.max_new_tokens and not ended.all():
            new = self._filled(seen, cache, draws[:, written.shape[1] :], sampling)
            written = torch.cat([written, new], dim=1)
            if stop.end is not None:
                ended |= (new == stop.end).any(1)
            seen = self.expert.read(self.network.embedding(new), None, cache)
        return written

    def _filled(self, seen: Seen, cache: MaskedCache, draws: Tensor, sampling: Sampling) -> Tensor:
        """Return the tokens that complete the block which all rows are in, ``[B, n]``."""
        told, shown = self.expert.begun(seen)
        known = int(shown[0].sum())
        tokens = torch.zeros_like(shown, dtype=torch.int64)
        chances = torch.nn.functional.pad(draws, (known, 0))[:, : self.expert.block]
        for left in range(self.expert.block - known, 0, -self.at_once):
            logits = self.network.logits(self.expert.slots(seen, cache.clean, told, shown)).float()
            chosen = sampling.choose(logits.flatten(0, 1), chances.flatten()).view_as(tokens)
            sureness = logits.log_softmax(-1).gather(2, chosen[..., None])[..., 0]
            refuse_non_finite(sureness.sum(1))
            surest = sureness.masked_fill(shown, float("-inf")).topk(min(self.at_once, left), dim=1).indices
            new = torch.zeros_like(shown).scatter(1, surest, True)
            tokens = torch.where(new, chosen, tokens)
            told, shown = torch.where(new[..., None], self.network.embedding(chosen), told), shown | new
        return tokens[:, known:]


def _ended(tokens: list[int], stop: Stop) -> list[int]:
    """Return the tokens up to the end of the text, no more than are wanted."""
    tokens = tokens[: stop.max_new_tokens]
    return tokens[: tokens.index(stop.end) + 1] if stop.end in tokens else tokens
