"""What the tracker makes of validation steps: means over rows, not batches, epochs that are due, figures that fail."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import Precision
from matplotlib.figure import Figure
from torch.multiprocessing.reductions import StorageWeakRef
from torchmetrics import MaxMetric, MeanMetric, R2Score
from torchmetrics.classification import BinaryAUROC
from torchmetrics.text import Perplexity
from toy import ToyModule, ToyTracker
from toy_bench import Bench, metrics

from tabstar_lit.engine import tracker as module_under_test
from tabstar_lit.engine.module import StepOutput
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking import gallery
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.engine.tracking.streams import Stream
from tabstar_lit.plots.style import new_figure

NETWORK = MagicMock(device=torch.device("cpu"))


class CountingTracker(Tracker):
    """Scores the number of rows and remembers what it was given."""

    def __init__(self, figures: Path, check_every: int | None = 1, plot_every: int | None = None) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.seen: list[Mapping[str, Columns]] = []
        self.failure: Exception | None = None
        self.asked: tuple[str, ...] = ("predictions", "targets", "weights", "jets")

    def keeps(self) -> tuple[str, ...]:
        return self.asked

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        self.seen.append(collected)
        return {"rows": float(sum(len(rows["targets"]) for rows in collected.values()))}

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        yield "first/one", new_figure()[0]
        if self.failure is not None:
            raise self.failure
        yield "second", new_figure()[0]

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        yield "summary", new_figure()[0]


def a_trainer(epoch: int = 0, **state: Any) -> Any:
    usual = {"current_epoch": epoch, "global_step": 10 * epoch, "testing": False, "sanity_checking": False}
    usual |= {"precision_plugin": Precision(), "datamodule": SimpleNamespace(test_side="test")}
    return SimpleNamespace(
        **{**usual, "is_global_zero": True, "loggers": [MagicMock()], "callback_metrics": {}, **state}
    )


def output(source: str, loss: float, rows: int, **columns: torch.Tensor) -> StepOutput:
    values = {"predictions": torch.arange(float(rows)), "targets": torch.zeros(rows), **columns}
    return StepOutput(torch.tensor(loss), source, rows, columns=values)


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
    steps = [output("a", 1.0, 2, weights=weights + i, jets=torch.full((2, 3), i)) for i in range(3)]
    validate(tracker, a_trainer(), *steps, output("b", 1.0, 1))
    rows = tracker.seen[0]["a"]
    assert rows["predictions"].tolist() == [0, 1, 0, 1, 0, 1]
    assert rows["weights"].tolist() == [1, 2, 2, 3, 3, 4]
    assert rows["jets"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert set(tracker.seen[0]["b"]) == {"predictions", "targets"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.bool, torch.bool),
        (torch.uint8, torch.uint8),
        (torch.int64, torch.int64),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_numbers_are_kept_as_they_are_and_half_precision_as_single(given: torch.dtype, kept: torch.dtype) -> None:
    tracker = CountingTracker(Path())
    validate(tracker, a_trainer(), output("a", 1.0, 3, jets=torch.tensor([0, 1, 1]).to(given)))
    jets = tracker.seen[0]["a"]["jets"]
    assert jets.dtype == kept
    assert jets.tolist() == [0, 1, 1]


def test_what_nobody_asks_for_is_forgotten_with_its_batch() -> None:
    tracker, trainer = CountingTracker(Path()), a_trainer()
    tracker.on_validation_epoch_start(trainer, NETWORK)
    forgotten = []
    for number in range(3):
        logits = torch.zeros(4, 50, 100)
        step = output("a", 1.0, 4, logits=logits, jets=logits[:, 0, :2])
        forgotten.append(StorageWeakRef(logits.untyped_storage()))
        tracker.on_validation_batch_end(trainer, NETWORK, step, None, number)
        del logits, step
    assert [storage.expired() for storage in forgotten] == [True] * 3
    tracker.on_validation_epoch_end(trainer, NETWORK)
    jets = tracker.seen[0]["a"]["jets"]
    assert jets.shape == (12, 2)
    assert jets.untyped_storage().nbytes() == jets.nbytes, "a few columns of large logits hold none of the others"


def test_a_column_that_some_batches_lack_is_refused() -> None:
    steps = output("a", 1.0, 2, weights=torch.ones(2)), output("a", 1.0, 2)
    with pytest.raises(ValueError, match="column 'weights' is missing from some batches"):
        validate(CountingTracker(Path()), a_trainer(), *steps)


def test_ranks_are_joined_also_where_one_has_not_seen_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = CountingTracker(Path())
    sums = {"a": {"loss": (30.0, 10), "part": (5.0, 10)}, "c": {"loss": (4.0, 2)}}
    other = sums, {"a": {"predictions": torch.tensor([7.0]), "targets": torch.tensor([1.0])}}, {}
    monkeypatch.setattr(module_under_test, "gather", lambda own: [own, other])
    entry = validate(tracker, a_trainer(), output("a", 1.0, 2), output("b", 2.0, 4))
    assert (entry["val_part"], entry["val_part/a"]) == (0.5, 0.5)
    assert entry["val_loss/a"] == pytest.approx(32 / 12)
    assert entry["val_loss"] == pytest.approx((2 + 8 + 30 + 4) / (2 + 4 + 10 + 2))
    assert tracker.seen[0]["a"]["predictions"].tolist() == [0.0, 1.0, 7.0]
    assert set(tracker.seen[0]) == {"a", "b"}, "a source without columns has a loss but no score"


@pytest.mark.parametrize(("every", "due"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (3, [2, 5]), (None, [])])
def test_metrics_come_every_nth_epoch_counted_from_one(every: int | None, due: list[int]) -> None:
    tracker = CountingTracker(Path(), check_every=every)
    for epoch in range(6):
        assert "val_loss" in validate(tracker, a_trainer(epoch), output("a", 1.0, 2))
    assert [entry["epoch"] for entry in tracker.history if "val_rows" in entry] == due


def test_rows_are_kept_only_in_epochs_that_need_them() -> None:
    tracker = CountingTracker(Path(), check_every=2)
    for epoch in (0, 1):
        step = output("a", 1.0, 2)
        column = StorageWeakRef(step.columns["predictions"].untyped_storage())
        tracker.on_validation_epoch_start(a_trainer(epoch), NETWORK)
        tracker.on_validation_batch_end(a_trainer(epoch), NETWORK, step, None, 0)
        del step
        assert column.expired() == (epoch == 0)


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


def test_figures_say_run_split_epoch_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: dict[str, str] = {}

    def keep(figure: Figure, path: Path, note: str, also: list[str]) -> None:
        notes[path.relative_to(tmp_path).as_posix()] = note

    monkeypatch.setattr(gallery, "save_figure", keep)
    tracker = CountingTracker(tmp_path / "toys/run", plot_every=1)
    validate(tracker, a_trainer(3), output("a", 1.0, 2), output("b", 1.0, 5))
    assert notes["toys/run/second/epoch_0003.png"] == "toys/run, validation, epoch 3, 7 rows"
    assert notes["toys/run/summary.png"] == "toys/run, validation, epoch 3, 7 rows"
    tracker.dress(gallery.Look("toys/run/second", data="coins"))
    validate(tracker, a_trainer(3, testing=True), output("a", 1.0, 4))
    assert notes["toys/run/second/test.png"] == "toys/run/second, data coins, test, 4 rows"
    of_validation = SimpleNamespace(test_side="val")
    validate(tracker, a_trainer(3, testing=True, datamodule=of_validation), output("a", 1.0, 4))
    assert notes["toys/run/second/test.png"].endswith("data coins, validation, 4 rows")


def test_figures_come_in_every_format_and_their_names_in_order(tmp_path: Path) -> None:
    tracker = CountingTracker(tmp_path, plot_every=1)
    tracker.dress(gallery.Look("run", formats=("png", "pdf")))
    trainer = a_trainer()
    validate(tracker, trainer, output("a", 1.0, 2))
    assert sorted(path.name for path in tmp_path.rglob("*.p*")) == [
        "epoch_0000.pdf", "epoch_0000.pdf", "epoch_0000.png", "epoch_0000.png", "summary.pdf", "summary.png",
    ]  # fmt: skip
    assert [call.args[1] for call in trainer.loggers[0].log_file.call_args_list] == [
        "figures/first/one/epoch_0000.pdf", "figures/second/epoch_0000.pdf", "figures/summary.pdf",
    ]  # fmt: skip
    assert tracker.drawn == ["summary", "first/one", "second"]


@pytest.mark.parametrize(("state", "drawn"), [({}, True), ({"is_global_zero": False}, False)])
def test_what_takes_a_while_is_drawn_once_by_the_main_process(
    tmp_path: Path, state: dict[str, Any], drawn: bool
) -> None:
    tracker = CountingTracker(tmp_path, plot_every=1)
    tracker.closing_figures = lambda module: iter([("importance", new_figure()[0])])  # type: ignore[method-assign]  # as a family would
    trainer = a_trainer(2, **state)
    validate(tracker, trainer, output("a", 1.0, 2))
    assert not (tmp_path / "importance.png").exists()
    tracker.on_train_end(trainer, NETWORK)
    assert (tmp_path / "importance.png").exists() == drawn
    CountingTracker(tmp_path / "none", plot_every=None).on_train_end(trainer, NETWORK)
    assert not (tmp_path / "none").exists()


def test_one_rank_draws(tmp_path: Path) -> None:
    validate(CountingTracker(tmp_path, plot_every=1), a_trainer(is_global_zero=False), output("a", 1.0, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_figure_is_reported_once_per_reason_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gallery, "rank_zero_warn", warnings.append)
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


# -- terms -------------------------------------------------------------------------------------------------------------


def with_terms(source: str, size: int, **terms: float) -> StepOutput:
    return StepOutput(torch.tensor(1.0), source, size, {name: torch.tensor(value) for name, value in terms.items()})


def test_terms_are_means_over_the_rows_that_have_them_in_all_and_by_source() -> None:
    steps = with_terms("a", 2, part=3.0), with_terms("a", 6, part=1.0, rare=7.0), with_terms("b", 8, part=2.0)
    entry = validate(CountingTracker(Path()), a_trainer(), *steps)
    assert {name: value for name, value in entry.items() if "part" in name or "rare" in name} == {
        "val_part": 28 / 16, "val_part/a": 12 / 8, "val_part/b": 2.0, "val_rare": 7.0, "val_rare/a": 7.0,
    }  # fmt: skip
    assert "val_part/a" not in validate(CountingTracker(Path()), a_trainer(), *steps[:2])


@pytest.mark.parametrize("term", ["loss", "rows"])
def test_a_term_that_would_hide_another_value_is_refused(term: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be called 'loss'|two values are called 'val_rows'"):
        validate(CountingTracker(Path()), a_trainer(), with_terms("a", 2, **{term: 1.0}))


# -- streams -----------------------------------------------------------------------------------------------------------


def streaming(**options: Any) -> CountingTracker:
    tracker = CountingTracker(Path(), **options)
    tracker.asked = ()
    tracker.streams["mean"] = Stream(MeanMetric(), ("predictions", "weights"))
    tracker.streams["most/b"] = Stream(MaxMetric(), ("predictions",), source="b")
    return tracker


def test_streams_take_their_columns_batch_by_batch_and_begin_anew_each_epoch() -> None:
    tracker = streaming()
    for epoch, factor in ((0, 1.0), (1, 10.0)):
        trainer = a_trainer(epoch)
        tracker.on_validation_epoch_start(trainer, NETWORK)
        for source, weights in (("a", [1.0, 3.0]), ("b", [0.0, 1.0])):
            step = output(source, 1.0, 2, predictions=factor * torch.arange(2.0), weights=torch.tensor(weights))
            tracker.on_validation_batch_end(trainer, NETWORK, step, None, 0)
        tracker.on_validation_epoch_end(trainer, NETWORK)
        assert tracker.history[-1]["val_mean"] == pytest.approx(factor * 4 / 5)
        assert tracker.history[-1]["val_most/b"] == factor
        assert tracker.seen[-1] == {}, "what streams need is not kept"


def test_streams_are_metrics_to_the_monitor_and_come_when_metrics_do() -> None:
    tracker = streaming(check_every=2)
    tracker.metric_names = lambda: ("rows",)  # type: ignore[method-assign]  # as a family would
    assert tracker.monitorable() == ("rows", "mean", "most/b")
    assert tracker.larger_is_better() == ()
    tracker.streams["r2"] = Stream(R2Score(), ("predictions", "targets"))
    assert tracker.larger_is_better() == ("r2",)
    step = output("a", 1.0, 2, weights=torch.ones(2))
    assert "val_mean" not in validate(tracker, a_trainer(0), step)
    entry = validate(tracker, a_trainer(1), step)
    assert entry["val_mean"] == 0.5
    assert math.isnan(entry["val_most/b"]), "no batch of that source, no value"


def test_logits_of_a_whole_validation_are_never_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, make = ToyModule.compute, ToyTracker.__init__
    logits_of, alive = [], []

    def with_logits(module: ToyModule, batch: dict[str, Any]) -> StepOutput:
        output = compute(module, batch)
        logits = torch.zeros(len(batch["y"]), 32, 1000)
        logits_of.append(StorageWeakRef(logits.untyped_storage()))
        alive.append(sum(not storage.expired() for storage in logits_of))
        tokens = torch.zeros(len(batch["y"]), 32, dtype=torch.long)
        return replace(output, columns={**output.columns, "logits": logits, "tokens": tokens})

    def with_perplexity(tracker: ToyTracker, *args: Any, **options: Any) -> None:
        make(tracker, *args, **options)
        tracker.streams["perplexity"] = Stream(Perplexity(), ("logits", "tokens"))

    monkeypatch.setattr(ToyModule, "compute", with_logits)
    monkeypatch.setattr(ToyTracker, "__init__", with_perplexity)
    bench.train("model_config.training_config.max_epochs=1")
    assert len(alive) > 20
    assert max(alive) <= 2, "that of this batch, and that of the last where the loop still has a hand on it"
    assert [line["val_perplexity"] for line in metrics(bench.load_run()) if "val_perplexity" in line] == [
        pytest.approx(1000, rel=1e-4)
    ]


def test_a_metric_that_collects_what_it_sees_is_no_stream() -> None:
    with pytest.raises(ValueError, match="BinaryAUROC collects all it sees, in 'preds'"):
        Stream(BinaryAUROC(), ("predictions", "targets"))
    assert Stream(BinaryAUROC(thresholds=10), ("predictions", "targets")).updates == 0


# -- samples -----------------------------------------------------------------------------------------------------------


class SamplingTracker(CountingTracker):
    """Draws with a network that has dropout, frozen or not."""

    fails = False

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure | str]]:
        assert set(collected) == {"a"}
        assert not torch.is_grad_enabled()
        modes = {part.training for part in module.modules()}
        yield "texts/one", f"{modes} {torch.rand(2).tolist()} {np.random.rand()} {random.random()}"
        yield "notes.md", "# ä"
        yield "drawn", new_figure()[0]
        if self.fails:
            raise RuntimeError("no sample")


class Sampled(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.frozen = torch.nn.Dropout(), torch.nn.Dropout().eval()


def test_samples_leave_modes_and_generators_as_they_were_and_are_the_same_in_every_epoch(tmp_path: Path) -> None:
    tracker, module = SamplingTracker(tmp_path, plot_every=1), Sampled()
    for epoch in range(2):
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        trainer = a_trainer(epoch)
        module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # needs a whole trainer
        tracker.on_validation_batch_end(trainer, module, output("a", 1.0, 2), None, 0)
        tracker.on_validation_epoch_end(trainer, module)
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
        assert (module.training, module.first.training, module.frozen.training) == (True, True, False)
        random.seed(epoch)
        np.random.seed(epoch)
        torch.manual_seed(epoch)
    one, two = (path.read_text(encoding="utf-8") for path in sorted((tmp_path / "texts/one").iterdir()))
    assert one == two
    assert one.startswith("{False} ")
    assert (tmp_path / "notes/epoch_0001.md").read_text(encoding="utf-8") == "# ä"
    assert (tmp_path / "drawn/epoch_0001.png").is_file()
    logger = trainer.loggers[0]
    uploaded = [call.args[1] for call in logger.log_file.call_args_list]
    assert uploaded == ["figures/texts/one/epoch_0001.txt", "figures/notes/epoch_0001.md"]
    assert "drawn/epoch_0001.png" in [call.args[1] for call in logger.log_figure.call_args_list]


def test_a_broken_sample_is_reported_once_and_leaves_what_came_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gallery, "rank_zero_warn", warnings.append)
    tracker, module = SamplingTracker(tmp_path, plot_every=1), Sampled()
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # needs a whole trainer
    tracker.fails = True
    for epoch in range(2):
        tracker.on_validation_batch_end(a_trainer(epoch), module, output("a", 1.0, 2), None, 0)
        tracker.on_validation_epoch_end(a_trainer(epoch), module)
    assert [warning.split("training goes on. ")[1] for warning in warnings] == ["RuntimeError: no sample"]
    assert len(list((tmp_path / "notes").iterdir())) == 2
    assert (tmp_path / "summary.png").is_file()
    assert module.training


def test_figures_that_are_no_generator_break_no_run_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(gallery, "rank_zero_warn", warnings.append)
    tracker = CountingTracker(tmp_path, plot_every=1)
    tracker.figures = lambda collected: {}["none"]  # type: ignore[method-assign]  # breaks before it yields
    validate(tracker, a_trainer(), output("a", 1.0, 2))
    assert len(warnings) == 1
