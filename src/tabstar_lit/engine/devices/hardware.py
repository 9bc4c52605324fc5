"""The devices of a run: their names for the record, and what they do at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from threadpoolctl import threadpool_info

from tabstar_lit.engine.runs.provenance import versions

PEAK_TFLOPS: dict[str, tuple[float, float, float]] = {
    "H200": (989.0, 494.0, 67.0),
    "H100 NVL": (835.0, 417.0, 60.0),
    "H100 PCIe": (756.0, 378.0, 51.0),
    "H100": (989.0, 494.0, 67.0),
    "A100": (312.0, 156.0, 19.5),
    "A40": (149.7, 74.8, 37.4),
    "A10G": (70.0, 35.0, 35.0),
    "A10": (125.0, 62.5, 31.2),
    "L40S": (362.0, 183.0, 91.6),
    "L4": (121.0, 60.0, 30.3),
    "RTX 4090": (165.2, 82.6, 82.6),
    "RTX 3090": (71.0, 35.6, 35.6),
    "V100": (125.0, 15.7, 15.7),
}
"""Part of a card's name, the more special first -> dense 10^12 operations a second in half precision, TF32, float32.

From the makers' data sheets, without sparsity."""

HALF = ("bf16", "16", "transformer-engine")
"""How the names of precisions begin that multiply matrices in half precision."""


def peak_flops(name: str, precision: str) -> float | None:
    """Return the operations a second that a card called ``name`` does at most; None where it is not known.

    Parameters
    ----------
    name : str
        As ``torch.cuda.get_device_name`` gives it.
    precision : str
        Lightning's, such as ``bf16-mixed``.
    """
    peaks = next((peaks for part, peaks in PEAK_TFLOPS.items() if part in name), None)
    if peaks is None or precision.startswith("64"):
        return None
    if precision.startswith(HALF):
        return 1e12 * peaks[0]
    return 1e12 * peaks[2 if torch.get_float32_matmul_precision() == "highest" else 1]


def hardware_of(trainer: Trainer) -> dict[str, Any]:
    """Return the record of the devices a run is trained on, for ``run.json``."""
    device = trainer.strategy.root_device
    record: dict[str, Any] = {
        "accelerator": device.type,
        "devices": trainer.num_devices,
        "nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "torch": versions()["torch"],
        "threads": thread_counts(),
    }
    if device.type != "cuda":
        return record
    card = torch.cuda.get_device_properties(device)
    named = {"name": card.name, "memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return {**record, **named, "driver": _driver()}


def thread_counts() -> dict[str, int]:
    """Return how many threads sums are shared among in this process: those of torch and of libraries loaded so far."""
    pools = {str(pool["internal_api"]): int(pool["num_threads"]) for pool in threadpool_info()}
    return {**pools, "torch": torch.get_num_threads()}


def what_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in a line why a run does not go on bit for bit as it was begun; None where nothing is known to forbid it.

    Parameters
    ----------
    before, now : Mapping
        Records of :func:`hardware_of`; what one of them lacks is not compared.
    """
    named = {"torch": "torch", "accelerator": "device", "name": "card", "world_size": "processes"}
    pairs = [(word, before.get(key), now.get(key)) for key, word in named.items()]
    threads = [record.get("threads") or {} for record in (before, now)]
    pairs += [(f"threads of {pool}", threads[0].get(pool), threads[1].get(pool)) for pool in sorted(threads[0])]
    changed = [f"{word} {new} (before: {old})" for word, old, new in pairs if None not in (old, new) and old != new]
    if not changed:
        return None
    return (
        f"The run goes on with {', '.join(changed)}: from here on weights and metrics are not equal, bit for bit, to "
        "those of a run that was never stopped."
    )


def _driver() -> str | None:
    """Return the version of NVIDIA's driver; None where nobody tells."""
    try:
        import pynvml  # type: ignore[import-not-found]  # where the driver is, it mostly is
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
