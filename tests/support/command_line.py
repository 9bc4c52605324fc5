"""Run the real commands in processes of their own, in an empty folder, on the built-in tables with a tiny network."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

ENTRY_POINTS = {
    "train_tabstar": ("tabstar_lit.commands.train", "train_tabstar"),
    "tabstar_lit": ("tabstar_lit.commands.cli", "main"),
}
PRELOADED = ("lightning.pytorch", "mlflow", "tabstar_lit.engine.run", "tabstar_lit.families.tabstar.tracker")
"""Imported once, by the process whose copies run the commands of :func:`fork`."""

TINY = (
    "model_config=tabstar/tiny",
    "dataset_config.tables=[iris, diabetes]",
    "dataset_config.rows_per_dataset=48",
    "experiment_config.experiment_name=tiny",
    "experiment_config.run_name=run",
    "experiment_config.seed=3",
    "experiment_config.plot_metrics_n_epoch=null",
    "experiment_config.log_every_n_steps=2",
)
"""Overrides that make the default training of ``train_tabstar`` a matter of seconds."""


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of a console script, by its entry point in this environment."""
    module, attribute = ENTRY_POINTS[name]
    return [sys.executable, "-c", f"from {module} import {attribute}; {attribute}(prog_name={name!r})", *arguments]


def execute(folder: Path, name: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed."""
    return subprocess.run(
        command(name, *arguments), cwd=folder, capture_output=True, text=True, timeout=timeout, env=environment()
    )


def fork(folder: Path, name: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Do the same in a copy of a process that has imported everything, which takes seconds less."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, ENTRY_POINTS[name][0]])
    with TemporaryDirectory() as beside:
        outputs = tuple(Path(beside, stream) for stream in ("stdout", "stderr"))
        process = context.Process(target=_forked, args=(folder, name, arguments, dict(os.environ), outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([name, *arguments], timeout)
        return subprocess.CompletedProcess(
            [name, *arguments], process.exitcode, *(path.read_text(encoding="utf-8") for path in outputs)
        )


def _forked(
    folder: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str], outputs: Sequence[Path]
) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    module, attribute = ENTRY_POINTS[name]
    getattr(import_module(module), attribute)(list(arguments), prog_name=name)


def start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a command without waiting for it."""
    return subprocess.Popen(
        command(name, *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """Return this environment with one thread, so that runs can be compared bit for bit."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
