"""How the next token is chosen from its logits: the likeliest, or one drawn from the likely ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sampling:
    """Draw from the softmax of ``logits / temperature``, cut to the likeliest tokens.

    The draws of a text depend on ``seed``, on the number of its row and on the place of the token, and on nothing else:
    neither on the texts beside it nor on the device. So a text comes out the same in a batch of any size, as far as its
    logits do.

    Parameters
    ----------
    temperature : float
        0: always the likeliest token, and what follows has no effect.
    top_k : int or None
        Keep this many tokens, and those as likely as the last of them.
    top_p : float or None
        Keep the smallest set of likeliest tokens with at least this probability together (arXiv 1904.09751); taken
        after ``top_k``.
    seed : int
        Of the draws.

    Raises
    ------
    ConfigError
        One of them has no meaning.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ConfigError(f"temperature is {self.temperature}; give 0 for the likeliest token, or more.")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; keep at least 1 token, or leave it out to keep all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; give a probability above 0 and up to 1, or leave it out.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give 0 or more.")

    def draws(self, rows: Sequence[int], count: int) -> Tensor:
        """Return uniform numbers in ``[0, 1)`` for ``count`` tokens of each of ``N`` rows: ``[N, count]`` float32.

        They are counter-based (Philox), so that rows are independent and a longer text begins as a shorter one.
        """
        if self.temperature == 0:
            return torch.zeros(len(rows), count)
        streams = (np.random.Generator(np.random.Philox(key=[self.seed, row])) for row in rows)
        return torch.from_numpy(np.stack([stream.random(count, dtype=np.float32) for stream in streams]))

    def choose(self, logits: Tensor, draws: Tensor) -> Tensor:
        """Choose a token of each row: logits ``[B, V]`` and uniform numbers ``[B]`` to tokens ``[B]``."""
        if self.temperature == 0:
            return logits.argmax(-1)
        return at_quantile(self.cut(logits).softmax(-1), draws)

    def cut(self, logits: Tensor) -> Tensor:
        """Return ``logits / temperature`` ``[B, V]``, minus infinity for tokens that are not kept."""
        logits = logits / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        return logits if self.top_p in (None, 1) else keep_top_p(logits, self.top_p)


GREEDY = Sampling(temperature=0.0)
"""The likeliest token, always."""


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set all but the ``k`` greatest of ``[B, V]``, and those equal to the last of them, to minus infinity."""
    lowest = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < lowest, float("-inf"))


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Set all but the fewest greatest of ``[B, V]`` that have probability ``p`` together to minus infinity."""
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    # The likeliest stays whatever the rounding; a token goes where those before it suffice.
    surplus = before >= p
    surplus[:, 0] = False
    return logits.masked_fill(torch.zeros_like(surplus).scatter(1, order, surplus), float("-inf"))


def at_quantile(probabilities: Tensor, draws: Tensor) -> Tensor:
    """Return for ``[B, V]`` the tokens ``[B]`` at which the running sum passes ``draws`` ``[B]`` of the whole.

    A token of probability 0 is never chosen, also where rounding lets the sum waver.
    """
    sums = torch.where(probabilities > 0, probabilities.cumsum(-1), 0.0)
    passed = sums > draws[:, None] * sums.amax(-1, keepdim=True)
    return passed.int().argmax(-1)  # the first of those that are greatest
