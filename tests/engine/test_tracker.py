"""What the tracker makes of validation steps: means over rows, not batches, epochs that are due, figures that fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tabstar_lit.engine import tracker as module_under_test
from tabstar_lit.engine.callbacks.training_log import Mean
from tabstar_lit.engine.module import StepOutput
from tabstar_lit.engine.tracker import Collected, Tracker
from tabstar_lit.plots.style import new_figure

NETWORK = MagicMock()


class CountingTracker(Tracker):
    """Scores the number of rows and remembers what it was given."""

    def __init__(self, figures: Path, check_every: int | None = 1, plot_every: int | None = None) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.seen: list[Mapping[str, Collected]] = []
        self.failure: Exception | None = None

    def metrics(self, collected: Mapping[str, Collected]) -> dict[str, float]:
        self.seen.append(collected)
        return {"rows": float(sum(len(rows.targets) for rows in collected.values()))}

    def figures(self, collected: Mapping[str, Collected]) -> Iterable[tuple[str, Figure]]:
        yield "first/one", new_figure()[0]
        if self.failure is not None:
            raise self.failure
        yield "second", new_figure()[0]

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        yield "summary", new_figure()[0]


def a_trainer(epoch: int = 0, **state: Any) -> Any:
    usual = {"current_epoch": epoch, "global_step": 10 * epoch, "testing": False, "sanity_checking": False}
    return SimpleNamespace(
        **{**usual, "is_global_zero": True, "loggers": [MagicMock()], "callback_metrics": {}, **state}
    )


def output(source: str, loss: float, rows: int, **columns: torch.Tensor) -> StepOutput:
    values = {"predictions": torch.arange(float(rows)), "targets": torch.zeros(rows), **columns}
    return StepOutput(torch.tensor(loss), source, rows, **values)


def validate(tracker: Tracker, trainer: Any, *outputs: StepOutput) -> dict[str, float]:
    """Run one validation epoch and return the entry it left in the history."""
    tracker.on_validation_epoch_start(trainer, NETWORK)
    for number, step in enumerate(outputs):
        tracker.on_validation_batch_end(trainer, NETWORK, step, None, number)
    tracker.on_validation_epoch_end(trainer, NETWORK)
    return tracker.history[-1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-5, 5), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_loss_is_the_mean_over_rows_whatever_the_batches(batches: list[tuple[str, float, int]]) -> None:
    entry = validate(CountingTracker(Path()), a_trainer(), *(output(*batch) for batch in batches))
    sources, losses, rows = (np.array(column) for column in zip(*batches, strict=True))
    assert entry["val_loss"] == pytest.approx(np.average(losses, weights=rows), abs=1e-5)
    names = sorted(set(sources))
    expected = {f"val_loss/{n}": np.average(losses[sources == n], weights=rows[sources == n]) for n in names}
    by_source = {name: value for name, value in entry.items() if name.startswith("val_loss/")}
    assert by_source == pytest.approx(expected if len(names) > 1 else {}, abs=1e-5)
    assert entry["val_rows"] == rows.sum()


def test_rows_are_stacked_in_their_order_with_all_their_columns() -> None:
    tracker = CountingTracker(Path())
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    steps = [output("a", 1.0, 2, weights=weights + i, extras=torch.full((2, 3), i)) for i in range(3)]
    validate(tracker, a_trainer(), *steps, output("b", 1.0, 1))
    rows = tracker.seen[0]["a"]
    assert rows.predictions.tolist() == [0, 1, 0, 1, 0, 1]
    assert rows.weights is not None
    assert rows.weights.tolist() == [1, 2, 2, 3, 3, 4]
    assert rows.extras is not None
    assert rows.extras[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert {part.dtype for part in (rows.predictions, rows.targets, rows.weights, rows.extras)} == {torch.float32}
    assert (tracker.seen[0]["b"].weights, tracker.seen[0]["b"].extras) == (None, None)


def test_ranks_are_joined_also_where_one_has_not_seen_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = CountingTracker(Path())
    other = {
        "a": (Mean(30.0, 10), [torch.tensor([7.0]), torch.tensor([1.0]), None, None]),
        "c": (Mean(4.0, 2), [None, None, None, None]),
    }
    monkeypatch.setattr(module_under_test, "gather", lambda own: [own, other])
    entry = validate(tracker, a_trainer(), output("a", 1.0, 2), output("b", 2.0, 4))
    assert entry["val_loss/a"] == pytest.approx(32 / 12)
    assert entry["val_loss"] == pytest.approx((2 + 8 + 30 + 4) / (2 + 4 + 10 + 2))
    assert tracker.seen[0]["a"].predictions.tolist() == [0.0, 1.0, 7.0]
    assert set(tracker.seen[0]) == {"a", "b"}, "a source without predictions has a loss but no score"


@pytest.mark.parametrize(("every", "due"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (3, [2, 5]), (None, [])])
def test_metrics_come_every_nth_epoch_counted_from_one(every: int | None, due: list[int]) -> None:
    tracker = CountingTracker(Path(), check_every=every)
    for epoch in range(6):
        assert "val_loss" in validate(tracker, a_trainer(epoch), output("a", 1.0, 2))
    assert [entry["epoch"] for entry in tracker.history if "val_rows" in entry] == due


def test_rows_are_kept_only_in_epochs_that_need_them() -> None:
    tracker = CountingTracker(Path(), check_every=2)
    for epoch, kept in ((0, 0), (1, 1)):
        tracker.on_validation_epoch_start(a_trainer(epoch), NETWORK)
        tracker.on_validation_batch_end(a_trainer(epoch), NETWORK, output("a", 1.0, 2), None, 0)
        assert len(tracker._parts["a"].predictions) == kept


def test_the_trial_batches_before_training_are_no_epoch() -> None:
    tracker = CountingTracker(Path())
    trainer = a_trainer(sanity_checking=True)
    tracker.on_validation_epoch_start(trainer, NETWORK)
    tracker.on_validation_batch_end(trainer, NETWORK, output("a", 99.0, 2), None, 0)
    tracker.on_validation_epoch_end(trainer, NETWORK)
    assert tracker.history == []
    assert validate(tracker, a_trainer(), output("a", 1.0, 2))["val_loss"] == 1.0


def test_a_test_is_scored_in_any_epoch_under_its_own_prefix(tmp_path: Path) -> None:
    tracker, trainer = CountingTracker(tmp_path, check_every=5, plot_every=5), a_trainer(testing=True)
    tracker.on_test_epoch_start(trainer, NETWORK)
    tracker.on_test_batch_end(trainer, NETWORK, output("a", 0.5, 3), None, 0)
    tracker.on_test_epoch_end(trainer, NETWORK)
    assert tracker.history == [{"epoch": 0, "test_loss": 0.5, "test_rows": 3.0}]
    assert (tmp_path / "first/one/test.png").is_file()


def test_what_is_logged_is_what_the_history_holds_beside_the_training_loss(tmp_path: Path) -> None:
    tracker, trainer, network = CountingTracker(tmp_path), a_trainer(4), MagicMock()
    tracker.training_log.epoch = {"train_loss": 0.25}
    tracker.on_validation_batch_end(trainer, network, output("a", 2.0, 3), None, 0)
    tracker.on_validation_epoch_end(trainer, network)
    values = {"val_loss": 2.0, "val_rows": 3.0}
    assert tracker.history == [{"epoch": 4, "train_loss": 0.25, **values}]
    trainer.loggers[0].log_metrics.assert_called_once_with({**values, "epoch": 4}, step=40)
    network.log_dict.assert_called_once_with(values, logger=False, sync_dist=True)


def test_figures_of_an_epoch_have_its_number_and_summaries_are_replaced(tmp_path: Path) -> None:
    tracker = CountingTracker(tmp_path, plot_every=2)
    for epoch in range(4):
        trainer = a_trainer(epoch)
        validate(tracker, trainer, output("a", 1.0, 2))
    drawn = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    epochs = [f"{name}/epoch_000{n}.png" for name in ("first/one", "second") for n in (1, 3)]
    assert drawn == sorted([*epochs, "summary.png"])
    uploaded = [call.args[1] for call in trainer.loggers[0].log_figure.call_args_list]
    assert uploaded == ["first/one/epoch_0003.png", "second/epoch_0003.png", "summary.png"]


def test_one_rank_draws(tmp_path: Path) -> None:
    validate(CountingTracker(tmp_path, plot_every=1), a_trainer(is_global_zero=False), output("a", 1.0, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_figure_is_reported_once_per_reason_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(module_under_test, "rank_zero_warn", warnings.append)
    tracker = CountingTracker(tmp_path, plot_every=1)
    for epoch, failure in enumerate((ValueError("no rows"), ValueError("no rows"), KeyError("column"))):
        tracker.failure = failure
        validate(tracker, a_trainer(epoch), output("a", 1.0, 2))
    reasons = [warning.split("training goes on. ")[1] for warning in warnings]
    assert reasons == ["ValueError: no rows", "KeyError: 'column'"]
    assert (tmp_path / "summary.png").is_file()
    assert len(list((tmp_path / "first/one").iterdir())) == 3


def test_the_history_goes_on_after_a_resume_without_touching_the_saved_one(tmp_path: Path) -> None:
    saved = {"history": [{"epoch": 0, "val_loss": 3.0}]}
    tracker = CountingTracker(tmp_path)
    tracker.load_state_dict(saved)
    validate(tracker, a_trainer(1), output("a", 1.0, 2))
    assert [entry["epoch"] for entry in tracker.state_dict()["history"]] == [0, 1]
    assert len(saved["history"]) == 1


def test_values_of_an_earlier_epoch_do_not_pass_for_those_of_this_one() -> None:
    kept = {"train_loss": 1.0, "test_rows": 3.0}
    trainer = a_trainer(epoch=2, callback_metrics={"val_rows": 8.0, "val_loss": 2.0, **kept})
    validate(CountingTracker(Path(), check_every=2), trainer, output("a", 1.0, 4))
    assert trainer.callback_metrics == kept  # the values of this one come from Lightning's log, which is not here
