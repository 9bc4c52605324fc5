"""What a language model is judged by: perplexity of tokens, and bits per byte, which no tokenizer can flatter."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tabstar_lit.engine.tracking.columns import Columns


def perplexity(nats: float, tokens: float) -> float:
    """Return exp of the mean loss; infinite where that overflows, NaN without a token."""
    if not tokens:
        return math.nan
    return math.exp(nats / tokens) if nats / tokens < 700 else math.inf


def bits_per_byte(nats: float, n_bytes: float) -> float:
    """Return the mean loss in bits of a byte of text; NaN without a byte.

    Parameters
    ----------
    nats : float
        -log p of all tokens together, those that end documents included.
    n_bytes : float
        Length of the texts in UTF-8.
    """
    return nats / math.log(2) / n_bytes if n_bytes else math.nan


def scores_of(collected: Mapping[str, Columns]) -> dict[str, float]:
    """Return perplexity and bits per byte of all sources together and of each, from sums by row."""
    sums = {
        source: tuple(float(rows[name].double().sum()) for name in ("nats", "tokens", "bytes"))
        for source, rows in collected.items()
        if "nats" in rows
    }
    if not sums:
        return {}
    whole = [sum(values) for values in zip(*sums.values(), strict=True)]
    named = {"": whole, **{f"/{source}": own for source, own in sums.items()}}
    scores = {f"perplexity{name}": perplexity(own[0], own[1]) for name, own in named.items()}
    return scores | {f"bits_per_byte{name}": bits_per_byte(own[0], own[2]) for name, own in named.items()}
