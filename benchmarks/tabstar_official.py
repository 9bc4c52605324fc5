"""The same weights in the package ``tabstar`` and here, of its v1 and its v1.1: how far apart their predictions are."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.golden import tabstar_v11
from benchmarks.page import Section, results_table
from tabstar_lit import load
from tabstar_lit.arrays import Float64
from tabstar_lit.families.tabstar.deployment.exporting import write_official
from tabstar_lit.families.tabstar.deployment.official import ENCODER_VARIABLE
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder, save_encoder

CLASSES = ("no", "perhaps", "yes")
ROWS = 200
SCALE = 10.0
"""Factor on random weights: differences between strings must reach the output."""

TEXT = """\
A model of the package's v1, with random weights on a text encoder of its width, predicts {rows} rows of words, gaps and
numbers: in the package, and here from the folder that the package writes; then here, and in the package from the folder
that `tabstar_lit export --tabstar` writes. What is compared are class probabilities, from the cells on. Of v1.1,
probabilities and z-scores are compared with those that the package has once made and `benchmarks/golden` keeps.
"""


def write_encoder(folder: Path) -> Path:
    """Write a small text encoder of the package's width, with its tokenizer."""
    torch.manual_seed(0)
    sizes = RandomEncoder(hidden_size=384, layers=2, heads=12, ffn_hidden=96)
    encoder = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=0, random=sizes))
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.ndim == 2:
                weight.mul_(SCALE)
    save_encoder(encoder, folder)
    return folder


def package_model(encoder: Path, folder: Path | None = None) -> Any:
    """Return a model of the package: a new one, or the one in a folder."""
    import tabstar.arch.arch as package

    before, package.E5_SMALL_LOCAL_PATH = package.E5_SMALL_LOCAL_PATH, str(encoder)
    try:
        torch.manual_seed(1)
        if folder is None:
            return package.TabStarModel(package.TabStarConfig()).eval()
        return package.TabStarModel.from_pretrained(folder, local_files_only=True).eval()
    finally:
        package.E5_SMALL_LOCAL_PATH = before


def package_probabilities(model: Any, frame: pd.DataFrame, target: pd.Series) -> Float64:
    """Return what the package makes of rows, from their cells to class probabilities ``[N, C]``."""
    from tabstar.tabstar_verbalizer import TabSTARVerbalizer

    verbalizer = TabSTARVerbalizer(is_cls=True)
    verbalizer.fit(frame, target)
    data = verbalizer.transform(frame, None)
    with torch.no_grad():
        logits = model(data.x_txt, torch.from_numpy(data.x_num), data.d_output)
    probabilities: Float64 = logits.double().softmax(1).numpy()
    return probabilities


def rows(count: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return rows with words, gaps and numbers, and classes."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"colour": rng.choice(["red", "green and blue", None], count)})
    frame["note"] = [f"n {number % 7}" for number in range(count)]
    frame["size"] = rng.normal(20, 5, count).round(2)
    frame["Age in years"] = rng.integers(1, 90, count).astype(float)
    frame.loc[::9, "size"] = np.nan
    return frame, pd.Series(rng.choice(CLASSES, count), name="answer")


def newer_difference() -> float:
    """Return the largest difference to the stored outputs of v1.1, of probabilities and z-scores."""
    stored = json.loads(tabstar_v11.STORED.read_text(encoding="utf-8"))
    frame, classes, values = tabstar_v11.rows()
    with tempfile.TemporaryDirectory() as name:
        os.environ[ENCODER_VARIABLE] = str(tabstar_v11.write_folder(stored, Path(name) / "published"))
        try:
            ours = load(Path(name) / "published")
        finally:
            del os.environ[ENCODER_VARIABLE]
    own = ours.predict(frame, target=str(classes.name), classes=tabstar_v11.CLASSES).drop(columns="prediction")
    z_scores = ours.predict(frame, target=str(values.name), task="regression")["prediction"]
    pairs = ((own, stored["probabilities"]), (z_scores, stored["z_scores"]))
    return max(float(np.abs(seen.to_numpy() - np.array(expected)).max()) for seen, expected in pairs)


def official() -> Section:
    """Compare both ways."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = write_encoder(folder / "encoder")
        theirs = package_model(encoder)
        theirs.save_pretrained(folder / "published")
        os.environ[ENCODER_VARIABLE] = str(encoder)
        try:
            ours = load(folder / "published")
        finally:
            del os.environ[ENCODER_VARIABLE]
        write_official(ours, folder / "exported")  # type: ignore[arg-type]  # of this family
        again = package_model(folder / "exported" / "text_encoder", folder / "exported")
        frame, target = rows(ROWS, seed=0)
        own = ours.predict(frame, target=str(target.name), classes=CLASSES).drop(columns="prediction").to_numpy()
        difference = max(
            float(np.abs(package_probabilities(model, frame, target) - own).max()) for model in (theirs, again)
        )
    newer = newer_difference()
    results = {
        "tabstar.official_max_abs_difference": difference,
        "tabstar.official_v11_max_abs_difference": newer,
    }
    lines = [TEXT.format(rows=ROWS), f"Largest differences: {difference:.1e}, and {newer:.1e} of v1.1.", ""]
    return Section("The package `tabstar` with the same weights", [*lines, *results_table(results)], results)
