"""What is known of the devices of a run."""

from __future__ import annotations

import pytest
from lightning.pytorch import Trainer

from tabstar_lit.engine.hardware import hardware_of, peak_flops


@pytest.mark.parametrize(
    ("name", "precision", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989),
        ("NVIDIA H100 PCIe", "16-mixed", 756),
        ("NVIDIA A100-SXM4-40GB", "bf16-true", 312),
        ("NVIDIA A100-SXM4-40GB", "32-true", 19.5),
        ("NVIDIA A10G", "bf16-mixed", 70),
    ],
)
def test_peaks_of_known_cards(name: str, precision: str, tflops: float) -> None:
    assert peak_flops(name, precision) == tflops * 1e12


def test_what_is_not_known_is_not_guessed() -> None:
    assert peak_flops("Some Card", "bf16-mixed") is None
    assert peak_flops("NVIDIA H100 80GB HBM3", "64-true") is None


def test_the_record_of_a_processor() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    expected = {"accelerator": "cpu", "devices": 1, "nodes": 1, "world_size": 1, "precision": "32-true"}
    assert hardware_of(trainer) == expected
