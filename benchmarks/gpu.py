"""Speed on a graphics card: ``python -m benchmarks.gpu``, or on a processor, of small sizes: ``--tiny --device cpu``.

Each part runs in a process of its own within its own time, and prints a line ``BENCH name=value`` as soon as it has
one: what fails costs nothing but itself. Nothing is fetched; files that a part needs are looked for in ``--data``, and
a part without its files says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

Figures = Iterator[tuple[str, float]]


class Options(NamedTuple):
    """What is measured, and where.

    Attributes
    ----------
    device : str
        ``cuda`` or ``cpu``.
    tiny : bool
        Small networks and few steps, to try the code.
    data : Path
        Folder of ``corpus.h5``, ``tokenizer.json`` and ``jets.h5``.
    profile : bool
        Print where the time goes, too.
    """

    device: str
    tiny: bool
    data: Path
    profile: bool

    def pick(self, full: int, tiny: int) -> int:
        """Return one of two sizes."""
        return tiny if self.tiny else full


class Part(NamedTuple):
    """A part of the benchmark: the function that yields its figures, and its seconds."""

    function: str
    seconds: int


PARTS = {
    "machine": Part("benchmarks.gpu_runs:machine", 30),
    "tabstar32": Part("benchmarks.gpu_tabstar:batches_of_32", 110),
    "tabstar128": Part("benchmarks.gpu_tabstar:batches_of_128", 80),
    "part": Part("benchmarks.gpu_events:particle_transformer", 140),
    "mlp": Part("benchmarks.gpu_events:mlp", 60),
    "official": Part("benchmarks.gpu_tabstar:official", 50),
    "plain": Part("benchmarks.gpu_events:plain_transformer", 70),
    "resume": Part("benchmarks.gpu_runs:resume", 60),
    "precision": Part("benchmarks.gpu_runs:precision", 60),
}
"""In order."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts, or one of them in this process; returns 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("benchmarks/data"))
    parser.add_argument("--here", action="store_true", help="in this process")
    parser.add_argument("--seconds", type=float, default=480.0, help="of all parts together")
    given = parser.parse_args(arguments)
    if given.here:
        options = Options(given.device, given.tiny, given.data.resolve(), given.profile)
        for name in given.parts:
            for figure, value in function_of(name)(options):
                print(f"BENCH gpu.{figure}={value:.5g}", flush=True)
        return 0
    return apart(given.parts, sys.argv[1:] if arguments is None else arguments, time.monotonic() + given.seconds)


def function_of(name: str) -> Callable[[Options], Figures]:
    """Return the function of a part."""
    module, _, function = PARTS[name].function.partition(":")
    found: Callable[[Options], Figures] = getattr(import_module(module), function)
    return found


def apart(names: list[str], arguments: list[str], end: float) -> int:
    """Run each part in a process of its own, until the time of all is over."""
    options = [argument for argument in arguments if argument not in names]
    failed = 0
    for name in names:
        left = min(PARTS[name].seconds, end - time.monotonic())
        if left < 5:
            print(f"# {name}: no time left", flush=True)
            failed += 1
            continue
        start = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.gpu", name, *options, "--here"]
        try:
            code: object = subprocess.run(command, timeout=left, check=False).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {left:.0f} s"
        failed += code != 0
        print(f"# {name}: {code}, {time.monotonic() - start:.1f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
