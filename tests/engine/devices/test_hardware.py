"""What is known of the devices of a run."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
import threadpoolctl
import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Trainer
from toy_bench import Bench

from tabstar_lit.engine.devices.hardware import hardware_of, peak_flops, thread_counts, what_changed

UNEQUAL = "from here on weights and metrics are not equal, bit for bit, to those of a run that was never stopped."


@pytest.mark.parametrize(
    ("name", "precision", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989),
        ("NVIDIA H100 PCIe", "16-mixed", 756),
        ("NVIDIA A100-SXM4-40GB", "bf16-true", 312),
        ("NVIDIA A100-SXM4-40GB", "32-true", 19.5),
        ("NVIDIA A10G", "bf16-mixed", 70),
        ("NVIDIA A10", "bf16-mixed", 125),
        ("NVIDIA A40", "bf16-mixed", 149.7),
        ("NVIDIA H200", "bf16-mixed", 989),
        ("NVIDIA L40S", "bf16-mixed", 362),
    ],
)
def test_peaks_of_known_cards(name: str, precision: str, tflops: float) -> None:
    assert peak_flops(name, precision) == tflops * 1e12


@pytest.mark.parametrize("matmul", ["highest", "high"])
@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("NVIDIA H100 80GB HBM3", 9),
        ("NVIDIA H100 PCIe", 9),
        ("NVIDIA L4", 8),
        ("NVIDIA GeForce RTX 4090", 8),
        ("NVIDIA GeForce RTX 3090", 8),
        ("NVIDIA A100-SXM4-40GB", 8),
        ("NVIDIA A40", 8),
        ("Tesla V100-SXM2-16GB", 7),
    ],
)
def test_peaks_in_full_precision_equal_those_that_lightning_knows(
    name: str, generation: int, matmul: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: name)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device=None: (generation, 0))
    monkeypatch.setattr("torch.get_float32_matmul_precision", lambda: matmul)
    theirs = get_available_flops(torch.device("cuda"), torch.float32)
    assert peak_flops(name, "32-true") == pytest.approx(theirs, rel=5e-3)


@pytest.mark.parametrize(
    "name",
    ["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA L4", "NVIDIA A100-SXM4-40GB", "Tesla V100-SXM2-16GB"],
)
def test_peaks_of_cards_for_computing_in_half_precision_equal_those_that_lightning_knows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: name)
    theirs = get_available_flops(torch.device("cuda"), torch.float16)
    assert peak_flops(name, "16-mixed") == pytest.approx(theirs, rel=5e-3)


def test_what_is_not_known_is_not_guessed() -> None:
    assert peak_flops("Some Card", "bf16-mixed") is None
    assert peak_flops("NVIDIA H100 80GB HBM3", "64-true") is None


def test_the_record_of_a_processor() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    expected = {"accelerator": "cpu", "devices": 1, "nodes": 1, "world_size": 1, "precision": "32-true"}
    record = hardware_of(trainer)
    assert {key: record[key] for key in expected} == expected
    assert record["torch"] == metadata.version("torch")
    assert record["threads"]["torch"] == torch.get_num_threads()
    assert set(record) == {*expected, "torch", "threads"}


def test_threads_are_those_of_torch_and_of_other_libraries() -> None:
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        counts = thread_counts()
    assert counts["openblas"] == 3
    assert counts["torch"] == torch.get_num_threads()


RECORD = {"accelerator": "cpu", "world_size": 1, "torch": "2.13.0", "threads": {"torch": 1, "openblas": 1}}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, None),
        ({"threads": {"torch": 1, "openblas": 1, "mkl": 8}}, None),  # a library that had not been loaded before
        ({"threads": None}, None),
        (
            {"threads": {"torch": 2, "openblas": 4}},
            "threads of openblas 4 (before: 1), threads of torch 2 (before: 1):",
        ),
        ({"torch": "2.14.0"}, "torch 2.14.0 (before: 2.13.0):"),
        ({"accelerator": "cuda", "name": "NVIDIA H100"}, "device cuda (before: cpu):"),
        ({"world_size": 2}, "processes 2 (before: 1):"),
    ],
)
def test_what_is_no_longer_equal_is_said_in_a_line(now: dict[str, Any], said: str | None) -> None:
    line = what_changed(RECORD, RECORD | now)
    assert line == (said and f"The run goes on with {said} {UNEQUAL}")


def test_another_card_is_another_device() -> None:
    cards = [RECORD | {"accelerator": "cuda", "name": name} for name in ("NVIDIA A100", "NVIDIA H100")]
    assert "card NVIDIA H100 (before: NVIDIA A100)" in str(what_changed(*cards))


def test_a_resumed_run_says_that_its_threads_are_others(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    threads = torch.get_num_threads()
    bench.train("model_config.training_config.max_epochs=2", resume=True)
    assert UNEQUAL not in (run.root / "log.txt").read_text()
    torch.set_num_threads(threads + 1)
    try:
        bench.train("model_config.training_config.max_epochs=3", resume=True)
    finally:
        torch.set_num_threads(threads)
    (said,) = [line for line in (run.root / "log.txt").read_text().splitlines() if UNEQUAL in line]
    assert f"threads of torch {threads + 1} (before: {threads})" in said
    assert run.record()["hardware"]["threads"]["torch"] == threads + 1


def test_a_run_of_before_threads_were_recorded_goes_on_in_silence(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    run.update(hardware={key: run.record()["hardware"][key] for key in ("accelerator", "devices", "world_size")})
    bench.train("model_config.training_config.max_epochs=2", resume=True)
    assert UNEQUAL not in (run.root / "log.txt").read_text()
