"""Runs in TensorBoard and Weights & Biases, read back from the files that those leave."""

from __future__ import annotations

import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_loggers import CANARY, everything_below, experiment
from toy_bench import Bench
from wandb.proto.wandb_internal_pb2 import Record

from tabstar_lit.engine.runs.records import read_records
from tabstar_lit.engine.tracking import services
from tabstar_lit.engine.tracking.loggers import check_tracker
from tabstar_lit.engine.tracking.services import ServiceLogger, missing_package, tensorboard_logger
from tabstar_lit.errors import RunInterrupted

FIGURES = "experiment_config.plot_metrics_n_epoch=1"


def losses_in(record: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["val_loss"]) for line in read_records(record / "metrics.jsonl") if "val_loss" in line]


def test_tensorboard_has_curves_and_figures_and_no_repeat_after_a_resume(bench: Bench) -> None:
    tracked = ("experiment_config.tracker=tensorboard", FIGURES)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*tracked, "model_config.architecture_config.signal_step=30")
    run = bench.train(*tracked, resume=True)
    events = EventAccumulator(str(run.root / "tensorboard" / "train"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    logged = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert logged == [(step, pytest.approx(value, rel=1e-6)) for step, value in losses_in(run.root)]
    assert [step for step, _ in logged] == [24, 48, 72]
    assert {image.step for image in events.Images("figures/scatter_left")} == {24, 48, 72}
    parameters = (run.root / "tensorboard" / "train" / "hparams.yaml").read_text()
    assert "model_config.name: toy" in parameters
    assert "run.data_fingerprint: toy-96" in parameters


def test_what_a_stopped_run_had_logged_at_the_step_it_goes_on_from_stays(tmp_path: Path) -> None:
    for values, resume_step in (({3: 0.3, 4: 0.4, 5: 0.5, 6: 0.6}, None), ({5: 5.5}, 4)):
        logger = tensorboard_logger(tmp_path, "train", resume_step)
        for step, value in values.items():
            logger.log_metrics({"loss": value}, step)
        logger.finish("finished")
    events = EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    logged = [(event.step, round(event.value, 3)) for event in events.Scalars("loss")]
    assert logged == [(3, 0.3), (4, 0.4), (5, 5.5)]


def test_processes_beside_the_first_hand_nothing_to_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    logger = ServiceLogger("X", MagicMock(), show=lambda *figure: asked.append(figure), end=asked.append)
    figure = tmp_path / "epoch_0001.png"
    figure.touch()
    for rank, expected in ((1, []), (0, [(figure, "figures/roc", 7), "finished"])):
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        logger.start()
        logger.log_metrics({"loss": 1.0}, 7)
        logger.log_hyperparams({"lr": 1.0})
        logger.log_figure(figure, "roc/epoch_0001.png")
        logger.finalize("success")
        logger.finish("finished")
        assert asked == expected
        assert bool(logger.logger.method_calls) == (rank == 0)


def test_wandb_heeds_its_variable_in_each_run_of_a_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    for mode, archives in (("disabled", 0), ("offline", 1), ("disabled", 1)):
        monkeypatch.setenv("WANDB_MODE", mode)
        run = bench.train("experiment_config.tracker=wandb", f"experiment_config.run_name={mode}_{archives}")
        assert len(list(run.root.parent.glob("*/wandb/offline-run-*"))) == archives
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("Otel")]  # what it reports by


def test_wandb_offline_has_curves_and_figures_and_collects_nothing_by_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = bench.train("experiment_config.tracker=wandb", f"experiment_config.comet_api_key={CANARY}", FIGURES)
    (archive,) = run.root.glob("wandb/offline-run-*/*.wandb")
    assert archive.stem == f"run-{run.stage('train')['mlflow_run_id']}"
    history = list(wandb_history(archive))
    logged = [(int(row["trainer/global_step"]), float(row["val_loss"])) for row in history if "val_loss" in row]
    assert logged == losses_in(run.root)
    assert sum("figures/scatter_left" in name for row in history for name in row) >= 3
    assert CANARY.encode() not in everything_below(run.root / "wandb")
    assert not list(archive.parent.rglob("wandb-metadata.json"))


def wandb_history(archive: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of an archive: records in LevelDB's log format, whose parts never cross a block of 32 KiB."""
    data, position, record = archive.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (rest := 32768 - position % 32768) < 7:
            position += rest
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            found, record = Record.FromString(record), b""
            yield {item.key or ".".join(item.nested_key): item.value_json for item in found.history.item}


@pytest.mark.parametrize(("tracker", "remedy"), [("tensorboard", "tabstar_lit[tensorboard]"), ("comet", "comet-ml")])
def test_a_service_whose_package_is_missing_says_what_to_install(
    tracker: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_package(tracker) is None
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    (problem,) = check_tracker(experiment(tracker=tracker, comet_api_key=CANARY))
    assert remedy in problem.message
    assert missing_package("mlflow") is None


@pytest.mark.parametrize(
    ("mode", "key", "refused"), [("online", "", True), ("online", "k", False), ("offline", "", False)]
)
def test_wandb_without_a_key_is_refused_unless_it_stays_here(
    mode: str, key: str, refused: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    problems = list(check_tracker(experiment(tracker="wandb")))
    assert bool(problems) == refused
    assert all("wandb login" in problem.message for problem in problems)


def test_a_service_that_fails_is_reported_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = tensorboard_logger(tmp_path, "train", None)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logger.logger, "log_metrics", full)
    with pytest.warns(UserWarning, match=r"TensorBoard failed, training goes on.*metrics\.jsonl.*No space"):
        logger.log_metrics({"loss": 1.0}, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_metrics({"loss": 1.0}, 2)
    logger.finish("finished")
