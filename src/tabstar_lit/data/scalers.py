"""Scaling of one column by scikit-learn, fitted on training rows and kept as plain numbers that any file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtri
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import has_fit_parameter

from tabstar_lit.arrays import Float64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import ConfigError

STEPS: dict[str, tuple[type[Any], dict[str, Any], tuple[str, ...]]] = {
    "minmax": (MinMaxScaler, {}, ("min_", "scale_")),
    "maxabs": (MaxAbsScaler, {}, ("scale_",)),
    "standard": (StandardScaler, {}, ("mean_", "scale_")),
    "robust": (RobustScaler, {}, ("center_", "scale_")),
    "quantile": (QuantileTransformer, {"random_state": 0}, ("quantiles_", "references_")),
    "quantile_normal": (
        QuantileTransformer,
        {"random_state": 0, "output_distribution": "normal"},
        ("quantiles_", "references_"),
    ),
    "power": (PowerTransformer, {"standardize": False}, ("lambdas_",)),
    "log": (FunctionTransformer, {"func": np.log1p, "inverse_func": np.expm1, "check_inverse": False}, ()),
}
"""scikit-learn's class of each step, arguments that differ from its defaults, and what it learns."""

CHAINS = {
    "log": ("log", "standard"),
    "power": ("power", "standard"),
    "logit": ("minmax", "logit"),
    "standard_logit": ("minmax", "logit", "standard"),
}
"""Scalers of more than one step; the first one takes the user's arguments, ``logit`` its own ``eps``."""

LARGEST = 1e150
"""Numbers beyond this cannot be scaled: their squares overflow float64."""

LOGIT_EPS = 1e-6

MOST_STEPS = 8
"""Points in one cell of an interpolation's table, beyond which a search is faster."""

QUANTILE_EDGE = 1e-7
"""So near the outermost quantiles, scikit-learn puts a value on them."""

NORMAL_MIN, NORMAL_MAX = ndtri(QUANTILE_EDGE - np.spacing(1)), ndtri(1 - (QUANTILE_EDGE - np.spacing(1)))
"""Where scikit-learn clips the quantiles of the normal distribution."""

PLACE = "dataset_config.feature_scaling.scaler_params"
"""The key that gives the arguments of a scaler, for messages."""

MANY = 64
"""Numbers from which on a checkpoint keeps them as one tensor: it writes and checks each Python number by itself."""


class ZScore(NamedTuple):
    """Mean and standard deviation of a column (population, ddof 0), in the column's own unit.

    A column without spread has ``std`` 1, so that it maps to zeros.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, values: Float64) -> ZScore:
        """Measure the values that are not NaN.

        Parameters
        ----------
        values : ndarray of float64 [N]
            At least one of them must be a number, and none beyond :data:`LARGEST`.

        Returns
        -------
        ZScore
            The statistics.
        """
        known = values[~np.isnan(values)]
        scaler = StandardScaler().fit(known.reshape(-1, 1))
        return cls(mean=float(scaler.mean_[0]), std=float(scaler.scale_[0]))

    @classmethod
    def fit_columns(cls, values: Float64) -> list[ZScore]:
        """Measure each column of ``[N, M]`` without gaps in one call of scikit-learn.

        The sums of :meth:`fit` are of another order, so that the last digits differ: what it has measured before stays.
        """
        scaler = StandardScaler().fit(np.asfortranarray(values))
        return [cls(mean, std) for mean, std in zip(scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)]

    def apply(self, values: Float64) -> Float64:
        """Return values ``[N]``, in the column's unit, in standard deviations from the mean; NaN stays NaN."""
        return (values - self.mean) / self.std


class Interpolation:
    """``np.interp`` between points that rise strictly, with a table in place of a search for each value.

    Parameters
    ----------
    xs, ys : ndarray of float64 [n]
        The points, at least two.
    """

    cells = 1 << 14

    def __init__(self, xs: Float64, ys: Float64) -> None:
        self.xs, self.ys, self.slopes = xs, ys, np.diff(ys) / np.diff(xs)
        self.per_unit = self.cells / (xs[-1] - xs[0])
        edges = xs[0] + np.arange(self.cells + 1) / self.per_unit
        places = np.clip(np.searchsorted(xs, edges, side="right") - 1, 0, len(self.slopes) - 1)
        self.first, self.most = places.astype(np.int32), int(np.diff(places).max())

    def __call__(self, values: Float64) -> Float64:
        """Return ``y`` at each value; NaN where it is NaN."""
        if self.most > MOST_STEPS:  # points crowd in a small part of their range
            return np.interp(values, self.xs, self.ys)
        with np.errstate(invalid="ignore"):
            cells = np.clip((values - self.xs[0]) * self.per_unit, 0, self.cells).astype(np.int32)
        place = self.first.take(cells, mode="clip")
        for _ in range(self.most):
            place += values >= self.xs.take(place + 1, mode="clip")
        np.minimum(place, len(self.slopes) - 1, out=place)
        y = self.ys.take(place) + (values - self.xs.take(place)) * self.slopes.take(place)
        return np.asarray(np.clip(y, self.ys[0], self.ys[-1], out=y))


class QuantileMap:
    """What scikit-learn's fitted ``QuantileTransformer`` does to a column whose quantiles differ, ten times as fast.

    It interpolates once, where scikit-learn takes the mean of two interpolations for quantiles that coincide, and takes
    the normal distribution's quantiles without the checks of ``scipy.stats``.
    """

    def __init__(self, step: QuantileTransformer) -> None:
        self.interpolate = Interpolation(step.quantiles_[:, 0], step.references_)
        self.is_normal = step.output_distribution == "normal"

    @staticmethod
    def suits(step: Any) -> bool:
        """Tell whether a fitted step is one with quantiles that differ."""
        known = isinstance(step, QuantileTransformer) and len(step.quantiles_) > 1
        return known and bool(np.all(np.diff(step.quantiles_[:, 0]) > 0))

    def __call__(self, values: Float64) -> Float64:
        """Return the transformed column."""
        shares = self.interpolate(values)
        if not self.is_normal:
            return shares
        xs = self.interpolate.xs
        shares[values - QUANTILE_EDGE < xs[0]] = 0.0
        shares[values + QUANTILE_EDGE > xs[-1]] = 1.0
        return np.asarray(np.clip(ndtri(shares), NORMAL_MIN, NORMAL_MAX))


class ColumnScaler:
    """One of the scalers ``numer_scaler_type`` names, for one column.

    ``log`` is ln(1 + x), then standardised; ``logit`` is log(x / (1 - x)) of the min-max scaled column, clipped to
    [eps, 1 - eps]; ``standard_logit`` is that, then standardised; ``power`` is Yeo-Johnson, then standardised;
    ``quantile_normal`` makes the training values normal by their ranks.

    Parameters
    ----------
    kind : str
        Name of the scaler.
    params : mapping
        Arguments of scikit-learn's class; for the logits ``eps``, default 1e-6.

    Raises
    ------
    ConfigError
        The scaler does not take one of ``params``, or not its value.
    """

    def __init__(self, kind: str, params: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.params = dict(params or {})
        own = dict(self.params)
        names = CHAINS.get(kind, (kind,))
        self._eps = _eps(own.pop("eps", LOGIT_EPS)) if "logit" in names else LOGIT_EPS
        if kind == "power" and own.pop("standardize", True) is False:
            names = names[:1]
        allowed = set(STEPS[names[0]][0]().get_params()) | ({"eps"} if "logit" in names else set())
        for name in own:
            if name not in allowed:
                raise ConfigError(
                    f"{PLACE}: scaler '{kind}' has no argument '{name}'.{suggestion(name, sorted(allowed))} Arguments "
                    f"of another scaler, such as those of a shipped file, are dropped with {PLACE}=null"
                )
        self._steps = [(name, _step(name, own if not i else {})) for i, name in enumerate(names)]
        self._quantile_map: QuantileMap | None = None

    def fit(self, values: Float64, weights: Float64 | None = None) -> ColumnScaler:
        """Learn from the training values.

        Parameters
        ----------
        values : ndarray of float64 [n]
            Finite, or NaN for missing, which is left out; at least one is known.
        weights : ndarray of float64 [n], optional
            Used by the steps for which scikit-learn defines them, which is standardisation.

        Returns
        -------
        ColumnScaler
            This one.
        """
        known = ~np.isnan(values)
        column = values[known].reshape(-1, 1)
        self._quantile_map = None
        for name, step in self._steps:
            use = {"sample_weight": weights[known]} if weights is not None and _takes_weights(step) else {}
            try:
                if name.startswith("quantile"):
                    step.set_params(n_quantiles=min(step.n_quantiles, len(column)))
                if step is not None:
                    step.fit(column, **use)
                column = self._apply(step, column)
            except (ValueError, TypeError) as error:
                raise ConfigError(
                    f"{PLACE}: scaler '{self.kind}' refuses {self.params} or the values it is given: {error}"
                ) from error
        return self

    def transform(self, values: Float64) -> Float64:
        """Return the scaled values, ``[N]``; NaN stays NaN."""
        column = values.reshape(-1, 1)
        for _, step in self._steps if len(values) else ():
            column = self._apply(step, column)
        return column.reshape(-1)

    def _quantiles(self, step: Any) -> QuantileMap | None:
        if self._quantile_map is None and QuantileMap.suits(step):
            self._quantile_map = QuantileMap(step)
        return self._quantile_map if isinstance(step, QuantileTransformer) else None

    def inverse(self, scaled: Float64) -> Float64:
        """Return scaled values ``[N]`` in the column's unit; NaN stays NaN."""
        column = scaled.reshape(-1, 1)
        for _, step in reversed(self._steps) if len(scaled) else ():
            column = expit(column) if step is None else step.inverse_transform(column)
        return np.asarray(column, dtype=np.float64).reshape(-1)

    def to_plain(self) -> dict[str, Any]:
        """Return type, arguments and learned numbers as plain values, many numbers as a float64 tensor."""
        learned = [
            {key: _plain(getattr(step, key)) for key in STEPS[name][2]}
            for name, step in self._steps
            if step is not None
        ]
        return {"type": self.kind, "params": self.params, "learned": learned}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ColumnScaler:
        """Return the scaler that a checkpoint kept; it transforms exactly as the one that was fitted."""
        scaler = cls(plain["type"], plain["params"])
        steps = [step for _, step in scaler._steps if step is not None]
        for step, learned in zip(steps, plain["learned"], strict=True):
            for key, value in learned.items():
                setattr(step, key, None if value is None else np.asarray(value, dtype=np.float64))
            step.n_features_in_ = 1
        return scaler

    def _apply(self, step: Any, column: Float64) -> Float64:
        if step is None:
            return np.asarray(logit(np.clip(column, self._eps, 1 - self._eps)))
        if isinstance(step, StandardScaler) and step.with_mean and step.with_std:
            return np.asarray((column - step.mean_) / step.scale_)  # the same, without copies and checks
        fast = self._quantiles(step)
        return np.asarray(step.transform(column) if fast is None else fast(column), dtype=np.float64)


def _plain(learned: Any) -> Any:
    if learned is None:
        return None
    numbers = np.array(learned, dtype=np.float64)
    if numbers.size < MANY:
        return numbers.tolist()
    import torch  # here, as converting tables needs this file and no torch

    return torch.from_numpy(numbers)


def _takes_weights(step: Any) -> bool:
    return step is not None and bool(has_fit_parameter(step, "sample_weight"))


def _eps(value: object) -> float:
    """Return the distance that a logit keeps from 0 and 1; text as well, since YAML reads 1e-6 as such."""
    eps = np.nan
    if isinstance(value, str | float | int):
        with suppress(ValueError):
            eps = float(value)
    if not 0 < eps < 0.5:
        raise ConfigError(
            f"{PLACE}: eps is {value!r}, but it clips shares of the range to "
            f"[eps, 1 - eps]: give a number between 0 and 0.5 such as {LOGIT_EPS}."
        )
    return eps


def _step(name: str, params: Mapping[str, Any]) -> Any:
    """Return scikit-learn's transformer of a step; None is the logit, which learns nothing."""
    if name == "logit":
        return None
    made_by, defaults, _ = STEPS[name]
    # JSON and YAML know no tuples, which scikit-learn asks for.
    own = {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}
    return made_by(**(defaults | own))
