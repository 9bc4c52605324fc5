"""Who started the processes of a run, where it was not the run itself: Slurm's ``srun``, or ``torchrun``.

Both say in the environment how many processes there are, and how often the work began anew.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tabstar_lit.engine.distributed import is_main_process
from tabstar_lit.errors import RunError

log = logging.getLogger(__name__)

NAME_KEY = "tabstar_lit/run_name"
PATIENCE = timedelta(minutes=10)
"""How long the processes that ``torchrun`` started wait for the first one to name the run."""


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
        return Launch("torchrun", int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"]))
    if slurm_step() is None:
        return None
    tasks = int(os.environ["SLURM_NTASKS"])
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_NNODES", "1"))
    if "SLURM_NTASKS_PER_NODE" not in os.environ or tasks % nodes:
        raise RunError(
            f"Slurm started {tasks} processes on {nodes} node(s), and it is not said how many each node has. Give "
            "--ntasks-per-node instead of --ntasks, one for each device of a node."
        )
    return Launch("Slurm", tasks // nodes, nodes)


def slurm_step() -> str | None:
    """Return job and step, which the processes that ``srun`` started have in common; None for a process alone."""
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    alone = os.environ.get("SLURM_NTASKS", "1") == "1" or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return None if job is None or step is None or alone else f"{job}-{step}"


def began_anew() -> bool:
    """Say whether the launcher started this work before, and it was stopped or lost then."""
    counts = (os.environ.get(name, "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return any(count != "0" for count in counts)


def told_name(name: Callable[[], str]) -> str | None:
    """Return what the first of the processes that ``torchrun`` started calls the run; None without ``torchrun``.

    The launcher keeps a store for its processes, which outlives them: where they begin anew the name is still there.

    Parameters
    ----------
    name : callable
        Makes the name; called in the first process only.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    from torch.distributed import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=PATIENCE)
    if is_main_process() and not store.check([NAME_KEY]):
        store.set(NAME_KEY, name())
    told: bytes = store.get(NAME_KEY)
    return told.decode()


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
