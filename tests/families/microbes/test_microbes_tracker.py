"""Scores and figures of the tracker against scikit-learn and scikit-bio."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_samples import a_batch, in_batches, looked_up, some_facts
from labels import unlabelled
from matplotlib.figure import Figure
from sklearn.metrics import balanced_accuracy_score, mean_squared_error, r2_score, roc_auc_score
from test_microbes_module import a_model, a_module

from tabstar_lit.engine.tracking.columns import Kept
from tabstar_lit.families.microbes.module import MicrobesModule
from tabstar_lit.families.microbes.tracker import MicrobesTracker


class Forest:
    """A classical model that is always as good as this."""

    names = ("forest",)

    def scores(self, rows: torch.Tensor) -> dict[str, dict[str, float]]:
        assert len(rows) == 8
        return {"forest": {"auroc": 0.99, "accuracy": 0.9, "balanced_accuracy": 0.9}}


def a_tracker(folder: Path, kind: str = "regression", **changes: Any) -> MicrobesTracker:
    facts = some_facts(kind, distances=looked_up(a_batch(8)), metadata={"site": ["gut", "skin", "", "gut"] * 2})
    baseline = changes.pop("baseline", None)
    model = a_model(**changes)
    return MicrobesTracker(folder, model=model, facts=facts, baseline=baseline, check_every=1, plot_every=1)


def collected(module: MicrobesModule, tracker: MicrobesTracker, kind: str = "regression") -> Any:
    kept = Kept()
    for batch in in_batches(a_batch(8, kind=kind), 3):
        with torch.no_grad():
            output = module.eval().compute(batch)
        kept.add(output.source, output.columns, tracker.keeps())
        for stream in tracker.streams.values():
            stream.update(output)
    return kept.stacked()


def test_distances_are_scored_over_all_pairs_and_not_by_batch(tmp_path: Path) -> None:
    module, tracker = a_module(), a_tracker(tmp_path)
    scores = tracker.metrics(collected(module, tracker))
    whole = a_batch(8)
    embedding = module.network(whole).embedding.detach()
    upper = np.triu(~np.isnan(whole.distances.numpy()), k=1)
    scale = module.config.architecture_config.unifrac_scale
    predicted = np.tanh(torch.cdist(embedding, embedding).numpy() / scale)[upper]
    true = whole.distances.numpy()[upper]
    assert upper.sum() == 8 * 7 / 2 - 1
    assert scores["unifrac_mse"] == pytest.approx(mean_squared_error(true, predicted), rel=1e-4)
    assert scores["unifrac_r2"] == pytest.approx(r2_score(true, predicted), rel=1e-4)
    assert 0 <= tracker.streams["nucleotide_accuracy"].value(3) <= 1
    assert set(scores) == set(tracker.metric_names())


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_targets_are_scored_as_scikit_learn_does(tmp_path: Path, kind: str) -> None:
    module = a_module("predictor", kind)
    tracker = a_tracker(tmp_path, kind, role="predictor", baseline=Forest() if kind == "classification" else None)
    columns = collected(module, tracker, kind)
    scores = tracker.metrics(columns)
    assert set(scores) == set(tracker.metric_names())
    predicted, true = (columns["made_up"][name].numpy() for name in ("predicted", "true"))
    if kind == "regression":
        known = ~np.isnan(true[:, 0])
        assert scores["r2/age"] == pytest.approx(r2_score(true[known, 0], predicted[known, 0]), rel=1e-5)
        assert not {"mae", "mae/age"} & {*tracker.better_when_larger()}
        assert scores["mae"] == pytest.approx((scores["mae/age"] + scores["mae/weight"]) / 2)
        return
    known = true >= 0
    expected = roc_auc_score(true[known], predicted[known], multi_class="ovr", labels=[0, 1, 2])
    assert scores["auroc"] == pytest.approx(expected)
    assert scores["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(true[known], predicted[known].argmax(1))
    )
    assert scores["auroc/forest"] == 0.99
    assert "auroc/forest" in tracker.better_when_larger()
    assert "forest on the same samples: auroc 0.990" in tracker.notes()[0]


@pytest.mark.parametrize(
    ("role", "kind", "names"),
    [
        ("encoder", "regression", {"unifrac", "pcoa/site"}),
        ("predictor", "regression", {"target/age", "target/weight", "groups"}),
        ("predictor", "classification", {"confusion", "roc", "groups", "baselines"}),
    ],
)
def test_figures_of_each_role_are_drawn(tmp_path: Path, role: str, kind: str, names: set[str]) -> None:
    module = a_module(role, kind)
    tracker = a_tracker(tmp_path, kind, role=role, baseline=Forest() if kind == "classification" else None)
    columns = collected(module, tracker, kind)
    tracker.metrics(columns)
    figures = dict(tracker.figures(columns))
    assert names == set(figures)
    for figure in figures.values():
        assert isinstance(figure, Figure)
        figure.canvas.draw()
        assert figure.axes[0].has_data()
        assert unlabelled(figure) == []


def test_nothing_known_is_no_score(tmp_path: Path) -> None:
    tracker = a_tracker(tmp_path, role="predictor")
    columns = collected(a_module("predictor"), tracker)
    columns["made_up"]["true"] = torch.full_like(columns["made_up"]["true"], math.nan)
    assert math.isnan(tracker.metrics(columns)["r2"])
    assert len(dict(tracker.figures(columns))) == 3
