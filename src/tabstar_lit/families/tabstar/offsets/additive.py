"""An additive model of a regression target, fitted in closed form.

Every numeric column adds a curve of straight pieces and every common text of a cell a constant, as in a generalized
additive model (Hastie and Tibshirani, 1986); ridge regression finds all of them at once. The network then learns what
columns say together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from tabstar_lit.arrays import Float32, Float64, Int32, Int64
from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.offsets.cells import common, evenly, key, texts_and_numbers
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

PIECES, MOST_PIECES = 8, 1000
"""Straight pieces of a curve, between quantiles of the training rows, and of all curves of a table."""

MOST_TEXTS = 500
"""Texts of a table that have a constant: the most common."""

MOST_ROWS = 20_000
"""Rows that are fitted to: evenly chosen where there are more."""

TARGET_LIMIT = 3.0
"""Targets end at so many standard deviations while they are fitted: few far ones do not decide."""

PENALTIES = np.logspace(-1, 5, 13)
"""Ridge penalties of standardised terms to choose from, by the least leave-one-out error."""


class Curve(NamedTuple):
    """What a numeric column adds: ``values [P]`` at z-scores ``knots [P]``, straight between them, level beyond."""

    knots: Sequence[float]
    values: Sequence[float]
    missing: float

    def __call__(self, column: Float32) -> Float64:
        """Return what z-scores ``[N]`` add; NaN is missing."""
        return np.where(np.isnan(column), self.missing, np.interp(z_scores(column), self.knots, self.values))


@dataclass(frozen=True)
class AdditiveOffset:
    """A sum over the cells of a row, on the scale on which targets are learned.

    Attributes
    ----------
    intercept : float
        Where the sum begins.
    curves : Mapping
        What each numeric column adds, by its name.
    texts : Mapping
        What the text of a cell adds, by a hash from which it cannot be read. A text names its column, so it is of one
        column only.
    ends : sequence of float
        Least and greatest target of the training rows, beyond which no sum goes.
    """

    intercept: float
    curves: Mapping[str, Curve]
    texts: Mapping[str, float]
    ends: Sequence[float]

    @classmethod
    def fit(cls, table: Table, features: Int64, rows: Int64) -> AdditiveOffset:
        """Fit rows of a regression table.

        Parameters
        ----------
        table : Table
            Its numbers are z-scores, its targets on the scale that is learned.
        features, rows : NDArray of int64
            The columns in use, and the rows that are seen.
        """
        rows = evenly(rows, MOST_ROWS)
        text_places, number_places = texts_and_numbers(table, features)
        numbers = number_places.tolist()
        texts = _texts(table.codes[np.ix_(rows, text_places)])
        pieces = min(PIECES, max(1, MOST_PIECES // max(1, len(numbers))))
        knots = [_knots(table.numbers[rows, place], pieces) for place in numbers]
        terms = [_terms(table.numbers[rows, place], ends) for place, ends in zip(numbers, knots, strict=True)]
        targets = table.targets[rows].astype(np.float64)
        weights = None if table.weights is None else table.weights[rows].astype(np.float64)
        found, intercept = _ridge(np.concatenate([texts.terms, *terms], axis=1), targets, weights)
        constants, *curves = np.split(found, np.cumsum([len(texts.codes), *(own.shape[1] for own in terms)])[:-1])
        named = zip(numbers, knots, curves, strict=True)
        return cls(
            intercept,
            {table.feature_names[place]: _curve(ends, steps) for place, ends, steps in named},
            {key(table.vocabulary[code]): float(own) for code, own in zip(texts.codes, constants, strict=True)},
            (float(targets.min()), float(targets.max())),
        )

    def of(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return the sums of rows ``[N]`` whose ``M`` features are called ``names``, with numbers as z-scores."""
        constants = np.array([self.texts.get(key(text), 0.0) for text in encoded.vocabulary])
        total: Float64 = self.intercept + constants[encoded.codes].sum(axis=1)
        for place, name in enumerate(names):
            if name in self.curves:
                total += self.curves[name](encoded.numbers[:, place])
        low, high = self.ends
        return np.clip(total, low, high)

    def stages(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return ``[1, N]``: the sums are all there is to choose from."""
        return self.of(encoded, names)[None]

    def shrunk(self, stage: int, slope: float, center: float) -> Self:
        """Return the model whose sums are ``slope`` times as far from ``center``."""
        curves = {
            name: Curve(own.knots, [slope * value for value in own.values], slope * own.missing)
            for name, own in self.curves.items()
        }
        texts = {text: slope * own for text, own in self.texts.items()}
        low, high = (center + slope * (end - center) for end in self.ends)
        return replace(
            self, intercept=center + slope * (self.intercept - center), curves=curves, texts=texts, ends=(low, high)
        )

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        curves = {name: curve._asdict() for name, curve in self.curves.items()}
        return {"intercept": self.intercept, "curves": curves, "texts": dict(self.texts), "ends": list(self.ends)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> AdditiveOffset:
        """Rebuild it from the data of :meth:`to_plain`."""
        return cls(**{**plain, "curves": {name: Curve(**curve) for name, curve in plain["curves"].items()}})


class _Texts(NamedTuple):
    """Codes of common texts, and which rows have them, ``[N, V]``."""

    codes: Int64
    terms: Float64


def _texts(codes: Int32) -> _Texts:
    """Look for the common texts among those of rows ``[N, K]``."""
    kept = common(codes, MOST_TEXTS)
    terms = np.zeros((len(codes), len(kept)))
    for column in codes.T:
        place = np.searchsorted(kept, column).clip(max=max(0, len(kept) - 1))
        rows = np.flatnonzero(kept[place] == column) if len(kept) else np.empty(0, dtype=np.int64)
        terms[rows, place[rows]] = 1
    return _Texts(kept, terms)


def _knots(column: Float32, pieces: int) -> Float64:
    """Return where the pieces of a column's curve meet, and its ends."""
    known = z_scores(column[~np.isnan(column)]).astype(np.float64)
    return np.unique(np.quantile(known, np.linspace(0, 1, pieces + 1))) if len(known) else np.zeros(1)


def _terms(column: Float32, knots: Float64) -> Float64:
    """Return ``[N, P + 1]``: z-scores, how much of each piece lies below them, and which are missing."""
    known = z_scores(column).astype(np.float64)[:, None]
    below = ((known - knots[:-1]) / np.diff(knots)).clip(0, 1)
    return np.concatenate([known, below, np.isnan(column)[:, None]], axis=1)


def _curve(knots: Float64, found: Float64) -> Curve:
    """Return the curve of the weights of :func:`_terms`."""
    slope, steps, missing = found[0], found[1:-1], found[-1]
    values = slope * knots + np.concatenate([[0.0], np.cumsum(steps)])
    return Curve(knots.tolist(), values.tolist(), float(np.interp(0, knots, values) + missing))


def _ridge(terms: Float64, targets: Float64, weights: Float64 | None) -> tuple[Float64, float]:
    """Return weights of terms ``[N, T]``, and the intercept."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    own = scaler.fit_transform(terms)
    ridge = RidgeCV(PENALTIES).fit(own, targets.clip(-TARGET_LIMIT, TARGET_LIMIT), sample_weight=weights)
    found = ridge.coef_ / scaler.scale_
    return found, float(ridge.intercept_ - found @ scaler.mean_)
