"""Run commands of the package, one after the other in this process: what the golden tests start, with fixed threads.

Each argument is a command line in JSON, such as '["train_signal", "experiment_config.seed=1"]'.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lightning.pytorch.plugins.precision.double import DoublePrecision

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_fakes, train_signal, train_tabstar

COMMANDS = {command.name: command for command in (train_tabstar, train_signal, train_fakes)} | {"tabstar_lit": main}

to_double = DoublePrecision.convert_input


def fields_to_double(plugin: DoublePrecision, batch: Any) -> Any:
    """Convert a batch that is a frozen dataclass, which Lightning refuses to, field by field; others as it does."""
    if not is_dataclass(batch) or isinstance(batch, type):
        return to_double(plugin, batch)
    return replace(batch, **{field.name: to_double(plugin, getattr(batch, field.name)) for field in fields(batch)})


def run(line: Sequence[str]) -> None:
    """Run one command as its console script does."""
    sys.argv = list(line)
    COMMANDS[line[0]].main(args=list(line[1:]), prog_name=line[0], standalone_mode=False)


if __name__ == "__main__":
    DoublePrecision.convert_input = fields_to_double  # type: ignore[method-assign]  # the tables' batches are frozen
    for line in [json.loads(argument) for argument in sys.argv[1:]]:
        run(line)
