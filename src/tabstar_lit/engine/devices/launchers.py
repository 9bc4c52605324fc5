"""Who started the processes of a run, where it was not the run itself: Slurm's ``srun``, or ``torchrun``.

Both say in the environment how many processes there are, and how often the work began anew.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass

from tabstar_lit.engine.devices.distributed import has_met
from tabstar_lit.errors import RunError

TORCHRUN, SLURM = "torchrun", "Slurm"


@dataclass(frozen=True, slots=True)
class Launch:
    """The processes that a launcher started for this run.

    Attributes
    ----------
    by : str
        The launcher.
    processes : int
        On each node, which is one for each device.
    nodes : int
        Machines.
    """

    by: str
    processes: int
    nodes: int


def launch() -> Launch | None:
    """Return what started this process together with others; None where it stands alone.

    Raises
    ------
    RunError
        The processes are not spread evenly over the nodes.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Launch(TORCHRUN, int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"]))
    if slurm_step() is None or os.environ.get("SLURM_NTASKS", "1") == "1":
        return None
    tasks = int(os.environ["SLURM_NTASKS"])
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_NNODES", "1"))
    if "SLURM_NTASKS_PER_NODE" not in os.environ or tasks % nodes:
        raise RunError(
            f"Slurm started {tasks} processes on {nodes} node(s), and it is not said how many each node has. Give "
            "--ntasks-per-node instead of --ntasks, one for each device of a node."
        )
    return Launch(SLURM, tasks // nodes, nodes)


def slurm_step() -> str | None:
    """Return job and step of what ``srun`` started, which its processes have in common, also when it begins anew."""
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return None if job is None or step is None or interactive else f"{job}-{step}"


def job_name() -> str | None:
    """Return what the launcher calls this work, also when it begins anew; None where it has no name for it."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return slurm_step() if name == "none" else name


def meet(accelerator: str) -> None:
    """Let the processes that a launcher started find each other, before any of them writes a file.

    Parameters
    ----------
    accelerator : str
        As ``experiment_config.accelerator``: on a graphics card they talk over NCCL, else over Gloo.
    """
    launched = launch()
    if launched is None or has_met():
        return
    import torch
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    place = TorchElasticEnvironment() if launched.by == TORCHRUN else SLURMEnvironment()
    on_cards = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    if on_cards:
        torch.cuda.set_device(place.local_rank())
    torch.distributed.init_process_group(
        "nccl" if on_cards else "gloo",  # one of both by name: Lightning asks for it
        init_method="env://" if launched.by == TORCHRUN else f"tcp://{place.main_address}:{place.main_port}",
        rank=place.global_rank(),
        world_size=place.world_size(),
    )
    atexit.register(_part)


def _part() -> None:
    import torch.distributed as dist

    if has_met():
        dist.destroy_process_group()


def began_anew() -> bool:
    """Say whether the launcher started this work before, and it was stopped or lost then."""
    counts = (os.environ.get(name, "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return any(count != "0" for count in counts)


def requeue(signum: int) -> str:
    """Ask Slurm to run this job once more where SIGUSR1 ended it, which says that the time limit is near.

    Returns
    -------
    str
        What came of it, for the user; empty where there is nothing to ask.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if signum != signal.SIGUSR1 or job is None or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return ""
    job = _array_task() or job
    scontrol = shutil.which("scontrol")
    if scontrol is None:
        return f"job {job} was not queued again: there is no scontrol on this machine"
    done = subprocess.run([scontrol, "requeue", job], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"job {job} was not queued again: {done.stderr.strip() or f'scontrol ended with {done.returncode}'}"
    return f"job {job} is in the queue again and goes on by itself"


def _array_task() -> str | None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return None if array is None or task is None else f"{array}_{task}"
