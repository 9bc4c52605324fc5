"""Run commands of the package, one after the other in this process: what the golden tests start, with fixed threads.

Each argument is a command line in JSON, such as '["train_signal", "experiment_config.seed=1"]'.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_command
from tabstar_lit.families import family_of_command


def run(line: Sequence[str]) -> None:
    """Run one command as its console script does."""
    sys.argv = list(line)
    command = main if line[0] == "tabstar_lit" else train_command(family_of_command(line[0]).name)
    command.main(args=list(line[1:]), prog_name=line[0], standalone_mode=False)


if __name__ == "__main__":
    for line in [json.loads(argument) for argument in sys.argv[1:]]:
        run(line)
