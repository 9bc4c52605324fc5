"""Runs of a signal classifier: exact after a stop, repeatable, and scored by weight as someone else scores them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checks import assert_equal, assert_takes_less_than
from pydantic import TypeAdapter
from signal_bench import FLAT, JAGGED, RUN, SignalBench, logged, metrics
from sklearn.metrics import roc_auc_score

from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.errors import CheckpointError, ConfigError, RunInterrupted
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor

MakeBench = Callable[[str], SignalBench]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def assert_same_end(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "EventData", "tabstar_lit"):
        assert_equal(ours[key], theirs[key], key)


# -- stopped and resumed -----------------------------------------------------------------------------------------------

OVERSAMPLED = (
    "dataset_config.use_class_weights=false",
    "dataset_config.norm_class_weights=false",
    "dataset_config.dataset_kwargs={imbalanced_sampler: RandomResampleToTarget, "
    "imbalanced_sampler_kwargs: {sampling_strategy: {signal: 230, background: 100}}}",
)
STREAMED = ("dataset_config.cache=stream", "dataset_config.max_memory_gb=0.00001")
"""Chunks of the smallest size, a batch."""
KINDS = {
    "dropout": FLAT,
    "workers": (*FLAT, "dataset_config.dataloader_kwargs.num_workers=2"),
    "objects": JAGGED,
    "resampler": (*FLAT, *OVERSAMPLED),
    "stream": (*FLAT, *STREAMED),
    "stream, workers, resampler": (
        *FLAT,
        *STREAMED,
        *OVERSAMPLED,
        "dataset_config.dataloader_kwargs.num_workers=2",
    ),
    "disco": (*FLAT, "model_config.training_config.disco={variables: [mass], lambda: 5.0, weighted: true}"),
    "ensemble": (*FLAT, "model_config.architecture_config.ensemble={members: 3}"),
}


def test_the_parts_of_a_loss_with_disco_are_logged_and_may_be_monitored(bench: SignalBench) -> None:
    monitor = "model_config.training_config.monitor=val_correlation_mass"
    run = bench.train(*KINDS["disco"], monitor, "model_config.training_config.monitor_mode=min")
    for split in ("train", "val"):
        loss, own, correlation = (logged(run, f"{split}_{n}") for n in ("loss", "classification", "correlation_mass"))
        assert len(loss) == 2
        assert [a + 5.0 * b for a, b in zip(own, correlation, strict=True)] == pytest.approx(loss, rel=1e-5)
    assert run.stage("train")["best_score"] == pytest.approx(min(logged(run, "val_correlation_mass")))
    with pytest.raises(ConfigError, match=r"no metric is called 'val_correlation_mas'.*'val_correlation_mass'"):
        bench.train(*KINDS["disco"], "experiment_config.run_name=other", monitor.removesuffix("s"))


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_inside_an_epoch_and_resumed_equals_unbroken(make_bench: MakeBench, kind: str) -> None:
    unbroken, broken = make_bench("unbroken"), make_bench("broken")
    whole = unbroken.train(*KINDS[kind])
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(*KINDS[kind], stop_at=8)
    assert len(broken.seen) == 9
    resumed = broken.train(*KINDS[kind], resume=True)
    assert_same_end(broken.last(), unbroken.last())
    assert metrics(resumed) == metrics(whole)
    assert broken.seen == unbroken.seen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dataset_config.features=[n_jets, met, ht, m_jj, pt_jj, deta_jj, dphi_jj]", "in another order"),
        ("dataset_config.signal=background", "other signal classes"),
        ("dataset_config.split.seed=1", "other training events"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(bench: SignalBench, change: str, words: str) -> None:
    bench.train(*FLAT, "model_config.training_config.max_epochs=1")
    with pytest.raises(CheckpointError, match=words):
        bench.train(*FLAT, change, resume=True)


# -- repeated ----------------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_runs_and_other_seeds_do_not(make_bench: MakeBench) -> None:
    first, second, other = (make_bench(name) for name in ("first", "second", "other"))
    runs = first.train(*FLAT), second.train(*FLAT)
    other.train(*FLAT, "experiment_config.seed=8")
    assert_same_end(first.last(), second.last())
    assert metrics(runs[0]) == metrics(runs[1])
    assert other.seen != first.seen
    weights = [bench.last()["state_dict"] for bench in (first, other)]
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# -- scored ------------------------------------------------------------------------------------------------------------


def score_rows(content: dict[str, Any], events: EventFile, rows: Any) -> tuple[Floats, Floats, Floats]:
    """Return logits, targets and weights of events from nothing but what a checkpoint holds."""
    payload = content["tabstar_lit"]["payload"]
    preprocessor = Preprocessor.from_payload(payload["preprocessing"])
    architecture = TypeAdapter(SignalArchitecture).validate_json(json.dumps(payload["architecture_config"]))
    network = build_network(architecture, preprocessor.inputs, payload["output_dim"])
    weights = {name.removeprefix("network."): value for name, value in content["state_dict"].items()}
    network.load_state_dict(weights)
    batch = preprocessor.batch(events, rows)
    with torch.no_grad():
        logits = network.eval()(batch.features)
    return logits[:, 0].double().numpy(), batch.targets.numpy(), batch.event_weights.double().numpy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, toy_file: Path) -> tuple[SignalBench, RunDirectory]:
    """Return a run that ended well, and the folder it was trained in."""

    bench = SignalBench(tmp_path_factory.mktemp("trained"), events=toy_file)
    return bench, bench.train(*JAGGED)


def test_log_and_report_name_the_signal(trained: tuple[SignalBench, RunDirectory]) -> None:
    _, run = trained
    record = run.stage("train")
    assert record["about"].startswith("signal is signal; training events: background ")
    assert f"Stage train: {record['about']}" in (run.root / "log.txt").read_text()
    assert f"| content | {record['about']} |" in (run.root / "report.md").read_text()


def test_scores_are_weighted(trained: tuple[SignalBench, RunDirectory]) -> None:
    bench, directory = trained
    data = EventData(bench.load(*JAGGED).experiment.dataset_config, seed=7)
    logits, targets, weights = score_rows(bench.last(), EventFile.open(bench.events), data.rows("val"))
    area = roc_auc_score(targets, logits, sample_weight=weights)
    plain = roc_auc_score(targets, logits)
    assert logged(directory, "val_auroc")[-1] == pytest.approx(area, abs=1e-6)
    assert logged(directory, "val_auroc_unweighted")[-1] == pytest.approx(plain, abs=1e-6)
    assert abs(area - plain) > 0.01
    correct = (logits > 0) == targets
    assert logged(directory, "val_accuracy")[-1] == pytest.approx(np.average(correct, weights=weights), abs=1e-6)


def test_the_validation_loss_is_a_weighted_mean(trained: tuple[SignalBench, RunDirectory]) -> None:
    bench, directory = trained
    data = EventData(bench.load(*JAGGED).experiment.dataset_config, seed=7)
    logits, targets, weights = score_rows(bench.last(), EventFile.open(bench.events), data.rows("val"))
    per_event = np.logaddexp(0.0, np.where(targets == 1, -logits, logits))
    factors = weights * np.array(data.class_weights)[targets]
    assert logged(directory, "val_loss")[-1] == pytest.approx(np.average(per_event, weights=factors), rel=1e-5)


def test_a_checkpoint_is_evaluated_on_the_test_split(trained: tuple[SignalBench, RunDirectory]) -> None:
    bench, _ = trained
    checkpoint = bench.folder / "models/toys/run/run_last.ckpt"
    tested = bench.evaluate(checkpoint, *JAGGED).record()["stages"]["train"]["test"]
    data = EventData(bench.load(*JAGGED).experiment.dataset_config, seed=7)
    logits, targets, weights = score_rows(bench.last(), EventFile.open(bench.events), data.rows("test"))
    assert tested["test_auroc"] == pytest.approx(roc_auc_score(targets, logits, sample_weight=weights), abs=1e-6)
    assert set(data.rows("test")).isdisjoint({*data.rows("train"), *data.rows("val"), *data.rows("calib")})


def test_folds_test_every_event_once(toy_file: Path) -> None:
    tested = []
    for fold in range(4):
        config = EventsDataset.model_validate_json(
            json.dumps({
                "name": "toy", "files": str(toy_file), "folds": {"n": 4, "fold": fold}, "features": ["met", "ht"],
                "split": {"val": 0.1}, "dataloader_kwargs": {"batch_size": 64},
            })
        )  # fmt: skip
        data = EventData(config, seed=0)
        served = [int(row) for batch in data.test_dataloader() for row in batch.rows]
        others = [*data.rows("train"), *data.rows("val")]
        assert sorted([*served, *others]) == list(range(600))
        tested += served
    assert sorted(tested) == list(range(600))


# -- the real command --------------------------------------------------------------------------------------------------


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``train_signal`` in a folder."""
    script = "from tabstar_lit.commands.train import train_signal; train_signal(prog_name='train_signal')"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    return output


def test_the_command_is_stopped_by_a_signal_and_resumed(make_bench: MakeBench, toy_file: Path, tmp_path: Path) -> None:
    unbroken = make_bench("unbroken")
    settings = (*FLAT, "model_config.training_config.max_epochs=30")
    whole = unbroken.train(*settings)
    process = start(tmp_path, *RUN, f"dataset_config.files={toy_file}", *settings)
    lines = tmp_path / "runs/logs/toys/run/metrics.jsonl"
    while process.poll() is None and not (lines.exists() and '"epoch": 2' in lines.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert "--resume goes on" in finish(process, 128 + signal.SIGTERM)
    finish(start(tmp_path, "--resume", *RUN, f"dataset_config.files={toy_file}", *settings))
    last = torch.load(tmp_path / "runs/models/checkpoints/toys/run/run_last.ckpt", weights_only=True)
    assert_same_end(last, unbroken.last())
    resumed = RunDirectory(lines.parent, tmp_path, tmp_path, tmp_path)
    assert metrics(resumed) == metrics(whole)


def test_help_is_quick_and_print_config_can_be_read_again(tmp_path: Path) -> None:
    with assert_takes_less_than(0.8):
        printed = finish(start(tmp_path, "--help"))
    assert "toy collisions" in printed
    composed = finish(start(tmp_path, "--print-config", *FLAT, "experiment_config.seed=11"))
    (tmp_path / "training_config.yaml").write_text(composed)
    assert finish(start(tmp_path, "--print-config")) == composed
