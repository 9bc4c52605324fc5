"""Train the toy family in as many processes as asked; a script, because the launcher runs it again for each rank."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from toy_bench import Bench


def main(folder: Path, overrides: list[str]) -> None:
    bench = Bench(folder)
    bench.train("model_config.architecture_config.dropout=0", *overrides)
    (folder / f"seen-{rank_zero_only.rank}.json").write_text(json.dumps(bench.module.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
