"""Jobs of clusters: checked before they wait, and scripts that a shell and the cluster can read."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main

OVERRIDE = "experiment_config.run_name=two words"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def submit(*words: str) -> Result:
    return CliRunner().invoke(main, ["submit", *words])


def cluster(folder: Path, *names: str, code: int = 0) -> None:
    """Put programs of a cluster into ``folder`` that print what they are given, and end with ``code``."""
    (folder / "bin").mkdir()
    for name in names:
        program = folder / "bin" / name
        program.write_text(
            f'#!/bin/sh\necho "Submitted batch job 4711, given $@"\necho "no such partition" >&2\nexit {code}\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def without_submitit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabstar_lit.commands.submit.find_spec", lambda name: None)


def test_a_script_for_slurm_asks_for_a_process_for_each_card(folder: Path) -> None:
    words = (
        "--nodes",
        "2",
        "--gpus",
        "4",
        "--hours",
        "1.5",
        "--option",
        "partition=gpu",
        "--setup",
        "module load cuda",
    )
    result = submit("train_signal", OVERRIDE, *words)
    assert result.exit_code == 0, result.output
    script = (folder / "train_signal.sh").read_text()
    asked = {line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert asked >= {
        "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=4", "--time=01:30:00",
        "--signal=USR1@300", "--requeue", "--open-mode=append", "--partition=gpu",
    }  # fmt: skip
    *_, setup, run = script.splitlines()
    assert setup == "module load cuda"
    srun, program, *rest = shlex.split(run)
    assert (srun, Path(program).name, rest) == ("srun", "train_signal", [OVERRIDE])
    assert os.access(folder / "train_signal.sh", os.X_OK)
    assert subprocess.run(["bash", "-n", folder / "train_signal.sh"], check=False).returncode == 0


def test_a_job_of_condor_goes_on_under_its_own_name(folder: Path) -> None:
    assert submit("train_signal", OVERRIDE, "--condor", "-o", "job.sh", "--option", "+JobFlavour=long").exit_code == 0
    description = dict(line.split(" = ", 1) for line in (folder / "job.sub").read_text().splitlines() if " = " in line)
    assert description["executable"] == str(folder / "job.sh")
    assert description["arguments"] == "job-$(Cluster)-$(Process)"
    assert "138" in description["on_exit_remove"]
    assert description["+JobFlavour"] == "long"
    (folder / "shown").write_text("")
    script = (folder / "job.sh").read_text().replace("exec ", "printf '%s\\n' ")
    printed = subprocess.run(["bash", "-c", script, "job.sh", "job-1-0"], capture_output=True, text=True, check=True)
    _, *words = printed.stdout.splitlines()
    assert words == [OVERRIDE, "--resume", "auto", "experiment_config.run_name=job-1-0"]


def test_a_mistake_is_found_before_anything_is_written(folder: Path) -> None:
    result = submit("train_signal", "model_config.training_config.optimizer.optimizer_name=Adan9")
    assert result.exit_code == 2
    assert "Adan9" in result.output
    assert not any(folder.iterdir())


@pytest.mark.usefixtures("without_submitit")
def test_a_job_is_handed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(folder, "sbatch")
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    result = submit("train_signal", "--now")
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith(f"given {folder / 'train_signal.sh'}")


def test_submitit_hands_in_the_script_as_it_is_and_keeps_it_under_the_number_of_the_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(folder, "sbatch", "srun")
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    result = submit("train_signal", OVERRIDE, "--slurm", "--now")
    assert result.exit_code == 0, result.output
    kept = folder / "train_signal_jobs/4711_submission.sh"
    assert result.output.strip() == f"job 4711: {kept}"
    assert kept.read_text() == (folder / "train_signal.sh").read_text()


@pytest.mark.parametrize("names", [("sbatch",), ("sbatch", "srun")])
def test_what_a_cluster_refuses_is_said_with_its_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    cluster(folder, *names, code=1)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    if "srun" not in names:
        monkeypatch.setattr("tabstar_lit.commands.submit.find_spec", lambda name: None)
    result = submit("train_signal", "--now")
    assert result.exit_code == 2
    assert "no such partition" in result.output


def test_a_machine_without_the_cluster_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    result = submit("train_signal", "--condor", "--now")
    assert result.exit_code == 2
    assert "no condor_submit on this machine" in result.output
    assert (folder / "train_signal.sub").exists()


def test_submitit_says_that_there_is_no_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    result = submit("train_signal", "--now")
    assert result.exit_code == 2
    assert 'Could not detect "srun"' in result.output
    assert (folder / "train_signal.sh").exists()
