"""The training command on toys as a process of its own; a script, because the launcher runs it again for each rank."""

from __future__ import annotations

import sys
from pathlib import Path

from toy_bench import Bench

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.train import train_one


def main(folder: Path, words: list[str]) -> None:
    bench = Bench(folder)
    resume = "latest" if "--resume" in words else None
    overrides = (*bench.places, *(word for word in words if word != "--resume"))
    with reported_errors():
        train_one(bench.family, overrides, folder, resume=resume)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
