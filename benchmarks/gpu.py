"""Speed on a graphics card: ``python -m benchmarks.gpu``, or on a processor, of small sizes: ``--tiny --device cpu``.

Each part runs in a process of its own within its own time, and prints a line ``BENCH name=value`` as soon as it has
one: what fails costs nothing but itself. Nothing is fetched; files that a part needs are looked for in ``--data``, and
a part without its files says so, or takes what is generated.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
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
    "machine": Part("benchmarks.gpu_runs:machine", 20),
    "official": Part("benchmarks.gpu_tabstar:official", 80),
    "tabstar32": Part("benchmarks.gpu_tabstar:batches_of_32", 55),
    "tabstar128": Part("benchmarks.gpu_tabstar:batches_of_128", 55),
    "part": Part("benchmarks.gpu_events:particle_transformer", 100),
    "mlp": Part("benchmarks.gpu_events:mlp", 45),
    "plain": Part("benchmarks.gpu_events:plain_transformer", 70),
    "resume": Part("benchmarks.gpu_runs:resume", 60),
    "windows": Part("benchmarks.gpu_tabstar:windows", 90),
    "compiled": Part("benchmarks.gpu_tabstar:compiled", 200),
    "precision": Part("benchmarks.gpu_runs:precision", 120),
}
"""In order."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts, each in a process of its own, until the time of all is over; returns 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("benchmarks/data"))
    parser.add_argument("--seconds", type=float, default=480.0, help="of all parts together")
    given = parser.parse_args(arguments)
    options = Options(given.device, given.tiny, given.data.resolve(), given.profile)
    end = time.monotonic() + given.seconds
    # Lightning asks for cards when it is imported: by NVML, which leaves CUDA to the processes of the parts.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    functions = {name: function_of(name) for name in given.parts}
    return int(sum(not apart(name, function, options, end) for name, function in functions.items()) > 0)


def function_of(name: str) -> Callable[[Options], Figures]:
    """Return the function of a part."""
    module, _, function = PARTS[name].function.partition(":")
    found: Callable[[Options], Figures] = getattr(import_module(module), function)
    return found


def apart(name: str, function: Callable[[Options], Figures], options: Options, end: float) -> bool:
    """Run a part in a process of its own, and say how it ended; returns whether it did so by itself and well."""
    start = time.monotonic()
    left = min(PARTS[name].seconds, end - start)
    if left < 5:
        print(f"# {name}: no time left", flush=True)
        return False
    process = multiprocessing.get_context("fork").Process(target=here, args=(function, options))
    process.start()
    process.join(left)
    if process.is_alive():
        process.kill()
        process.join()
        print(f"# {name}: stopped after {left:.0f} s", flush=True)
        return False
    print(f"# {name}: {process.exitcode}, {time.monotonic() - start:.1f} s", flush=True)
    return process.exitcode == 0


def here(function: Callable[[Options], Figures], options: Options) -> None:
    """Run a part in this process."""
    try:
        for figure, value in function(options):
            print(f"BENCH gpu.{figure}={value:.5g}", flush=True)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(1)  # what was loaded before the fork is not this process's to tidy up
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
