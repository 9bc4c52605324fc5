"""The classical line: tuned within the training samples, scored on others, and as good as scikit-learn's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score, roc_auc_score

from tabstar_lit.families.microbes.classical import models
from tabstar_lit.families.microbes.classical.line import classical_line, fit_line, sample_features
from tabstar_lit.families.microbes.classical.models import candidates, fit_tuned
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    return generate()


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "N_TREES", 60)


def data_of(study: Study, **config: Any) -> MicrobesData:
    return MicrobesData(MicrobesDataset(name="test", **config), study, seed=1, labelled=True)


def test_classes_of_new_subjects_are_told(study: Study) -> None:
    data = data_of(study, target="status", categories="site")
    rows, line = data.rows("val"), classical_line(data)
    scores = line.scores(torch.from_numpy(rows))
    assert line.names == ("forest", "linear")
    for name, own in line.predicted.items():
        assert own.sum(axis=1) == pytest.approx(1)
        expected = roc_auc_score(data.targets.values[rows], own[rows, 1])
        assert scores[name]["auroc"] == pytest.approx(expected)
        assert expected > 0.85


def test_numbers_of_new_subjects_are_told_where_some_are_missing(study: Study) -> None:
    values = study.numbers["phenotype"].copy()
    values[::7] = np.nan
    data = data_of(replace(study, numbers={"phenotype": values, "other": -values}), target=["phenotype", "other"])
    rows, line = data.rows("val"), classical_line(data)
    known = rows[~np.isnan(values[rows])]
    for name, own in line.scores(torch.from_numpy(rows)).items():
        expected = r2_score(values[known], line.predicted[name][known, 0])
        assert own["r2/phenotype"] == pytest.approx(expected, abs=1e-6)
        assert own["r2"] > 0.4


def test_held_out_samples_have_no_part_in_it(study: Study) -> None:
    data = data_of(study, target="status")
    other = data_of(study, target="status")
    held_out = data.rows("val")
    other.targets.values[held_out] = 1 - other.targets.values[held_out]
    first, second = (fit_line(own).predict(study, own.categories) for own in (data, other))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_features_are_shares_by_sequence_and_categories(study: Study) -> None:
    asvs = tuple(dict.fromkeys(study.sequences))[:50]
    features = sample_features(study, asvs, np.array([[i % 3] for i in range(len(study))]), [2])
    assert features.shape == (len(study), 52)
    row = 5
    counts = study.counts[study.members.offsets[row] : study.members.offsets[row + 1]]
    own = dict(zip(study.members[row].tolist(), counts / counts.sum(), strict=True))
    for column, sequence in enumerate(asvs):
        lineages = [i for i, other in enumerate(study.sequences) if other == sequence]
        assert features[row, column] == pytest.approx(sum(own.get(i, 0.0) for i in lineages))
    assert features[:3, 50:].tolist() == [[0, 0], [1, 0], [0, 1]]


def test_a_group_with_few_classes_is_no_hindrance() -> None:
    rng = np.random.default_rng(0)
    features, groups = rng.random((12, 4)), np.repeat(np.arange(4), 3)
    targets = np.array([0] * 9 + [1] * 3)  # one class in a single group
    for kinds in candidates("classification"):
        chosen, predict = fit_tuned(kinds, features, targets, groups, n_classes=3)
        assert chosen in kinds.models
        assert (predict(features)[:, 2] == 0).all()  # a class that no training sample has
    for kinds in candidates("regression"):
        chosen, predict = fit_tuned(kinds, features, targets.astype(float), np.zeros(12, dtype=int), n_classes=0)
        assert predict(features).shape == (12, 1)
