"""Network and classical models on the same samples: predictions side by side, scores, and how sure a difference is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.scores import target_scores

NETWORK = "network"
RESAMPLINGS = 1000


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions of several models for the same ``N`` samples.

    Attributes
    ----------
    facts : StudyFacts
        Says what the targets are.
    predicted : mapping of str to Tensor
        ``[N, K]`` probabilities or values by model; the network is called :data:`NETWORK`.
    true : Tensor
        ``[N]`` classes or ``[N, K]`` values.
    groups : NDArray of int64
        ``[N]``.
    """

    facts: StudyFacts
    predicted: Mapping[str, Tensor]
    true: Tensor
    groups: Int64

    @property
    def score(self) -> str:
        """Name of the score that is compared: ``auroc`` or ``r2``."""
        return "auroc" if self.facts.kind == "classification" else "r2"

    def scores(self) -> dict[str, dict[str, float]]:
        """Return all scores by model."""
        return {name: target_scores(self.facts, own, self.true) for name, own in self.predicted.items()}

    def difference(self, other: str, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % interval of the network's score minus that of another, over groups drawn with replacement.

        Groups, not samples, are what is drawn, since samples of a group are no independent evidence. Draws in which a
        score is not defined are left out.
        """
        rng, names = np.random.default_rng(seed), np.unique(self.groups)
        members = [np.flatnonzero(self.groups == name) for name in names]
        found: list[float] = []
        for _ in range(RESAMPLINGS):
            rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
            values = [
                target_scores(self.facts, self.predicted[name][rows], self.true[rows])[self.score]
                for name in (NETWORK, other)
            ]
            found.append(values[0] - values[1])
        own: Float64 = np.asarray(found)[np.isfinite(found)]
        low, high = np.quantile(own, [0.025, 0.975]) if len(own) else (np.nan, np.nan)
        return float(low), float(high)


def joined(parts: Sequence[Judged]) -> Judged:
    """Return the samples of several, such as folds, together."""
    names = parts[0].predicted
    return Judged(
        parts[0].facts,
        {name: torch.cat([part.predicted[name] for part in parts]) for name in names},
        torch.cat([part.true for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )
