"""Train on the toy events in as many processes as asked; a script, because the launcher runs it again for each rank."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from signal_bench import SignalBench


def main(folder: Path, events: Path, overrides: list[str]) -> None:
    bench = SignalBench(folder, events=events)
    bench.train(*overrides)
    (folder / f"seen-{rank_zero_only.rank}.json").write_text(json.dumps(bench.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
