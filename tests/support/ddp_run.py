"""Train the toy family in as many processes as asked; a script, because the launcher runs it again for each rank."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from toy_bench import Bench


def launch(bench: Bench, *overrides: str) -> None:
    """Train in processes of their own, as many as the overrides ask for."""
    done = subprocess.run(
        [sys.executable, __file__, str(bench.folder), *overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COMET_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def main(folder: Path, overrides: list[str]) -> None:
    bench = Bench(folder)
    bench.train("model_config.architecture_config.dropout=0", *overrides)
    (folder / f"seen-{rank_zero_only.rank}.json").write_text(json.dumps(bench.module.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
