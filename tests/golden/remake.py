"""Make the stored loss curves anew: `make golden`, or `python tests/golden/remake.py COMMAND ...` for some commands."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from golden_curves import STAGES, difference, path_of, read, to_text, train


def remake(command: str) -> None:
    """Write the curves of a command and say which of them changed."""
    with TemporaryDirectory(prefix="golden-") as folder:
        curves = train(command, Path(folder))
    for stage, curve in curves.items():
        path = path_of(command, stage)
        changed = difference(curve, read(path.read_text())) if path.exists() else "new"
        path.write_text(to_text(command, stage, curve))
        print(f"{path.name}: {changed or 'as before'}")


if __name__ == "__main__":
    for command in sys.argv[1:] or STAGES:
        remake(command)
