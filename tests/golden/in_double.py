"""Run commands of the package, one after the other in this process: what the golden tests start, with fixed threads.

Each argument is a command line in JSON, such as '["train_signal", "experiment_config.seed=1"]'.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_command
from tabstar_lit.families import family_of_command


def run(line: Sequence[str]) -> None:
    """Run one command as its console script does."""
    sys.argv = list(line)
    command = main if line[0] == "tabstar_lit" else train_command(family_of_command(line[0]).name)
    command.main(args=list(line[1:]), prog_name=line[0], standalone_mode=False)


def draw_in_double() -> None:
    """Make every processor draw the same weights.

    Networks are built in single precision, whose kernels round a draw by the processor's instructions (with AVX-512
    otherwise than with AVX2), and a training amplifies last digits. Those of double precision agree to far more
    digits than are kept.
    """
    torch.Tensor.uniform_ = in_double(torch.Tensor.uniform_)
    torch.Tensor.normal_ = in_double(torch.Tensor.normal_)
    torch.randn = randn


def randn(*shape: Any, generator: torch.Generator | None = None, **options: Any) -> Tensor:
    """Return normal values of a shape as ``torch.randn`` does, drawn by ``normal_``."""
    return torch.empty(*shape, **options).normal_(generator=generator)


def in_double(fill: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``fill``, a method that draws the values of a tensor, drawing in double precision."""

    def filled(tensor: Tensor, *given: Any, **named: Any) -> Tensor:
        return tensor.copy_(fill(torch.empty_like(tensor, dtype=torch.float64), *given, **named))

    return filled


if __name__ == "__main__":
    draw_in_double()
    for line in [json.loads(argument) for argument in sys.argv[1:]]:
        run(line)
