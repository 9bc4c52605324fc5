"""Likelihood and recovery by region and by germline, and how much antigen and affinity matter, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.antibody.pairs.batch import CDRS, REGION_NAMES

CONDITIONS = ("antigen", "pkd")
GERMLINE_NAMES = {1: "germline", 2: "mutated"}
"""Which of the classes of B's germline sums is what; 0 is unknown."""

LEVEL = 0.95
"""Of every interval."""

SUMS = ("nll", "correct", "count")
COLUMNS = (
    "nll",
    "tokens",
    "rows",
    "predicted",
    *(f"{part}_{by}" for part in SUMS for by in ("regions", "germline")),
    *(f"nll_shuffled_{what}{by}" for what in CONDITIONS for by in ("", "_regions")),
)
"""What a validation step has to return of each pair."""


class Effect(NamedTuple):
    """By how much the loss of a token rises, in nats, when a condition is taken from another pair.

    Attributes
    ----------
    mean, low, high : float
        Over all tokens, and the bounds of a 95 % interval over clusters of antigens.
    rows : int
        Pairs it was measured on.
    """

    mean: float
    low: float
    high: float
    rows: int


def region_groups() -> dict[str, tuple[int, ...]]:
    """Return the regions that are scored, by name: each of them, all frameworks and all CDRs."""
    single = {name: (number,) for number, name in enumerate(REGION_NAMES) if number}
    framework = tuple(number for number in range(1, len(REGION_NAMES)) if number not in CDRS)
    return {"framework": framework, "cdr": CDRS, **single}


def metric_names(*, rule: bool) -> tuple[str, ...]:
    """Return the name of every score; ``rule``: that of a generated task is known."""
    parts = (*region_groups(), *GERMLINE_NAMES.values())
    effects = (f"{what}_effect{end}" for what in CONDITIONS for end in ("", "_low", "_high", "_h_cdr3"))
    scores = (f"{score}_{part}" for score in ("nll", "recovery") for part in parts)
    return ("perplexity", *scores, *effects, *(("rule_accuracy",) if rule else ()))


def likelihood_scores(rows: Columns) -> dict[str, float]:
    """Return perplexity, and mean loss in nats and share of right letters of every part that is there."""
    scores = {"perplexity": float(np.exp(float(rows["nll"].double().sum()) / max(float(rows["tokens"].sum()), 1.0)))}
    for name, regions in region_groups().items():
        scores |= _part_scores(rows, "regions", name, regions)
    for number, name in GERMLINE_NAMES.items():
        scores |= _part_scores(rows, "germline", name, (number,))
    return scores


def effect_scores(rows: Columns, clusters: Int64, resamples: int) -> dict[str, float]:
    """Return the effects of antigen and affinity that can be measured, with intervals, and on CDR-H3 alone.

    Parameters
    ----------
    rows : Columns
        The validation pairs.
    clusters : NDArray of int64
        ``[N]`` cluster of the antigen of each.
    resamples : int
        Of the bootstrap.
    """
    scores: dict[str, float] = {}
    third = REGION_NAMES.index("h_cdr3")
    for what in CONDITIONS:
        whole = effect(rows[f"nll_shuffled_{what}"], rows["nll"], rows["tokens"], clusters, resamples)
        if whole is None:
            continue
        names = (f"{what}_effect", f"{what}_effect_low", f"{what}_effect_high")
        scores |= dict(zip(names, whole[:3], strict=True))
        other = rows[f"nll_shuffled_{what}_regions"][:, third]
        loop = effect(other, rows["nll_regions"][:, third], rows["count_regions"][:, third], clusters, 1)
        if loop is not None:
            scores[f"{what}_effect_h_cdr3"] = loop.mean
    return scores


def effect(shuffled: Tensor, own: Tensor, tokens: Tensor, clusters: Int64, resamples: int) -> Effect | None:
    """Return the effect of a condition, or None where no pair has another one beside it.

    The interval is of the percentile bootstrap (Efron 1979) over clusters: pairs of one cluster are not independent.

    Parameters
    ----------
    shuffled, own : Tensor
        ``[N]`` losses of the pairs with the condition of another pair and with their own, summed over tokens; where
        ``shuffled`` is NaN there was none.
    tokens : Tensor
        ``[N]`` tokens of each.
    clusters : NDArray of int64
        ``[N]``.
    resamples : int
        At least 1.
    """
    rise, counts = (shuffled - own).double().numpy(), tokens.double().numpy()
    there = np.isfinite(rise) & (counts > 0)
    if not there.any():
        return None
    _, own_cluster = np.unique(clusters[there], return_inverse=True)
    rises, sizes = (np.bincount(own_cluster, values[there]).astype(np.float64) for values in (rise, counts))
    means = _resampled(rises, sizes, resamples)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Effect(float(rises.sum() / sizes.sum()), float(low), float(high), int(there.sum()))


def _resampled(rises: Float64, sizes: Float64, resamples: int) -> Float64:
    drawn = np.random.default_rng(0).multinomial(len(rises), np.full(len(rises), 1 / len(rises)), size=resamples)
    return np.asarray((drawn @ rises) / np.maximum(drawn @ sizes, 1.0))


def _part_scores(rows: Mapping[str, Tensor], by: str, name: str, numbers: tuple[int, ...]) -> dict[str, float]:
    nll, correct, count = (float(rows[f"{part}_{by}"][:, list(numbers)].double().sum()) for part in SUMS)
    return {f"nll_{name}": nll / count, f"recovery_{name}": correct / count} if count else {}
