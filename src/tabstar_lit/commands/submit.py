"""``tabstar_lit submit``: a training as a job of a cluster, checked before it waits in a queue."""

from __future__ import annotations

import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from tabstar_lit import api
from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.train import note
from tabstar_lit.engine.options import examples
from tabstar_lit.errors import RunError
from tabstar_lit.families import family_of_command
from tabstar_lit.files import write_text

WARNING_S = 300
"""Seconds before the time limit at which a job is told to save: an optimizer step and a checkpoint fit in."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training, and what it asks a cluster for.

    Attributes
    ----------
    name : str
        Of the job.
    words : sequence of str
        The command line of the training.
    nodes, gpus, cpus, memory_gb : int
        Machines; graphics cards of each; processor cores for each process, of which every card has one; memory of each.
    hours : float
        Wall time.
    options : sequence of str
        Further lines for the cluster, ``key=value``.
    setup : sequence of str
        Lines of shell before the training.
    """

    name: str
    words: Sequence[str]
    nodes: int
    gpus: int
    cpus: int
    memory_gb: int
    hours: float
    options: Sequence[str]
    setup: Sequence[str]

    @property
    def processes(self) -> int:
        """Processes on each machine."""
        return max(self.gpus, 1)


@click.command(
    epilog=examples(
        ("tabstar_lit submit COMMAND --gpus 4 --hours 12", "the script for Slurm"),
        ("tabstar_lit submit COMMAND --gpus 4 --now", "handed in, too"),
        ("tabstar_lit submit COMMAND --condor", "for HTCondor"),
    )
)
@click.argument("command", metavar="COMMAND")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--slurm", "system", flag_value="slurm", default="slurm", help="A batch script of Slurm (the default).")
@click.option("--condor", "system", flag_value="condor", help="A submit description of HTCondor and its script.")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1), help="Machines.")
@click.option("--gpus", default=0, show_default=True, type=click.IntRange(0), help="Graphics cards of each machine.")
@click.option("--cpus", default=4, show_default=True, type=click.IntRange(1), help="Processor cores of each process.")
@click.option("--memory-gb", default=16, show_default=True, type=click.IntRange(1), help="Memory of each machine.")
@click.option("--hours", default=4.0, show_default=True, type=click.FloatRange(0.25), help="Wall time.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="A line more for the cluster, such as "
              "partition=gpu; may be repeated.")  # fmt: skip
@click.option("--setup", multiple=True, metavar="LINE", help="A line of shell before the training, such as "
              "'module load cuda'; may be repeated.")  # fmt: skip
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder with training_config.yaml and its groups.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The script [COMMAND.sh].")
@click.option("--now", is_flag=True, help="Hand the job in, too.")
def submit(
    *,
    command: str,
    overrides: tuple[str, ...],
    system: str,
    config_dir: Path | None,
    output: Path | None,
    now: bool,
    **asked: int | float | tuple[str, ...],
) -> None:
    """Write the script that runs COMMAND, a training command, on a cluster.

    The configuration is checked first. Near its time limit the job saves everything, queues itself again, and goes on
    exactly where it was.
    """
    with reported_errors():
        check(command, overrides, config_dir)
        script = (output or Path(f"{command}.sh")).absolute()
        job = Job(script.stem, command_line(command, overrides, config_dir), **asked)  # type: ignore[arg-type]  # as click reads them
        if system == "slurm":
            files, submitter = {script: slurm_script(job)}, "sbatch"
        else:
            description = script.with_suffix(".sub")
            files, submitter = (
                {script: condor_script(job), description: condor_description(job, script)},
                "condor_submit",
            )
        for path, text in files.items():
            write_text(path, text)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        *_, handed = files
        if now and system == "slurm" and find_spec("submitit") is not None:
            hand_in_by_submitit(handed)
        elif now:
            hand_in(submitter, handed)
        else:
            click.echo(f"wrote {' and '.join(map(str, files))}\nhand it in: {submitter} {handed}")


def check(command: str, overrides: Sequence[str], config_dir: Path | None) -> None:
    """Compose and validate, so that a job that cannot run waits in no queue.

    Raises
    ------
    ConfigError
        Every mistake of the configuration, as the training would say it.
    """
    from tabstar_lit.engine.preflight import check_names

    family = family_of_command(command)
    check_names(family, api.compose(family, overrides, config_dir, tell=note))


def command_line(command: str, overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Return the training command with the place of its program, which needs no activated environment."""
    program = Path(sys.executable).parent / command
    folder = [] if config_dir is None else ["--config-dir", str(config_dir.absolute())]
    return [str(program) if program.exists() else command, *folder, *overrides]


def slurm_script(job: Job) -> str:
    """Return a batch script: one process for each card, told by SIGUSR1 that the time limit is near."""
    minutes = round(job.hours * 60)
    asked = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": job.processes,
        **({"gpus-per-node": job.gpus} if job.gpus else {}),
        "cpus-per-task": job.cpus,
        "mem": f"{job.memory_gb}G",
        "time": f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        "signal": f"USR1@{WARNING_S}",
        "open-mode": "append",
        "output": "%x-%j.log",
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in asked.items()]
    lines += ["#SBATCH --requeue", *(f"#SBATCH --{option}" for option in job.options)]
    run = ["export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK", *job.setup, f"srun {shlex.join(job.words)}"]
    return "\n".join(["#!/bin/bash", *lines, "", *run]) + "\n"


def condor_script(job: Job) -> str:
    """Return the program of an HTCondor job, whose argument is the name of the run."""
    run = shlex.join([*job.words, "--resume", "auto"])
    name = 'experiment_config.run_name="$1"'
    return "\n".join(["#!/bin/bash", f"export OMP_NUM_THREADS={job.cpus}", *job.setup, f"exec {run} {name}"]) + "\n"


def condor_description(job: Job, script: Path) -> str:
    """Return a submit description: the job runs where its files are, is stopped softly, and goes on after it.

    A job that is moved to another machine, or ends by SIGUSR1 at its time limit, is put into the queue again, and
    its run has the name of before.
    """
    asked = {
        "universe": "vanilla",
        "executable": script,
        "arguments": f"{job.name}-$(Cluster)-$(Process)",
        "initialdir": Path.cwd(),
        "should_transfer_files": "NO",
        "request_cpus": job.cpus * job.processes,
        "request_memory": f"{job.memory_gb}GB",
        **({"request_gpus": job.gpus} if job.gpus else {}),
        "kill_sig": "SIGUSR1",
        "job_max_vacate_time": WARNING_S,
        "allowed_job_duration": round(job.hours * 3600),
        "on_exit_remove": "(ExitBySignal == False) && (ExitCode != 138)",
        "output": f"{job.name}-$(Cluster)-$(Process).log",
        "error": f"{job.name}-$(Cluster)-$(Process).log",
        "log": f"{job.name}.condor.log",
    }
    lines = [f"{key} = {value}" for key, value in asked.items()]
    return "\n".join([*lines, *(option.replace("=", " = ", 1) for option in job.options), "queue"]) + "\n"


def hand_in_by_submitit(script: Path) -> None:
    """Give a script to Slurm by submitit, which keeps it under the number of the job, and can say how the job is.

    Raises
    ------
    RunError
        This machine has no Slurm, or it refused the job.
    """
    from submitit.core.utils import FailedJobError
    from submitit.slurm.slurm import SlurmExecutor

    class AsWritten(SlurmExecutor):
        """Hands in the script as it is: submitit's own would catch the signals on which a run saves and goes on."""

        def _make_submission_file_text(self, command: str, uid: str) -> str:
            return Path(command).read_text(encoding="utf-8")

    folder = script.with_name(f"{script.stem}_jobs")
    folder.mkdir(exist_ok=True)
    try:
        job = AsWritten(folder)._submit_command(str(script))
    except RuntimeError as error:  # without srun
        raise RunError(f"{error} {script} is written; hand it in where the cluster is.") from error
    except FailedJobError as error:
        raise RunError(f"sbatch refused {script}: {error}") from error
    click.echo(f"job {job.job_id}: {job.paths.submission_file}")


def hand_in(submitter: str, job: Path) -> None:
    """Give a job to the cluster.

    Raises
    ------
    RunError
        This machine has no such cluster, or the cluster refused the job.
    """
    if shutil.which(submitter) is None:
        raise RunError(f"There is no {submitter} on this machine. {job} is written; hand it in where the cluster is.")
    done = subprocess.run([submitter, str(job)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{submitter} refused {job}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    click.echo(done.stdout.strip())
