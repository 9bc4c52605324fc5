"""The benchmark on a card runs on a processor, too, each part by itself, and its figures go into the page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import gpu, gpu_page

LOG = """\
# on NVIDIA H100 80GB HBM3, 16 host cores
# on torch 2.11.0
BENCH gpu.part_jets_per_s=21234
BENCH gpu.part_vs_weaver=2.351
# part: 0, 50.1 s
"""


def test_small_networks_are_measured_in_processes_of_their_own(repository: Path) -> None:
    # A process of its own: a fork of this one, whose threads have worked before, may wait for ever.
    parts = ["-m", "benchmarks.gpu", "--tiny", "--device", "cpu", "--data", "nowhere", "machine", "mlp", "windows"]
    done = subprocess.run([sys.executable, *parts], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    figures = dict(line.removeprefix("BENCH gpu.").split("=") for line in printed.splitlines() if "BENCH" in line)
    expected = {"peak_tflops_bf16", "mlp_engine_vs_plain_b64", "mlp_plain_events_per_s_b256"}
    assert expected | {"tabstar_window_vs_accumulated_b8"} <= figures.keys()
    assert all(float(value) > 0 for value in figures.values())


def test_a_part_that_fails_costs_nothing_but_itself(capfd: pytest.CaptureFixture[str]) -> None:
    def failing(options: gpu.Options) -> Iterator[tuple[str, float]]:
        yield "first", 1.0
        raise RuntimeError("no such card")

    options = gpu.Options("cpu", True, Path(), False)
    assert not gpu.apart("machine", failing, options, end=float("inf"))
    printed = capfd.readouterr()
    assert "BENCH gpu.first=1" in printed.out
    assert "no such card" in printed.err


def test_every_part_has_its_function() -> None:
    assert all(callable(gpu.function_of(name)) for name in gpu.PARTS)


def test_figures_go_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{gpu_page.BEGIN}\nold\n{gpu_page.END}\nafter\n")
    gpu_page.write(page, LOG)
    text = page.read_text()
    assert "NVIDIA H100 80GB HBM3, 16 host cores; torch 2.11.0." in text
    assert "| `gpu.part_jets_per_s` | 21,234 | 20,000 |" in text
    assert "| `gpu.part_vs_weaver` | 2.35 | 1.8 |" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="lacks the lines"):
        gpu_page.write(page, LOG)
