"""Events of one stage with their learned log-ratios, as arrays that metrics and figures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.hep.fakes.config import Role
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble, over_heads
from tabstar_lit.families.hep.fakes.variables import column_of

NAMES: Mapping[str, tuple[str, str]] = {
    "numerator": ("tight data", "tight simulation"),
    "denominator": ("loose data", "loose simulation"),
    "ratio": ("tight", "loose"),
}
"""What each role takes the ratio of: reference over sample."""


@dataclass(frozen=True)
class Reweighted:
    """``N`` events of two samples: a reference, and one that the learned ratio reweights to look like it.

    Attributes
    ----------
    log_ratios : ndarray
        ``[N, C]`` log-ratios of ``C`` heads.
    is_reference : ndarray of bool
        ``[N]`` event of the numerator of the ratio.
    weights : ndarray
        ``[N]`` signed weights.
    variables : dict of str to ndarray
        ``[N]`` each, in the file's units, NaN where missing.
    role : str
        The stage.
    mean, std : ndarray
        ``[N]`` of the log-ratios over the heads; ``std`` is their uncertainty, 0 with one head.
    ensemble : Ensemble
        How heads are taken together.
    """

    log_ratios: Float64
    is_reference: Bool
    weights: Float64
    variables: Mapping[str, Float64]
    role: Role
    mean: Float64
    std: Float64
    ensemble: Ensemble = PLAIN

    @classmethod
    def of(cls, rows: Columns, *, names: Sequence[str], role: Role, ensemble: Ensemble = PLAIN) -> Reweighted:
        """Return the events of a validation.

        Parameters
        ----------
        rows : Mapping of str to Tensor
            ``log_ratios`` ``[N, C]``; ``targets`` ``[N]``, 1 for the reference and 0 for the sample that is reweighted;
            and, where there are any, signed ``weights`` ``[N]``, ``variables`` ``[N, S]`` and the uncertainty ``std``
            ``[N]``, which is that of the heads otherwise.
        names : sequence of str
            Names of the variables.
        role : str
            The stage.
        ensemble : Ensemble
            How heads are taken together.
        """
        values, targets = rows["log_ratios"].double(), rows["targets"].numpy()
        variables = rows.get("variables", values[:, :0])
        factor = over_heads(values, ensemble)
        return cls(
            values.numpy(),
            targets > 0.5,
            rows["weights"].double().numpy() if "weights" in rows else np.ones(len(targets)),
            {name: variables[:, i].double().numpy() for i, name in enumerate(names) if i < variables.shape[1]},
            role,
            factor.mean.numpy(),
            rows.get("std", factor.std).double().numpy(),
            ensemble,
        )

    @property
    def heads(self) -> int:
        """Number of heads ``C``."""
        return int(self.log_ratios.shape[1])

    @property
    def names(self) -> tuple[str, str]:
        """Names of the reference and of the sample that is reweighted."""
        return NAMES[self.role]

    @property
    def reweights(self) -> Float64:
        """``[N]`` weights, times the ratio for events that are reweighted: all that a histogram needs."""
        return self.weights * np.where(self.is_reference, 1.0, np.exp(np.where(self.is_reference, 0.0, self.mean)))

    def variable(self, name: str) -> Float64:
        """Return a variable ``[N]``, or the absolute value of one."""
        return column_of(self.variables, name)

    def rows(self, chosen: Bool | slice) -> Reweighted:
        """Return some of the events."""
        return replace(
            self,
            log_ratios=self.log_ratios[chosen],
            is_reference=self.is_reference[chosen],
            weights=self.weights[chosen],
            variables={name: column[chosen] for name, column in self.variables.items()},
            mean=self.mean[chosen],
            std=self.std[chosen],
        )

    def at_most(self, events: int) -> Reweighted:
        """Return every k-th event, so that there are at most ``events``, with weights times k."""
        step = max(1, -(-len(self.weights) // events))
        if step == 1:
            return self
        thinned = self.rows(slice(None, None, step))
        return replace(thinned, weights=thinned.weights * step)
