"""What a language model is judged by: perplexity of tokens, and bits per byte, which no tokenizer can flatter."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.engine.tracking.columns import Columns

ALL = "all"
"""Stands for all domains together in figures."""


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


def text_scores(collected: Mapping[str, Columns]) -> dict[str, float]:
    """Return perplexity and bits per byte of all sources together and of each, from sums by row."""
    sums = {
        source: [float(rows[name].double().sum()) for name in ("nats", "tokens", "bytes")]
        for source, rows in collected.items()
        if "nats" in rows
    }
    if not sums:
        return {}
    whole = [sum(values) for values in zip(*sums.values(), strict=True)]
    named = {"": whole, **{f"/{source}": own for source, own in sums.items()}}
    scores = {f"perplexity{name}": perplexity(own[0], own[1]) for name, own in named.items()}
    return scores | {f"bits_per_byte{name}": bits_per_byte(own[0], own[2]) for name, own in named.items()}


def losses_by_position(collected: Mapping[str, Columns]) -> dict[str, Float64]:
    """Return the mean loss ``[K]`` of each bin of positions in nats, by source and, if there are several, of all."""
    sums = {
        source: np.stack([rows[name].double().sum(0).numpy() for name in ("position_nats", "position_tokens")])
        for source, rows in collected.items()
        if "position_nats" in rows
    }
    if len(sums) > 1:
        sums[ALL] = np.sum(list(sums.values()), axis=0)
    return {source: np.where(own[1] > 0, own[0] / np.maximum(own[1], 1), np.nan) for source, own in sums.items()}


def router_weights(collected: Mapping[str, Columns]) -> dict[str, Float64]:
    """Return the mean weight ``[L, E]`` of each expert over the tokens, by source and, if there are several, of all."""
    sums = {}
    for source, rows in collected.items():
        if "router" in rows:
            tokens = rows["tokens"].double()
            sums[source] = ((rows["router"].double() * tokens[:, None, None]).sum(0).numpy(), float(tokens.sum()))
    if len(sums) > 1:
        sums[ALL] = (np.sum([own for own, _ in sums.values()], axis=0), sum(count for _, count in sums.values()))
    return {source: own / max(count, 1.0) for source, (own, count) in sums.items()}
