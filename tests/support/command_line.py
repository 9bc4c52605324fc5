"""Run the real commands in a subprocess, in an empty folder, on the built-in tables with a tiny random network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    module, attribute = {
        "train_tabstar": ("tabstar_lit.commands.train", "train_tabstar"),
        "tabstar_lit": ("tabstar_lit.commands.cli", "main"),
    }[name]
    return [sys.executable, "-c", f"from {module} import {attribute}; {attribute}(prog_name={name!r})", *arguments]


def execute(folder: Path, name: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed."""
    return subprocess.run(
        command(name, *arguments), cwd=folder, capture_output=True, text=True, timeout=timeout, env=environment()
    )


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
