"""The classical line of a run: what a forest and a linear model, trained on the same samples, say of others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
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

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FittedLine:
    """Classical models, tuned and trained on the training samples of a run.

    Attributes
    ----------
    facts : StudyFacts
        Says what the targets are.
    asvs : tuple of str
        What stands in each column that the models read: sequences, or ids where there are none.
    models : mapping of str to sequence of callable
        By name, one for each target: from features ``[N, F]`` to probabilities ``[N, K]`` or values ``[N, 1]``.
    chosen : mapping of str to str
        The settings, by model and target.
    """

    facts: StudyFacts
    asvs: tuple[str, ...]
    models: Mapping[str, Sequence[Callable[[Float64], Float64]]]
    chosen: Mapping[str, str]

    def predict(self, study: Study, categories: Int64) -> dict[str, Float64]:
        """Return probabilities or values ``[N, K]`` by model; ASVs that no training sample's study had are not seen.

        Parameters
        ----------
        study : Study
            Any.
        categories : NDArray of int64
            ``[N, C]`` numbers as in training.
        """
        features = sample_features(study, self.asvs, categories, list(self.facts.categories.values()))
        return {name: np.concatenate([own(features) for own in models], axis=1) for name, models in self.models.items()}


@dataclass(frozen=True, eq=False)
class ClassicalLine:
    """Predictions of classical models for all samples of the study of a run.

    Attributes
    ----------
    facts : StudyFacts
        Says what the targets are.
    predicted : mapping of str to NDArray of float64
        ``[N, K]`` by model; of training samples too, where they say nothing.
    targets : Tensor
        ``[N]`` classes or ``[N, K]`` values.
    """

    facts: StudyFacts
    predicted: Mapping[str, Float64]
    targets: Tensor

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
    """Return what classical models say that were trained on the training samples of ``data``, which has a target."""
    fitted = fit_line(data)
    for name, setting in fitted.chosen.items():
        log.info("Classical line: %s with %s", name, setting)
    predicted = fitted.predict(data.study, data.categories)
    return ClassicalLine(data.facts, predicted, torch.from_numpy(data.targets.values))


def fit_line(data: MicrobesData, names: Sequence[str] = ("forest", "linear")) -> FittedLine:
    """Tune and train the classical models on the training samples of a run.

    They read the shares of reads of all ASVs, and the categories that the network reads.

    Parameters
    ----------
    data : MicrobesData
        With a target.
    names : sequence of str
        Which models.
    """
    asvs = data.study.sequences or data.study.asv_ids
    asvs = tuple(dict.fromkeys(asvs))
    training, of_classes = data.rows("train"), data.facts.kind == "classification"
    features = sample_features(data.study, asvs, data.categories, list(data.facts.categories.values()))
    columns = data.targets.values[:, None] if of_classes else data.targets.values
    models, chosen = dict[str, list[Callable[[Float64], Float64]]](), dict[str, str]()
    for kinds in (own for own in candidates(str(data.facts.kind)) if own.name in names):
        models[kinds.name] = []
        for column, target in enumerate(data.facts.targets):
            known = training if of_classes else training[~np.isnan(columns[training, column])]
            chosen[f"{kinds.name}/{target}"], predict = fit_tuned(
                kinds,
                features[known],
                columns[known, column],
                data.groups[known],
                n_classes=len(data.facts.classes),
            )
            models[kinds.name].append(predict)
    return FittedLine(data.facts, asvs, models, chosen)


def sample_features(study: Study, asvs: Sequence[str], categories: Int64, sizes: Sequence[int]) -> Float64:
    """Return what classical models read of samples.

    Parameters
    ----------
    study : Study
        The samples.
    asvs : sequence of str
        What stands in each column; the reads of other ASVs count in the total alone.
    categories : NDArray of int64
        ``[N, C]``.
    sizes : sequence of int
        Categories in each of the C columns.

    Returns
    -------
    NDArray of float64
        ``[N, F + sum of sizes]`` share of each ASV in the reads of a sample, and 1 for each category it is of.
    """
    place = {name: number for number, name in enumerate(asvs)}
    columns = np.array([place.get(name, -1) for name in study.sequences or study.asv_ids])[study.members.flat]
    rows, seen = np.repeat(np.arange(len(study)), study.members.lengths), columns >= 0
    shares = np.zeros((len(study), len(asvs)))
    np.add.at(shares, (rows[seen], columns[seen]), study.counts[seen])
    shares /= np.maximum(np.bincount(rows, weights=study.counts, minlength=len(study)), 1)[:, None]
    ones = [
        (categories[:, column, None] == np.arange(1, size + 1)).astype(np.float64) for column, size in enumerate(sizes)
    ]
    return np.concatenate([shares, *ones], axis=1)
