"""Processes that Slurm or torchrun starts train one run together, without a key of the configuration for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from stopping import SHORT
from toy_bench import Bench, load_checkpoint

from tabstar_lit.engine.devices import launchers
from tabstar_lit.engine.devices.launchers import Launch, began_anew, launch, requeue
from tabstar_lit.engine.runs import opening
from tabstar_lit.errors import RunError, RunRefused, TabstarLitError

MakeBench = Callable[[str], Bench]
SCRIPT = Path(__file__).parents[2] / "support" / "toy_command.py"
LAUNCHERS = ("SLURM_", "TORCHELASTIC_", "LOCAL_", "MASTER_", "GROUP_", "RANK", "WORLD_SIZE", "TABSTAR_LIT_RUN_NAME")
UNNAMED = ("experiment_config.run_name=null", "experiment_config.devices=auto")
JOB = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
STEP = JOB | {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "train"}


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment as that of a login shell, and ``changes``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    return clean | {"OMP_NUM_THREADS": "1", "COMET_MODE": "disabled"} | changes


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)


def srun(bench: Bench, *words: str, **changes: str) -> list[tuple[int, str]]:
    """Start two processes as srun does, and return how each ended."""
    changes["MASTER_PORT"] = str(free_port())  # the job's number gives one that may be taken on this machine
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(bench.folder), *SHORT, *UNNAMED, *words],
            env=environment(**STEP, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), **changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=280)[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def free_port() -> int:
    """Return a port below those that the kernel gives to clients: one of them may connect to itself while it waits."""
    for port in range(20_000 + os.getpid() % 9_000, 32_000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("localhost", port))
            return port
    raise AssertionError("no port is free")


def only_run(bench: Bench) -> Path:
    (run,) = (bench.folder / "logs" / "toys").iterdir()
    return run


def last_checkpoint(bench: Bench) -> Path:
    (path,) = (bench.folder / "models" / "toys").glob("*/*_last.ckpt")
    return path


def scontrol(folder: Path) -> Path:
    """Put a ``scontrol`` into ``folder`` that writes down what it is told."""
    program = folder / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_job_that_is_stopped_for_its_time_is_queued_again_and_goes_on_exactly(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    broken, unbroken = make_bench("broken"), make_bench("unbroken")
    path = f"{scontrol(tmp_path).parent}{os.pathsep}{os.environ['PATH']}"
    stop = ("model_config.architecture_config.signal_step=2", "model_config.architecture_config.signal_rank=1")
    kind = f"model_config.architecture_config.signal_number={int(signal.SIGUSR1)}"

    ended = srun(broken, *stop, kind, PATH=path)
    assert ended[0][0] == 128 + signal.SIGUSR1, ended
    assert "job 4711 is in the queue again and goes on by itself" in ended[0][1]
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert only_run(broken).name == "toy_4711-0"

    again = srun(broken, "model_config.architecture_config.signal_step=null", SLURM_RESTART_COUNT="1")
    assert [code for code, _ in again] == [0, 0], again
    assert "this job begins anew, so the run toy_4711-0 goes on" in again[0][1]
    assert [code for code, _ in srun(unbroken)] == [0, 0]
    assert_same_weights(last_checkpoint(broken), last_checkpoint(unbroken))


def test_torchrun_needs_no_key(make_bench: MakeBench) -> None:
    bench, named = make_bench("bench"), make_bench("named")
    started = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(SCRIPT), str(bench.folder), *SHORT, *UNNAMED,
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    hardware = json.loads((only_run(bench) / "run.json").read_text())["hardware"]
    assert hardware["world_size"] == 2
    ranks = ("experiment_config.devices=2", "experiment_config.strategy=ddp")
    launched = subprocess.run(
        [sys.executable, str(SCRIPT), str(named.folder), *SHORT, *ranks],
        env=environment(), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    assert_same_weights(last_checkpoint(bench), last_checkpoint(named))


def test_a_run_that_exists_is_refused_in_both_processes_and_told_of_by_the_first(bench: Bench) -> None:
    name = "experiment_config.run_name=taken"
    bench.train(*SHORT, name)
    (code, told), (other_code, other) = srun(bench, name)
    assert (code, other_code) == (2, 2), (told, other)
    assert "exists already" in told
    assert "error" not in other


def test_a_caller_in_another_process_is_told_what_the_first_one_met(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "is_main_process", lambda: False)
    monkeypatch.setattr(opening, "gather", lambda _: ["The run is held by process 12."])
    with pytest.raises(RunRefused, match="first process of this run did not open it: The run is held by process 12"):
        bench.train()


@pytest.mark.parametrize(
    ("name", "told"), [("taken", ["exists already"]), ("new", [""])], ids=["before it is open", "later"]
)
def test_callers_in_other_processes_wait_until_the_run_is_open_and_no_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, told: list[str]
) -> None:
    bench.train(*SHORT, "experiment_config.run_name=taken")
    said: list[str] = []
    monkeypatch.setattr(opening, "gather", lambda text: said.append(text) or [text])
    with pytest.raises(TabstarLitError, match=r"exists already|typo"):
        bench.train(
            *SHORT,
            f"experiment_config.run_name={name}",
            "model_config.training_config.optimizer.optimizer_params={typo: 1}",  # is met when the network is built
        )
    assert len(said) == len(told)
    assert all(word in text for word, text in zip(told, said, strict=True))


def assert_same_weights(path: Path, other: Path) -> None:
    ours, theirs = (load_checkpoint(file)["state_dict"] for file in (path, other))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(ours[name], theirs[name])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"}, None),
        ({**JOB, "SLURM_NTASKS": "1"}, None),
        ({**JOB, "SLURM_JOB_NAME": "interactive"}, None),
        ({**JOB, "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}, Launch("Slurm", 4, 2)),
        (
            {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "3"},
            Launch("torchrun", 4, 3),
        ),
    ],
)
def test_who_started_this_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Launch | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch() == expected


def test_tasks_that_no_one_spread_over_the_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(RunError, match="Give --ntasks-per-node"):
        launch()


def test_a_job_begins_anew_where_its_launcher_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not began_anew()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not began_anew()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert began_anew()


def test_only_the_signal_of_a_time_limit_asks_for_more_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(scontrol(tmp_path).parent), prepend=os.pathsep)
    assert requeue(signal.SIGUSR1) == "", "there is no job"
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert requeue(signal.SIGTERM) == ""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert requeue(signal.SIGUSR1) == "job 10_3 is in the queue again and goes on by itself"
    assert (tmp_path / "asked").read_text() == "requeue 10_3\n"


def test_a_machine_without_scontrol_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(launchers.shutil, "which", lambda name: None)
    assert "there is no scontrol" in requeue(signal.SIGUSR1)
