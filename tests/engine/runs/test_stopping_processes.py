"""Runs of several processes stop together, at the same step, whichever of them a signal comes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from stopping import SHORT, assert_same_state, status
from toy_bench import Bench

MakeBench = Callable[[str], Bench]
SCRIPT = Path(__file__).parents[2] / "support" / "toy_command.py"
Launch = Callable[..., subprocess.Popen[str]]
RANKS = ("experiment_config.devices=2", "experiment_config.strategy=ddp")

pytestmark = pytest.mark.timeout(1200)
"""Only ends what hangs: a busy machine takes minutes to start what it takes seconds to stop."""


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Return what starts a training in a group of processes of its own, of which none outlives the test."""
    launched: list[subprocess.Popen[str]] = []

    def start(bench: Bench, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(bench.folder), *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", "COMET_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        launched.append(process)
        return process

    yield start
    for process in launched:
        with process, suppress(ProcessLookupError):  # the first closes its pipe and waits for it
            os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate()
    return process.returncode, output


def wait_for(process: subprocess.Popen[str], moment: Callable[[], bool]) -> None:
    while not moment():
        assert process.poll() is None, ended(process)
        time.sleep(0.02)


def running_in(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    running = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process.pid)
    return running


def test_a_signal_to_one_rank_stops_all_at_the_same_step(make_bench: MakeBench, launch: Launch) -> None:
    bench, unbroken = make_bench("broken"), make_bench("unbroken")
    stop = ("model_config.architecture_config.signal_step=2", "model_config.architecture_config.signal_rank=1")
    code, output = ended(launch(bench, *SHORT, *RANKS, *stop))
    assert code == 143, output
    assert "stopped by SIGTERM; --resume goes on from toy_interrupted.ckpt, step 3 of stage train" in output
    assert output.count("stopped by") == 1, "only the first process speaks"
    assert status(bench) == ("interrupted", {"train": "interrupted"})
    again = ("model_config.architecture_config.signal_step=null", "--resume")
    assert ended(launch(bench, *SHORT, *RANKS, *again))[0] == 0
    assert ended(launch(unbroken, *SHORT, *RANKS))[0] == 0
    assert_same_state(bench, unbroken)


def test_two_processes_end_within_half_a_minute_and_leave_one_checkpoint(bench: Bench, launch: Launch) -> None:
    endless = (*RANKS, "model_config.training_config.max_epochs=10000", "model_config.training_config.save_top_k=0")
    process, run = launch(bench, *endless, "model_config.training_config.save_last=false"), bench.load_run()
    lines = run.root / "metrics.jsonl"
    wait_for(process, lambda: lines.exists() and '"step": 5' in lines.read_text())
    os.killpg(process.pid, signal.SIGTERM)
    end = time.monotonic() + 30
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 143, output
    while running_in(process.pid):
        assert time.monotonic() < end, "the second process goes on"
        time.sleep(0.02)
    assert [path.name for path in run.checkpoints.rglob("*.ckpt")] == ["toy_interrupted.ckpt"]
    assert status(bench) == ("interrupted", {"train": "interrupted"})


def test_a_signal_while_ranks_are_launched_waits_for_them(bench: Bench, launch: Launch) -> None:
    process, run = launch(bench, *SHORT, *RANKS), bench.load_run()
    wait_for(process, lambda: run.stage("train").get("status") == "running")
    os.killpg(process.pid, signal.SIGINT)
    code, output = ended(process)
    assert code == 130, output
    assert "Traceback" not in output
    assert "no checkpoint has been written yet, --resume starts stage train at its beginning" in output
    assert status(bench) == ("interrupted", {"train": "interrupted"})


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_of_a_loader_leave_a_signal_to_the_whole_group_to_the_main_process(
    bench: Bench, launch: Launch, signum: signal.Signals
) -> None:
    endless = ("dataset_config.num_workers=2", "model_config.training_config.max_epochs=10000")
    process, lines = launch(bench, *endless), bench.load_run().root / "metrics.jsonl"
    wait_for(process, lambda: lines.exists() and '"step": 5' in lines.read_text())
    os.killpg(process.pid, signum)
    code, output = ended(process)
    assert code == 128 + signum, output
    assert "Traceback" not in output
    assert "--resume goes on from toy_" in output
    assert status(bench) == ("interrupted", {"train": "interrupted"})
