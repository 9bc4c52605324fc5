"""A corpus of a few tables and a tiny TabSTAR trained on it for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from tabstar_lit.config import load_experiment
from tabstar_lit.engine.run import run
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.tables.builtin import SOURCES
from tabstar_lit.families.tabstar.tables.converter import FileSource, Source, convert
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

TRIPS = """
- name: trips
  file: trips.csv
  target: late
  task: classification
  dates: [start]
  ignore: [number]
"""


class Bench(NamedTuple):
    """A corpus, its raw tables, and a checkpoint of a network trained on it for a moment."""

    corpus: Path
    raw: dict[str, pd.DataFrame]
    checkpoint: Path
    predicted: dict[str, np.ndarray[Any, Any]]
    """What the training's own module gives for the validation rows of each table, in their order."""


def trips(folder: Path) -> Source:
    """Write a table with dates as text, words, gaps, a column that is ignored, and classes that look like numbers."""
    rng = np.random.default_rng(3)
    start = pd.date_range("2024-01-01", periods=200, freq="31h").strftime("%Y-%m-%d %H:%M")
    frame = pd.DataFrame({"start": start, "number": range(200), "line": rng.choice(["red", "blue", None], 200)})
    frame["minutes"] = rng.normal(30, 9, 200).round(1)
    frame.loc[::17, "minutes"] = None
    frame["late"] = (frame["minutes"].fillna(0) + rng.normal(0, 5, 200) > 30).astype(int)
    frame.to_csv(folder / "trips.csv", index=False)
    (folder / "manifest.yaml").write_text(TRIPS)
    (entry,) = read_manifest(folder / "manifest.yaml")
    return FileSource(entry, folder / "trips.csv")


def settings(folder: Path, corpus: Path) -> tuple[str, ...]:
    """Return what a training for an epoch is told, as on the command line."""
    return (
        "model_config=tabstar/tiny", f"dataset_config.corpus={corpus}", "dataset_config.rows_per_dataset=32",
        "model_config.training_config.max_epochs=1", "experiment_config.run_name=run",
        "experiment_config.accelerator=cpu", "experiment_config.plot_metrics_n_epoch=null",
        "experiment_config.tracker=none",
        f"experiment_config.save_dir={folder}/logs", f"experiment_config.tracker_path={folder}/figures",
        f"model_config.training_config.model_save_path={folder}/models",
    )  # fmt: skip


def train(folder: Path, corpus: Path, *overrides: str) -> tuple[Any, Path]:
    """Train for an epoch; return the experiment and the last checkpoint."""
    told = [*settings(folder, corpus), *overrides]
    loaded = load_experiment(family.schema(), command=family.command, overrides=told)
    return loaded.experiment, run(family, loaded).checkpoints / "run_last.ckpt"


def outputs_of_training(experiment: Any, checkpoint: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Run the training's own data and network over the validation rows."""
    data = family.data(experiment, seed=experiment.experiment_config.seed)
    module = family.module(experiment, data)
    network = module.network
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    network.load_state_dict(module.complete({name.removeprefix("network."): own for name, own in state.items()}))
    found: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad():
        for batch in data.val_dataloader():
            found.setdefault(batch.source, []).append(network.eval()(batch))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def make_bench(folder: Path) -> Bench:
    """Convert three tables, train on them, and keep what the training says of their validation rows."""
    sources = [source for source in SOURCES if source.entry.name in ("iris", "diabetes")]
    sources = [*sources, trips(folder)]
    convert(sources, folder / "corpus.h5")
    experiment, checkpoint = train(folder, folder / "corpus.h5")
    raw = {source.entry.name: source.read().frame for source in sources}
    return Bench(folder / "corpus.h5", raw, checkpoint, outputs_of_training(experiment, checkpoint))
