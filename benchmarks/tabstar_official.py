"""The same weights in the package ``tabstar`` and here, of its v1 and its v1.1: how far apart their predictions are."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.golden import tabstar_inputs, tabstar_v1, tabstar_v11
from benchmarks.page import Section, results_table
from tabstar_lit import load
from tabstar_lit.families.tabstar.deployment.exporting import write_official
from tabstar_lit.families.tabstar.deployment.official import ENCODER_VARIABLE

TEXT = """\
Models of the package's v1 and v1.1, with weights that follow from their names, each on a small text encoder, predict
{rows} rows of words, gaps and numbers. The package has done so in an environment of its own, for v1 also from the
folder that `tabstar_lit export --tabstar` writes; `benchmarks/golden` keeps its answers and the scripts that made them.
Here the folder of the package is read, and what is written from it is read again. What is compared are class
probabilities, from the cells on, and z-scores of v1.1.
"""


@contextmanager
def encoder_in(folder: Path) -> Iterator[None]:
    """Have the text encoder taken from a folder."""
    os.environ[ENCODER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[ENCODER_VARIABLE]


def _largest(model: Any, frame: Any, told: Any, **about: Any) -> float:
    """Return the largest difference between what a model predicts and what is stored."""
    seen = model.predict(frame, target="answer", **about)
    own = seen.drop(columns="prediction") if "classes" in about else seen["prediction"]
    return float(np.abs(own.to_numpy() - np.array(told)).max())


def difference(folder: Path) -> float:
    """Return the largest difference of v1, both ways."""
    told = tabstar_v1.answers()["model"]
    frame, _ = tabstar_inputs.rows(tabstar_v1.ROWS, seed=0)
    with encoder_in(tabstar_v1.write_published(told, folder / "published")):
        ours = load(folder / "published")
    write_official(ours, folder / "exported")  # type: ignore[arg-type]  # of this family
    pairs = ((ours, "probabilities"), (load(folder / "exported"), "exported_probabilities"))
    return max(_largest(model, frame, told[key], classes=tabstar_inputs.CLASSES) for model, key in pairs)


def newer_difference(folder: Path) -> float:
    """Return the largest difference of v1.1, of probabilities and z-scores."""
    told = json.loads(tabstar_v11.STORED.read_text(encoding="utf-8"))
    frame, _, _ = tabstar_v11.rows()
    with encoder_in(tabstar_v11.write_folder(told, folder / "newer")):
        ours = load(folder / "newer")
    classes = _largest(ours, frame, told["probabilities"], classes=tabstar_v11.CLASSES)
    return max(classes, _largest(ours, frame, told["z_scores"], task="regression"))


def official() -> Section:
    """Compare both ways."""
    with tempfile.TemporaryDirectory() as name:
        older, newer = difference(Path(name)), newer_difference(Path(name))
    results = {
        "tabstar.official_max_abs_difference": older,
        "tabstar.official_v11_max_abs_difference": newer,
    }
    lines = [TEXT.format(rows=tabstar_v1.ROWS), f"Largest differences: {older:.1e}, and {newer:.1e} of v1.1.", ""]
    return Section("The package `tabstar` with the same weights", [*lines, *results_table(results)], results)
