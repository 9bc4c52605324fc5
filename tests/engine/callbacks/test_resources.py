from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from bench import metrics
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel
from toy import ToyModule
from toy_bench import Bench

from tabstar_lit.engine.callbacks import resources
from tabstar_lit.engine.callbacks.resources import ResourceMonitor, utilization
from tabstar_lit.engine.module import StepOutput
from tabstar_lit.engine.runs.records import read_records
from tabstar_lit.engine.tracking.jsonl import JsonlLogger


class NoisyModel(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(torch.nn.functional.dropout(batch), batch_idx)


def fit(directory: Path, *callbacks: ResourceMonitor, accumulate: int = 1) -> list[torch.Tensor]:
    seed_everything(3, verbose=False)
    directory.mkdir()
    model = NoisyModel()
    Trainer(
        max_epochs=2,
        limit_train_batches=6,
        limit_val_batches=1,
        accumulate_grad_batches=accumulate,
        logger=JsonlLogger(directory, stage="train"),
        callbacks=list(callbacks),
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=directory,
    ).fit(model)
    return [parameter.detach().clone() for parameter in model.parameters()]


def logged(directory: Path, name: str) -> list[tuple[int, int, float]]:
    records = read_records(directory / "metrics.jsonl")
    return [(record["epoch"], record["step"], record[name]) for record in records if name in record]


def test_time_and_memory_of_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(resources, "perf_counter", lambda: next(clock))
    fit(tmp_path / "run", ResourceMonitor())
    assert logged(tmp_path / "run", "epoch_seconds") == [(0, 6, 10.0), (1, 12, 10.0)]
    resident = psutil.Process().memory_info().rss / 2**20
    [*_, (_, _, rss)] = logged(tmp_path / "run", "rss_mib")
    assert math.isclose(rss, resident, rel_tol=0.2)
    assert logged(tmp_path / "run", "train_memory_mib") == []
    assert logged(tmp_path / "run", "cuda_peak_mib") == []


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 12), (2, 6)])
def test_memory_of_every_step_when_asked(tmp_path: Path, accumulate: int, steps: int) -> None:
    fit(tmp_path / "run", ResourceMonitor(train_memory=True), accumulate=accumulate)
    lines = logged(tmp_path / "run", "train_memory_mib")
    assert [step for _, step, _ in lines] == list(range(1, steps + 1))
    assert all(value > 10 for *_, value in lines)


def test_the_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    plain = fit(tmp_path / "plain")
    watched = fit(tmp_path / "watched", ResourceMonitor(train_memory=True))
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))


class SaveInTheMiddle(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == 2:
            trainer.save_checkpoint(self.path)


def test_an_epoch_resumed_in_its_middle_counts_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "limit_train_batches": 4,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
    }
    saving = SaveInTheMiddle(tmp_path / "middle.ckpt")
    Trainer(**options, max_epochs=1, logger=False, callbacks=[saving]).fit(NoisyModel())
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(resources, "perf_counter", lambda: next(clock))
    monitor = ResourceMonitor(train_memory=True)
    second = Trainer(**options, max_epochs=1, logger=JsonlLogger(tmp_path, stage="train"), callbacks=[monitor])
    second.fit(NoisyModel(), ckpt_path=tmp_path / "middle.ckpt")
    [(epoch, step, seconds)] = logged(tmp_path, "epoch_seconds")
    assert (epoch, step) == (0, 4)
    assert seconds == 10.0, "from one look at the clock, when the training goes on, to the next"
    assert [step for _, step, _ in logged(tmp_path, "train_memory_mib")] == [3, 4]


def test_every_run_measures_its_speed(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=2")
    lines = [line for line in metrics(run, timings=True) if "rows_per_s" in line]
    assert len(lines) == 2
    for line in lines:
        assert 192 / line["epoch_seconds"] <= line["rows_per_s"] < 1e6, "all rows of both sources, without validation"
        assert 0 < line["wait_share"] < 1
        assert line["rss_peak_mib"] >= line["rss_mib"] > 0
        assert "mfu" not in line, "of a processor nobody knows the peak"
    record = run.record()["hardware"]
    assert (record["accelerator"], record["devices"], record["world_size"]) == ("cpu", 1, 1)
    report = (run.root / "report.md").read_text()
    assert "| trained on | 1 x cpu, precision 32-true |" in report
    assert "rows_per_s" in report


def test_the_share_of_a_peak_is_told_where_the_peak_is_known() -> None:
    assert utilization(98.9e12, "NVIDIA H100 80GB HBM3", "bf16-mixed") == {"mfu": pytest.approx(0.1)}
    assert utilization(98.9e12, "Some Card", "bf16-mixed") == {}


def test_operations_that_are_not_known_are_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[list[Any]] = []
    known = iter([None, 3.0, None, torch.tensor(4.0)])
    compute = ToyModule.compute

    def with_flops(module: ToyModule, batch: Any) -> StepOutput:
        return replace(compute(module, batch), flops=next(known, None) if module.training else None)

    monkeypatch.setattr(ToyModule, "compute", with_flops)
    monkeypatch.setattr(ResourceMonitor, "on_train_epoch_end", lambda self, *_: summed.append(self._flops))
    bench.train("model_config.training_config.max_epochs=1")
    assert summed == [[3.0, torch.tensor(4.0)]]
