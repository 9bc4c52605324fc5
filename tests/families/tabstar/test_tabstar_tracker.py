"""Scores and figures of tables: against scikit-learn, and by what stands on the axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from labels import unlabelled
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, r2_score, roc_auc_score

from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.tabstar import figures as draw
from tabstar_lit.families.tabstar import tracker as tracking
from tabstar_lit.families.tabstar.tracker import TabstarTracker

TASKS = {"coin": "classification", "iris": "classification", "price": "regression"}


def classes(rows: int = 200, n_classes: int = 2, seed: int = 0) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(rows) % n_classes
    logits = torch.randn(rows, n_classes, generator=generator) + 0.8 * torch.eye(n_classes)[targets]
    return {"predictions": logits.softmax(1), "targets": targets}


def values(rows: int = 50, seed: int = 0) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(rows, generator=generator)
    return {"predictions": targets + 0.5 * torch.randn(rows, generator=generator), "targets": targets}


def tracker(tasks: dict[str, str] = TASKS, history: list[dict[str, float]] | None = None) -> TabstarTracker:
    target = {"classes": [], "mean": 200.0, "std": 50.0}
    schemas = {
        name: {
            "task": task,
            "features": ["x"],
            "target": target | ({} if task == "regression" else {"classes": ["a", "b"]}),
        }
        for name, task in tasks.items()
    }
    made = TabstarTracker(Path(), schemas=schemas, check_every=1, plot_every=1)
    made.history = history or []
    return made


def xy(axes: Axes, line: int) -> list[list[float]]:
    return np.asarray(axes.lines[line].get_xydata()).tolist()


def test_every_table_has_the_score_of_its_task_and_the_mean_weighs_tables_equally() -> None:
    rows = {"coin": classes(), "iris": classes(99, 3, seed=1), "price": values()}
    scores = tracker().metrics(rows)
    coin, iris, price = rows.values()
    expected = {
        "score/coin": roc_auc_score(coin["targets"], coin["predictions"][:, 1]),
        "score/iris": roc_auc_score(iris["targets"], iris["predictions"], multi_class="ovr"),
        "score/price": r2_score(price["targets"], price["predictions"]),
    }
    assert scores == pytest.approx({**expected, "score": np.mean(list(expected.values()))}, abs=1e-6)
    assert set(scores) <= set(tracker().metric_names())


def test_a_table_of_one_class_or_value_is_left_out_of_the_mean() -> None:
    single = {"predictions": torch.rand(5, 2), "targets": torch.ones(5, dtype=torch.long)}
    constant = {"predictions": torch.rand(5), "targets": torch.ones(5)}
    scores = tracker().metrics({"coin": classes(), "iris": single, "price": constant})
    assert set(scores) == {"score/coin", "score"}
    assert scores["score"] == scores["score/coin"]
    assert math.isnan(tracker().metrics({"iris": single})["score"])


def test_figures_of_an_epoch_are_by_task_and_turn_pages_after_nine() -> None:
    tasks = {f"t{i:02}": "classification" for i in range(10)} | {"price": "regression"}
    rows = {name: classes(20) for name in reversed(tasks) if name != "price"} | {"price": values()}
    pages = dict(tracker(tasks).figures(rows))
    assert list(pages) == ["calibration", "calibration_2", "predicted_vs_true"]
    assert [name for figure in pages.values() for name in unlabelled(figure)] == []
    titles = [axes.get_title() for axes in pages["calibration"].axes]
    assert titles == [f"t{i:02} (20 rows)" for i in range(9)]
    assert [axes.get_title() for axes in pages["calibration_2"].axes] == ["t09 (20 rows)"]
    assert "calibration" not in dict(tracker(tasks).figures({"price": values()}))


def test_of_many_tables_those_with_most_rows_are_drawn() -> None:
    tasks = {f"t{i:03}": "classification" for i in range(60)}
    rows = {name: classes(20 + (7 * i) % 60) for i, name in enumerate(tasks)}
    pages = dict(tracker(tasks).figures(rows))
    assert list(pages) == ["calibration", *(f"calibration_{page}" for page in range(2, 5))]
    titles = [axes.get_title() for figure in pages.values() for axes in figure.axes]
    largest = [f"{name} ({len(own['targets'])} rows)" for name, own in rows.items() if len(own["targets"]) >= 44]
    assert titles == largest
    notes = {figure.get_supxlabel() for figure in pages.values()}
    assert notes == {"the 36 largest of 60 tables"}


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_calibration_curve_is_that_of_scikit_learn(n_classes: int) -> None:
    rows = classes(400, n_classes)
    axes = Figure().subplots()
    draw.calibration(axes, draw.Predicted(rows["predictions"], rows["targets"]))
    sure, predicted = (part.numpy() for part in rows["predictions"].double().max(dim=1))
    correct = predicted == rows["targets"].numpy()
    low = 1 / n_classes
    # scikit-learn's bins lie in [0, 1]; ours begin at the confidence of a guess.
    rates, _ = calibration_curve(correct, (sure - low) / (1 - low), n_bins=draw.BINS)
    (points,) = [part for part in axes.containers if isinstance(part, ErrorbarContainer)]
    np.testing.assert_allclose(points.lines[0].get_ydata(), rates)
    assert xy(axes, 0) == [[low, low], [1.0, 1.0]]


def test_roc_and_confusion_are_drawn_once_of_the_latest_rows() -> None:
    own = tracker({"coin": "classification", "price": "regression"})
    assert list(own.closing_figures(MagicMock())) == []
    list(own.figures({"coin": classes(50), "price": values()}))
    drawn = dict(own.closing_figures(MagicMock()))
    assert [figure.axes[0].get_title() for figure in drawn.values()] == ["coin (50 rows)"] * 2
    assert list(drawn) == ["roc", "confusion"]
    assert [name for figure in drawn.values() for name in unlabelled(figure)] == []


def test_columns_are_shuffled_of_those_tables_that_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    own, asked = tracker({f"t{i:02}": "classification" for i in range(40)}), list[str]()
    batches = {name: MagicMock(source=name) for name in own.tasks}
    for batch in batches.values():
        batch.to.return_value = batch
    own.held_out = batches.values

    def importances_of(network: object, given: Iterable[MagicMock], columns: object) -> dict[str, dict[str, object]]:
        asked.extend(batch.source for batch in given)
        return {}

    monkeypatch.setattr(tracking, "column_importances", importances_of)
    module = MagicMock()
    module.trainer.precision_plugin.convert_input = lambda batch: batch
    list(own.figures({name: classes(20 + i) for i, name in enumerate(own.tasks) if i}))  # t00 has no validation rows
    list(own.closing_figures(module))
    assert asked == list(own.tasks)[4:]


def test_confusion_and_roc_of_a_table_are_by_the_names_of_its_classes() -> None:
    rows, names = classes(400, 3), ("a class of many letters 1", "a class of many letters 2", "short")
    predicted = draw.Predicted(rows["predictions"], rows["targets"], names)
    axes = Figure().subplots()
    draw.confusions(axes, predicted)
    expected = confusion_matrix(rows["targets"], rows["predictions"].argmax(1), normalize="true")
    assert [text.get_text() for text in axes.texts] == [f"{100 * share:.0f}" for share in expected.flat]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["0 a class of ma…", "1 a class of ma…", "short"]
    axes = Figure().subplots()
    draw.roc_curves(axes, predicted)
    areas = [roc_auc_score(rows["targets"] == c, rows["predictions"][:, c]) for c in range(3)]
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [f"{name} {area:.4f}" for name, area in zip(shown, areas, strict=True)]


def test_roc_curves_of_many_classes_are_told_by_their_range() -> None:
    rows = classes(400, 9)
    axes = Figure().subplots()
    draw.roc_curves(axes, draw.Predicted(rows["predictions"], rows["targets"], [str(c) for c in range(9)]))
    areas = [roc_auc_score(rows["targets"] == c, rows["predictions"][:, c]) for c in range(9)]
    assert [text.get_text() for text in axes.texts] == [f"area of 9: {min(areas):.3f} to {max(areas):.3f}"]
    assert axes.get_legend() is None
    assert len(axes.lines) == 10


def test_the_line_of_equality_spans_predictions_and_targets() -> None:
    axes = Figure().subplots()
    draw.predicted_against_true(axes, draw.Predicted(torch.tensor([-5.0, 1.0]), torch.tensor([0.0, 3.0])))
    assert xy(axes, 0) == [[0.0, -5.0], [3.0, 1.0]]
    assert xy(axes, 1) == [[-5.0, -5.0], [3.0, 3.0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true value", "predicted value")


def test_losses_are_means_over_the_tables_of_a_task() -> None:
    losses = {"train_loss/coin": 1.0, "train_loss/iris": 3.0, "train_loss/price": 7.0, "val_loss/price": 5.0}
    drawn = dict(tracker(history=[{"epoch": 1, **losses}]).summary_figures())
    assert list(drawn) == ["losses"], "no scores, no curves of them"
    panels = {axes.get_title(): axes for axes in drawn["losses"].axes}
    assert list(panels) == ["Loss, classification", "Loss, regression"]
    lines = {line.get_label(): line.get_xydata() for line in panels["Loss, regression"].lines}
    assert {name: np.asarray(points).tolist() for name, points in lines.items()} == {
        "train": [[1.0, 7.0]],
        "val": [[1.0, 5.0]],
    }
    assert xy(panels["Loss, classification"], 0) == [[1.0, 2.0]]


def test_one_table_is_drawn_though_its_loss_has_no_name() -> None:
    history = [{"epoch": 0, "train_loss": 1.0, "val_loss": 2.0, "val_score": 0.5, "val_score/price": 0.5}]
    drawn = dict(tracker({"price": "regression"}, history).summary_figures())
    assert list(drawn) == ["scores", "score_heat_map", "losses"]
    (axes,) = drawn["losses"].axes
    assert [xy(axes, 0), xy(axes, 1)] == [[[0.0, 1.0]], [[0.0, 2.0]]]
    assert "error of the scaled target" in axes.get_ylabel()
