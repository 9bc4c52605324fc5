"""Which epochs are the best k, by scores that tie, worsen or are missing, and what a failed write leaves of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.config.schema import TrainingConfig
from tabstar_lit.engine.callbacks import checkpoints as module_under_test
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.errors import ConfigError, SaveError

NETWORK = MagicMock()


class Run:
    """Epochs with given scores, and files that can fail to be written."""

    def __init__(self, folder: Path, **training: Any) -> None:
        self.folder, self.full = folder, False
        self.entries: list[dict[str, Any]] = []
        self.checkpoints = Checkpoints(folder, "run", TrainingConfig(**training), self.entries.append)
        self.trainer: Any = SimpleNamespace(
            loggers=[],
            current_epoch=-1, global_step=0, max_epochs=99, sanity_checking=False, is_last_batch=True,
            is_global_zero=True, should_stop=False, max_steps=-1, world_size=1, save_checkpoint=self.save,
            callback_metrics={}, fit_loop=SimpleNamespace(restarting=True),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        if self.full:
            raise SaveError("No space left on device")
        path.write_text(f"step {self.trainer.global_step}")

    def epoch(self, score: float | None) -> None:
        self.trainer.current_epoch += 1
        self.trainer.global_step += 10
        self.trainer.callback_metrics = {} if score is None else {"val_loss": score}
        if score is not None:
            self.checkpoints.on_validation_end(self.trainer, NETWORK)
        self.checkpoints.on_train_epoch_end(self.trainer, NETWORK)

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    @property
    def epochs(self) -> list[int]:
        return [best.epoch for best in self.checkpoints.best]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=9),
    st.sampled_from([-1, 1, 2, 3]),
    st.sampled_from(["min", "max"]),
)
def test_the_best_k_are_those_of_a_stable_sort(scores: list[int], k: int, mode: str) -> None:
    ranking = Checkpoints(Path(), "run", TrainingConfig(save_top_k=k, monitor_mode=mode), lambda _: None)
    for epoch, score in enumerate(scores):
        ranking._enter_ranking(
            SimpleNamespace(current_epoch=epoch, global_step=0, callback_metrics={"val_loss": score})
        )
    order = sorted(range(len(scores)), key=lambda epoch: (scores[epoch] if mode == "min" else -scores[epoch], epoch))
    assert [best.epoch for best in ranking.best] == (order if k < 0 else order[:k])


def test_only_the_files_of_the_best_stay(tmp_path: Path) -> None:
    run = Run(tmp_path, save_top_k=2)
    for score in (3.0, 1.0, 2.0, 5.0):
        run.epoch(score)
    assert run.files == {"run_epoch=1_val_loss=1.0000.ckpt", "run_epoch=2_val_loss=2.0000.ckpt", "run_last.ckpt"}
    assert run.checkpoints.best_path == tmp_path / "run_epoch=1_val_loss=1.0000.ckpt"
    assert (tmp_path / "run_last.ckpt").read_text() == "step 40"
    assert [entry["kind"] for entry in run.entries] == ["top", "last"] * 3 + ["last"]
    assert {key: run.entries[-1][key] for key in ("epoch", "step", "monitor", "score", "path")} == {
        "epoch": 3, "step": 40, "monitor": "val_loss", "score": 5.0, "path": "run_last.ckpt",
    }  # fmt: skip


def test_loggers_are_told_of_files_and_not_of_failed_writes(tmp_path: Path) -> None:
    run, logger = Run(tmp_path), MagicMock()
    run.trainer.loggers = [logger]
    run.epoch(2.0)
    logger.after_save_checkpoint.assert_called_once_with(run.checkpoints)
    run.full = True
    run.epoch(1.0)
    logger.after_save_checkpoint.assert_called_once()


def test_a_failed_write_does_not_cost_the_best_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(module_under_test, "rank_zero_warn", warnings.append)
    run = Run(tmp_path, save_top_k=1, save_last=False)
    run.epoch(2.0)
    run.full = True
    run.epoch(1.0)
    assert run.epochs == [0]
    run.full = False
    run.epoch(3.0)
    assert (run.epochs, run.files) == ([0], {"run_epoch=0_val_loss=2.0000.ckpt"})
    run.epoch(1.5)
    assert (run.epochs, run.files) == ([3], {"run_epoch=3_val_loss=1.5000.ckpt"})
    assert warnings == ["A checkpoint could not be written; training goes on. No space left on device"]


@pytest.mark.parametrize("ending", [{"should_stop": True}, {"max_epochs": 2}])
def test_a_failed_write_at_the_end_of_the_training_is_an_error(tmp_path: Path, ending: dict[str, Any]) -> None:
    run = Run(tmp_path)
    run.epoch(2.0)
    run.full = True
    vars(run.trainer).update(ending)
    with pytest.raises(SaveError, match="No space left"):
        run.epoch(1.0)


def test_nan_is_never_the_best_and_an_epoch_without_validation_has_no_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(module_under_test, "rank_zero_warn", warnings.append)
    run = Run(tmp_path, save_top_k=-1)
    for score in (float("nan"), 1.0, None, float("inf"), -float("inf")):
        run.epoch(score)
    assert run.epochs == [4, 1, 3]
    assert warnings == ["val_loss is NaN in epoch 0: not a candidate for the best."]


def test_a_metric_that_did_not_come_names_those_that_did(tmp_path: Path) -> None:
    run = Run(tmp_path, monitor="val_auc")
    with pytest.raises(ConfigError, match=r"'val_auc' was not computed in epoch 0\. Computed: val_loss\. Set"):
        run.epoch(1.0)


@pytest.mark.parametrize("training", [{}, {"save_top_k": 0, "early_stop_patience": 2}])
def test_an_epoch_without_metrics_has_no_rank_and_one_that_lacks_the_metric_is_an_error(
    tmp_path: Path, training: dict[str, Any]
) -> None:
    run = Run(tmp_path, monitor="val_auc", **training)
    run.checkpoints.metrics_every = 3
    run.epoch(1.0)
    run.epoch(1.0)
    assert (run.epochs, run.files) == ([], {"run_last.ckpt"})
    with pytest.raises(ConfigError, match=r"'val_auc' was not computed in epoch 2"):
        run.epoch(1.0)


def test_a_loss_is_there_in_every_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path, monitor="val_loss/a")
    run.checkpoints.metrics_every = 3
    with pytest.raises(ConfigError, match=r"'val_loss/a' was not computed in epoch 0"):
        run.epoch(1.0)


def test_a_slash_in_the_metric_makes_no_folder(tmp_path: Path) -> None:
    run = Run(tmp_path, monitor="val_auc/a b", monitor_mode="max")
    run.trainer.callback_metrics = {"val_auc/a b": 0.5}
    entry = run.checkpoints._enter_ranking(run.trainer)
    assert entry is not None
    assert entry.name == "run_epoch=-1_val_auc-a-b=0.5000.ckpt"


@pytest.mark.parametrize(("k", "last", "best"), [(0, True, "run_last.ckpt"), (0, False, None)])
def test_without_a_ranking_the_last_is_the_best(tmp_path: Path, k: int, last: bool, best: str | None) -> None:
    run = Run(tmp_path, save_top_k=k, save_last=last)
    run.epoch(1.0)
    assert run.checkpoints.best_path == (None if best is None else tmp_path / best)


def test_where_files_cannot_have_two_names_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    run = Run(tmp_path)
    run.epoch(2.0)
    run.epoch(1.0)
    top, last = tmp_path / "run_epoch=1_val_loss=1.0000.ckpt", tmp_path / "run_last.ckpt"
    assert run.files == {top.name, last.name}
    assert top.read_text() == last.read_text() == "step 20"
    assert top.stat().st_ino != last.stat().st_ino


def test_snapshots_inside_an_epoch_come_once_a_step_and_not_at_its_last_batch(tmp_path: Path) -> None:
    run = Run(tmp_path, save_every_n_steps=4, save_top_k=0, save_last=False)
    run.trainer.current_epoch = 0
    for step, last in ((0, False), (3, False), (4, False), (4, False), (8, True)):
        run.trainer.global_step, run.trainer.is_last_batch = step, last
        run.checkpoints.on_train_batch_end(run.trainer, NETWORK, None, None, 0)
    assert [entry["path"] for entry in run.entries] == ["run_step=4.ckpt"]
    run.checkpoints.on_train_epoch_end(run.trainer, NETWORK)
    assert run.entries[-1]["path"] == "run_epoch=0.ckpt"


def test_the_ranking_survives_a_resume(tmp_path: Path) -> None:
    run = Run(tmp_path, save_top_k=2)
    run.epoch(3.0)
    run.epoch(2.0)
    again = Run(tmp_path, save_top_k=2)
    again.checkpoints.load_state_dict(run.checkpoints.state_dict())
    again.trainer.current_epoch, again.trainer.global_step = 1, 20
    again.epoch(2.5)
    assert again.epochs == [1, 2]
    assert "run_epoch=0_val_loss=3.0000.ckpt" not in again.files


def test_what_is_written_within_the_first_epoch_after_a_resume_lies_within_an_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoints.load_state_dict(run.checkpoints.state_dict() | {"between_epochs": True})
    run.checkpoints.on_train_start(run.trainer, NETWORK)
    assert not run.trainer.fit_loop.restarting, "the next epoch begins plainly"
    assert not run.checkpoints.state_dict()["between_epochs"]
