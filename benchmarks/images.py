"""Draw the pictures of ``docs/images`` anew, from runs of the defaults: ``python -m benchmarks.images [NAME ...]``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave

import tabstar_lit
from tabstar_lit.arrays import Array

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
COLUMNS = 2


@dataclass(frozen=True)
class Picture:
    """A run, and the figures of it that are shown together; each is the last of its name."""

    command: str
    settings: tuple[str, ...]
    figures: tuple[str, ...]


PICTURES = {
    "tracker": Picture("train_tabstar", (), ("scores",)),
    "signal": Picture(
        "train_signal",
        ("model_config.training_config.max_epochs=3", "experiment_config.plot_metrics_n_epoch=3"),
        ("roc", "significance", "overtraining", "importance"),
    ),
}
"""Those of results come from ``make results``; that of fakes from ``tabstar_lit fakes closure``."""


def draw(name: str, picture: Picture) -> Path:
    """Train in a folder that is thrown away, and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run = tabstar_lit.train(picture.command, ["experiment_config.run_name=default", *picture.settings])
        results = Path("runs/results") / run.directory.parent.name / run.directory.name
        parts = [imread(_last(results, figure))[..., :3] for figure in picture.figures]
    path = IMAGES / f"{name}.png"
    imsave(path, _joined(parts))
    return path


def _last(results: Path, figure: str) -> Path:
    once = results / f"{figure}.png"
    return once if once.exists() else max((results / figure).glob("epoch_*.png"))


def _joined(parts: Sequence[Array]) -> Array:
    """Return pictures ``[H, W, 3]`` in rows of two, each in a field as wide as the widest."""
    columns, width = min(COLUMNS, len(parts)), max(part.shape[1] for part in parts)
    rows = [parts[start : start + columns] for start in range(0, len(parts), columns)]
    whole = []
    for row in rows:
        field = np.ones((max(part.shape[0] for part in row), columns * width, 3), dtype=np.float32)
        for column, part in enumerate(row):
            left = column * width + (width - part.shape[1]) // 2
            field[: part.shape[0], left : left + part.shape[1]] = part
        whole.append(field)
    return np.concatenate(whole)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PICTURES:
        print(f"wrote {draw(chosen, PICTURES[chosen])}", flush=True)
