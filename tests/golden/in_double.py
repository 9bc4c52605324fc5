"""Run commands of the package, one after the other in this process: what the golden tests start, with fixed threads.

Each argument is a command line in JSON, such as '["train_signal", "experiment_config.seed=1"]'.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_fakes, train_signal, train_tabstar

COMMANDS = {command.name: command for command in (train_tabstar, train_signal, train_fakes)} | {"tabstar_lit": main}


def run(line: Sequence[str]) -> None:
    """Run one command as its console script does."""
    sys.argv = list(line)
    COMMANDS[line[0]].main(args=list(line[1:]), prog_name=line[0], standalone_mode=False)


if __name__ == "__main__":
    for line in [json.loads(argument) for argument in sys.argv[1:]]:
        run(line)
