"""How long a user waits for ``train_tabstar --help``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 5
COMMAND = "from tabstar_lit.commands.train import train_tabstar; train_tabstar(['--help'])"


def help_seconds() -> float:
    """Return the wall seconds of a fresh interpreter that prints the help, imports included (median of 5)."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", COMMAND], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def figures() -> dict[str, float]:
    """Return the figures by name."""
    return {"startup.help_seconds": help_seconds()}
