"""The classical line of a run: what forest and linear model say of the held-out samples of a study."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.families.microbes.classical.models import candidates, fit_tuned
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.scores import target_scores
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.study import Study

NAMES = ("forest", "linear")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ClassicalLine:
    """Predictions of classical models, trained on the training samples of a run.

    Attributes
    ----------
    facts : StudyFacts
        Says what the targets are.
    predicted : mapping of str to NDArray of float64
        ``[N, K]`` probabilities or values of every sample, by model; of training samples too, where they say nothing.
    targets : Tensor
        ``[N]`` classes or ``[N, K]`` values.
    chosen : mapping of str to str
        The settings, by model and target.
    """

    facts: StudyFacts
    predicted: Mapping[str, Float64]
    targets: Tensor
    chosen: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.predicted)

    def scores(self, rows: Tensor) -> dict[str, dict[str, float]]:
        """Return the scores of each model on some held-out samples, by their rows in the study."""
        true = self.targets[rows]
        return {
            name: target_scores(self.facts, torch.from_numpy(own)[rows], true) for name, own in self.predicted.items()
        }


def classical_line(data: MicrobesData) -> ClassicalLine:
    """Tune and train the classical models on the training samples of a run.

    They read the shares of reads of all ASVs, and the categories that the network reads.

    Parameters
    ----------
    data : MicrobesData
        With a target.
    """
    features, training = sample_features(data.study, data.categories), data.rows("train")
    of_classes = data.facts.kind == "classification"
    columns = data.targets.values[:, None] if of_classes else data.targets.values
    n_classes = len(data.facts.classes) if of_classes else 0
    predicted, chosen = dict[str, Float64](), dict[str, str]()
    for kinds in candidates(str(data.facts.kind)):
        parts = []
        for column, target in enumerate(data.facts.targets):
            values = columns[training, column]
            known = training if of_classes else training[~np.isnan(values)]
            own = columns[known, column]
            chosen[f"{kinds.name}/{target}"], predict = fit_tuned(
                kinds, features[known], own, data.groups[known], n_classes=n_classes
            )
            parts.append(predict(features))
        predicted[kinds.name] = np.concatenate(parts, axis=1)
    for name, setting in chosen.items():
        log.info("Classical line: %s with %s", name, setting)
    return ClassicalLine(data.facts, predicted, torch.from_numpy(data.targets.values), chosen)


def sample_features(study: Study, categories: Int64) -> Float64:
    """Return the share of each ASV in each sample, and one column for each category: ``[N, F + ...]``."""
    shares = np.zeros((len(study), len(study.asv_ids)))
    rows = np.repeat(np.arange(len(study)), study.members.lengths)
    shares[rows, study.members.flat] = study.counts
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    ones = [
        (categories[:, column, None] == np.arange(1, categories[:, column].max(initial=0) + 1)).astype(np.float64)
        for column in range(categories.shape[1])
    ]
    return np.concatenate([shares, *ones], axis=1)
