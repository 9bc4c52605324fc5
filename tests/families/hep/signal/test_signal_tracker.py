"""The tracker of signal classifiers: what it logs and draws, also where events give little to draw."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_objects import inputs, ragged_events
from labels import unlabelled
from matplotlib.figure import Figure
from torch import Tensor

from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.signal.figures import draw_all
from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting, SignificanceConfig, check_plotting
from tabstar_lit.families.hep.signal.scored import Scored
from tabstar_lit.families.hep.signal.tracker import SignalTracker
from tabstar_lit.families.hep.signal.training_config import DiscoConfig

CLASSES = ("background", "signal", "top")
BINARY = {"roc", "rejection", "precision_recall", "confusion", "scores", "logits", "significance", "calibration"}
MULTICLASS = {"scores/background", "scores/signal", "scores/top", "one_vs_rest", "discriminants"} | BINARY - {"scores"}


def collected(classes: int, rows: int = 300, *, absent: int | None = None, equal: bool = False) -> dict[str, Tensor]:
    """Return what validation of ``rows`` events would have returned."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(rows) % classes
    if absent is not None:
        targets = torch.where(targets == absent, (absent + 1) % classes, targets)
    logits = torch.randn(rows, 1 if classes == 2 else classes, generator=generator)
    weights = torch.rand(rows, generator=generator) - 0.05
    mass = torch.randn(rows, 1, generator=generator)
    scores = torch.zeros_like(logits) if equal else logits
    return {"logits": scores, "targets": targets, "weights": weights, "spectators": mass}


def tracker(folder: Path, classes: int = 2, **options: Any) -> SignalTracker:
    disco = DiscoConfig.model_validate({"variables": ("mass",), "lambda": 1.0})
    given = {"spectators": ("mass",), "disco": disco, **options}
    return SignalTracker(folder, classes=CLASSES[:classes], signal=1, check_every=1, plot_every=1, **given)


def drawn(own: SignalTracker, rows: Columns) -> dict[str, Figure]:
    """Return figures by name, each of them laid out as it is for a file."""
    figures = dict(own.figures({"events": rows}))
    for figure in figures.values():
        figure.draw_without_rendering()
        assert unlabelled(figure) == []
    return figures


@pytest.mark.parametrize(("classes", "expected"), [(2, BINARY), (3, MULTICLASS)])
def test_every_figure_is_drawn(tmp_path: Path, classes: int, expected: set[str]) -> None:
    assert set(drawn(tracker(tmp_path, classes), collected(classes))) == expected | {"sculpting/mass"}


def test_variables_have_their_unit(tmp_path: Path) -> None:
    figure = drawn(tracker(tmp_path, units={"mass": "GeV"}), collected(2))["sculpting/mass"]
    assert figure.axes[1].get_xlabel() == "mass [GeV]"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "rows",
    [
        {"rows": 1},
        {"rows": 2},
        {"equal": True},
        {"absent": 0},
        {"absent": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_little_to_draw_is_drawn_without_a_word(tmp_path: Path, classes: int, rows: dict[str, Any]) -> None:
    events, own = collected(classes, **rows), tracker(tmp_path, classes)
    assert {"confusion", "calibration", "logits"} <= set(drawn(own, events))
    values = own.metrics({"events": events})
    assert math.isnan(values["auroc"]) or 0 <= values["auroc"] <= 1.2


@pytest.mark.filterwarnings("error")
def test_all_weights_zero_or_negative_is_survived(tmp_path: Path) -> None:
    for factor in (0.0, -1.0):
        rows = collected(2)
        rows["weights"] = torch.full((300,), factor)
        drawn(tracker(tmp_path), rows)
        assert math.isnan(tracker(tmp_path).metrics({"events": rows})["auroc"])


def test_without_weights_and_spectators(tmp_path: Path) -> None:
    rows = collected(2)
    del rows["weights"], rows["spectators"]
    own = tracker(tmp_path, spectators=(), disco=None)
    assert set(drawn(own, rows)) == BINARY
    values = own.metrics({"events": rows})
    assert values["auroc"] == values["auroc_unweighted"]


def test_sources_are_scored_together(tmp_path: Path) -> None:
    rows = collected(2)
    half = [{name: column[part] for name, column in rows.items()} for part in (slice(150), slice(150, None))]
    own = tracker(tmp_path)
    together = own.metrics({"events": rows})
    assert own.metrics({"a": half[0], "b": half[1]}) == together


def test_only_the_figures_asked_for(tmp_path: Path) -> None:
    plotting = SignalPlotting(figures=("roc", "confusion"))
    own = tracker(tmp_path, plotting=plotting)
    assert set(drawn(own, collected(2))) == {"roc", "confusion"}
    own.history = [{"epoch": 0, "val_loss": 1.0}]
    assert list(own.summary_figures()) == []


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embedding_and_groups(tmp_path: Path, method: str) -> None:
    plotting = SignalPlotting.model_validate(
        {"figures": (), "embedding": method, "groups": {"other": ("background", "top"), "signal": ("signal",)}}
    )
    seen = drawn(tracker(tmp_path, 3, plotting=plotting), collected(3, 60))
    assert set(seen) == {f"embedding_{method}", "groups/confusion", "groups/one_vs_rest"}


def test_named_significances_have_their_figure(tmp_path: Path) -> None:
    plotting = SignalPlotting.model_validate(
        {"figures": ("significance",), "significance": {"top": {"signal": ("signal",), "background": ("top",)}}}
    )
    assert set(drawn(tracker(tmp_path, 3, plotting=plotting), collected(3))) == {"significance", "significance/top"}


def trainer_of(**state: Any) -> SimpleNamespace:
    """Return what of a trainer in single precision a tracker asks for."""
    single = SimpleNamespace(convert_input=lambda batch: batch)
    return SimpleNamespace(**{"world_size": 1, "testing": False, "precision_plugin": single, **state})


def overtraining(own: SignalTracker, rows: Columns, world_size: int = 1, **state: Any) -> dict[str, Figure]:
    """Return what is drawn of a network whose training events score as ``rows`` do."""
    network = SimpleNamespace(
        compute=lambda batch: SimpleNamespace(source="events", columns=batch),
        device=torch.device("cpu"),
        trainer=trainer_of(world_size=world_size, **state),
    )
    return dict(own.samples(network, {"events": rows}))  # type: ignore[arg-type]  # what of a module is used


@pytest.mark.parametrize("classes", [2, 3])
def test_training_events_are_drawn_over_those_of_validation(tmp_path: Path, classes: int) -> None:
    rows = collected(classes)
    own = tracker(tmp_path, classes, some=lambda split: iter([rows, rows]))
    (figure,) = overtraining(own, rows).values()
    axes, below = figure.axes
    assert axes.get_title() == "600 training events against 300 of validation"
    legend = axes.get_legend()
    assert legend is not None
    labels = {text.get_text() for text in legend.get_texts()}
    same = "KS distance 0.000, p = 1"
    trained = {f"{name}, training" for name in CLASSES[:classes]}
    assert labels == trained | {f"{name}, validation\n{same}" for name in CLASSES[:classes]}
    for bars in below.containers:
        heights = bars.lines[0].get_ydata()
        np.testing.assert_allclose(heights[np.isfinite(heights)], 1, err_msg="the same events have the same scores")
    (figure,) = overtraining(own, rows, testing=True).values()
    assert "against 300 of test" in figure.axes[0].get_title()


def test_training_events_are_not_drawn_where_they_cannot_be_scored_or_nobody_asks(tmp_path: Path) -> None:
    rows = collected(2)
    given = {"some": lambda split: iter([rows])}
    assert overtraining(tracker(tmp_path), rows) == {}
    assert overtraining(tracker(tmp_path, some=lambda split: iter([])), rows) == {}
    one, two = (overtraining(tracker(tmp_path, **given), rows, world_size=size) for size in (1, 2))
    assert list(one) == list(two) != [], "several devices draw what one does"
    assert overtraining(tracker(tmp_path, plotting=SignalPlotting(figures=("roc",)), **given), rows) == {}
    rows["logits"][0] = torch.nan
    assert overtraining(tracker(tmp_path, **given), rows) == {}


def test_losses_and_scores_by_epoch(tmp_path: Path) -> None:
    own = tracker(tmp_path)
    own.history = [{"epoch": e, "train_loss": 1.0 / (e + 1), "val_loss": 0.9, "val_auroc": 0.8} for e in range(3)]
    figures = dict(own.summary_figures())
    assert set(figures) == {"losses", "metrics"}
    assert [line.get_label() for line in figures["losses"].axes[0].get_lines()] == ["train_loss", "val_loss"]
    assert all(figure.axes[0].get_ylabel() for figure in figures.values())


def test_a_diverged_network_draws_nothing(tmp_path: Path) -> None:
    rows = collected(2)
    rows["logits"][0] = torch.nan
    own = tracker(tmp_path)
    assert drawn(own, rows) == {}
    assert all(math.isnan(value) for value in own.metrics({"events": rows}).values())


def test_no_validation_no_metrics(tmp_path: Path) -> None:
    own = tracker(tmp_path)
    assert own.metrics({}) == {}
    assert drawn_of_nothing(own) == []


def drawn_of_nothing(own: SignalTracker) -> list[object]:
    return list(own.figures({}))


def test_figures_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(
        "tabstar_lit.families.hep.signal.figures.confusion",
        lambda predicted, targets, n_classes, weights: kept.append(len(targets)) or np.eye(n_classes),
    )
    events = Scored.of(collected(2), classes=CLASSES[:2], signal=(1,), spectators=("mass",))
    list(draw_all(events, SignalPlotting(figures=("confusion",), max_events=100), ()))
    assert kept == [100]


def test_names_the_data_lacks_are_refused_at_the_start(tmp_path: Path) -> None:
    plotting = SignalPlotting.model_validate(
        {
            "significance": {"a": {"signal": ("signl",), "background": ("background",)}},
            "groups": {"g": ("nothing",)},
            "sculpting": ("mas",),
        }
    )
    problems = check_plotting(plotting, classes=CLASSES[:2], spectators=("mass",))
    assert [p.path for p in problems] == [("significance", "a", "signal", 0), ("groups", "g", 0), ("sculpting", 0)]
    with pytest.raises(ConfigError, match=r"(?s)no class is called 'signl'.*'signal'.*'mas' is not among") as error:
        tracker(tmp_path, plotting=plotting)
    assert "plotting_config.significance.a.signal" in str(error.value)


def test_a_disco_variable_must_be_carried_along(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mass' is neither a feature nor a spectator"):
        tracker(tmp_path, spectators=("pt",))


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        ({"logit_range": (5.0, -5.0)}, ("logit_range",), "[5, -5] is no range"),
        ({"logit_range": (1.0, 1.0)}, ("logit_range",), "is no range"),
        ({"groups": {"a": ("x", "y"), "b": ("z", "y")}}, ("groups", "b", 1), "'y' is in the group 'a' already"),
        ({"groups": {"a": ("x", "x")}}, ("groups", "a", 1), "'x' is listed twice"),
    ],
)
def test_plots_that_make_no_sense_are_refused(options: dict[str, Any], place: tuple[Any, ...], words: str) -> None:
    (problem,) = SignalPlotting.model_validate(options).problems()
    assert problem.path == place
    assert words in problem.message


def test_a_class_is_signal_or_background_of_a_significance() -> None:
    both, twice = ({"signal": ("a", "b"), "background": ("c", "b")}, {"signal": ("a", "a"), "background": ("c",)})
    (problem,) = SignificanceConfig.model_validate(both).problems()
    assert (problem.path, "'b' is in signal too" in problem.message) == (("background", 1), True)
    (problem,) = SignificanceConfig.model_validate(twice).problems()
    assert (problem.path, problem.message) == (("signal", 1), "class 'a' is listed twice")


def test_figures_say_what_they_weigh_by_and_keep_their_text_off_the_curves(tmp_path: Path) -> None:
    figures = dict(tracker(tmp_path).figures({"events": collected(2)}))
    labels = [text.get_text() for text in figures["roc"].axes[0].get_legend().get_texts()]
    assert [label.rsplit(" ", 1)[0] for label in labels] == ["event weights", "unweighted"]
    assert "weighted" not in figures["roc"].axes[0].get_legend().get_title().get_text()
    assert "class weights" in figures["calibration"].axes[0].texts[0].get_text()
    significance = figures["significance"].axes[0]
    assert "best cut" in significance.get_title()
    assert len(significance.texts) == 0
    best = significance.get_lines()[1].get_xdata()[0]
    assert best in significance.get_lines()[0].get_xdata()
    assert figures["significance"].axes[1].get_xlabel() == "cut on log(p signal / p background)"


def test_areas_are_better_when_larger_and_errors_are_not(tmp_path: Path) -> None:
    own = tracker(tmp_path, disco=DiscoConfig.model_validate({"variables": ("mass",), "lambda": 1.0}))
    assert set(own.metric_names()) - set(own.better_when_larger()) == {"ece", "dcorr_mass"}


def test_importance_is_drawn_once_of_held_out_events(tmp_path: Path) -> None:
    features, asked = ragged_events(), list[str]()
    ones = torch.ones(4)
    batch = EventBatch(features, torch.tensor([0, 1, 0, 1]), ones, ones, torch.zeros(4, 0), torch.arange(4))
    own = tracker(
        tmp_path, some=lambda split: asked.append(split) or [batch], inputs=inputs(), spectators=(), disco=None
    )

    def importance(**state: Any) -> dict[str, Figure]:
        trainer = trainer_of(**state)
        first = SimpleNamespace(network=lambda given: given.numerical[:, :1], trainer=trainer, device="cpu")
        return dict(own.closing_figures(first))  # type: ignore[arg-type]  # what of a module is used

    (figure,) = importance().values()
    assert figure.axes[0].get_title() == "Importance of features, 4 events"
    assert unlabelled(figure) == []
    assert list(importance(testing=True)) == ["importance"]
    assert asked == ["val", "test"]
    assert list(importance(world_size=2)) == ["importance"], "several devices draw what one does"
    assert asked == ["val", "test", "val"]
