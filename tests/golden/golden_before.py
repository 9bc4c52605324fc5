"""Runs that an earlier version made: what was trained, what is done with it, and which numbers that gives.

Every family has a folder with its data and one run, in which all commands below work. The archives in ``before`` hold
those folders as they were after ``train``, and the JSON files beside them the numbers that ``use`` gave at that time.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from golden_run import FIXED, HERE, records, run

ARCHIVES = HERE / "before"
CHECKPOINTS = Path("runs/models/checkpoints/golden/before")
LOGS = Path("runs/logs/golden")
LENGTH = "model_config.training_config"
MEASURED = ("train_", "val_", "test_", "lr")
"""How the names of numbers begin that do not depend on the machine's speed."""

Line = tuple[str, ...]


class Before(NamedTuple):
    """A run of a family.

    Attributes
    ----------
    command : str
        The command that trains it.
    prepare : tuple of Line
        Makes the data.
    settings : Line
        Network and data, small.
    length : Line
        How long the run was trained before.
    longer : Line
        How long it is trained when it is resumed.
    stages : tuple of str
        Stages that have folders of their own; empty where there is only one.
    evaluate : Line
        What an evaluation is told beside network, data and checkpoint.
    predict : tuple of Line
        Writes ``predictions.parquet``.
    """

    command: str
    prepare: tuple[Line, ...]
    settings: Line
    length: Line
    longer: Line
    stages: tuple[str, ...] = ()
    evaluate: Line = ()
    predict: tuple[Line, ...] = ()

    @property
    def checkpoint(self) -> str:
        """The last checkpoint of the last stage."""
        return str(CHECKPOINTS.joinpath(*self.stages[-1:], "before_last.ckpt"))

    def train(self) -> Line:
        """Return the command line of the run of before."""
        return (self.command, *self.settings, *self.length, *named("before"))

    def use(self) -> tuple[Line, ...]:
        """Return what any later version must do: evaluate and predict with the run as it is, then resume it."""
        evaluate = (self.command, *self.settings, f"model_config.load_checkpoint={self.checkpoint}", *self.evaluate)
        return (
            (*evaluate, *named("evaluated")),
            *self.predict,
            (self.command, "--resume", str(LOGS / "before"), *self.longer),
        )


def named(run_name: str) -> Line:
    """Return the overrides that every training and evaluation here has."""
    return (*FIXED, "experiment_config.experiment_name=golden", f"experiment_config.run_name={run_name}")


TABSTAR = Before(
    "train_tabstar",
    (("tabstar_lit", "convert", "tables", "manifest.yaml", "-o", "data/tables.h5"),),
    (
        "model_config=tabstar/tiny",
        "dataset_config=tabstar/corpus",
        "dataset_config.corpus=tables.h5",
        "model_config.architecture_config.text_encoder.random={hidden_size: 8, layers: 2, heads: 2, ffn_hidden: 8}",
        "model_config.architecture_config.d_model=8",
        "model_config.architecture_config.interaction_layers=1",
        "model_config.architecture_config.ffn_hidden=16",
    ),
    (f"{LENGTH}.max_steps=20",),  # within the second epoch, whose 14 steps are those of two tables
    (f"{LENGTH}.max_steps=null", f"{LENGTH}.max_epochs=3"),
)
SIGNAL = Before(
    "train_signal",
    (("tabstar_lit", "convert", "events", "events.yaml", "-o", "data/events.h5"),),
    (
        "model_config=signal/deepsets",
        "dataset_config.files=events.h5",
        "dataset_config.features=[met, 'jets.*']",
        "dataset_config.max_objects={jets: 3}",
        "dataset_config.dataloader_kwargs.batch_size=32",
        "model_config.architecture_config.n_hidden=8",
        f"{LENGTH}.scheduler={{scheduler_name: StepLR, interval: epoch}}",
        f"{LENGTH}.scheduler.scheduler_params={{step_size: 1, gamma: 0.7}}",
    ),
    (f"{LENGTH}.max_epochs=2",),
    (f"{LENGTH}.max_epochs=4",),
    predict=(
        ("tabstar_lit", "predict", str(CHECKPOINTS / "before_last.ckpt"), "data/events.h5", "--spectators", "-o",
         "predictions.parquet"),
    ),
)  # fmt: skip
FAKES = Before(
    "train_fakes",
    (("tabstar_lit", "convert", "fakes-toy", "--events", "1500", "-o", "data/leptons.h5"),),
    (
        "dataset_config.files=leptons.h5",
        "dataset_config.dataloader_kwargs.batch_size=128",
        "model_config.architecture_config.layers_dim=[8]",
        "model_config.architecture_config.ensemble.heads=4",
        "model_config.architecture_config.ensemble.hidden_dims=[4]",
        f"{LENGTH}.scheduler=null",
    ),
    (f"{LENGTH}.max_epochs=2",),
    (f"{LENGTH}.max_epochs=3",),
    ("numerator", "denominator", "ratio"),
    (
        "model_config.architecture_config.ensemble.trunk=shared",  # these were the defaults then
        "model_config.architecture_config.act=SiLU",
        "model_config.architecture_config.ensemble.act=SiLU",
        "model_config.architecture_config.ensemble.average=log",
        "model_config.architecture_config.ensemble.spread=std",
        "dataset_config.feature_scaling.numer_scaler_type=power",
        "model_config.training_config.negative_weights=correction",
        "model_config.training_config.twins=0",
        "model_config.training_config.balanced_replicas=false",
        *(f"model_config.{x}_checkpoint={CHECKPOINTS}/{x}/before_last.ckpt" for x in ("numerator", "denominator")),
    ),
    (
        ("tabstar_lit", "fakes", "apply", str(CHECKPOINTS / "ratio/before_last.ckpt"), "data/leptons.h5", "-o",
         "predictions.parquet"),
    ),
)  # fmt: skip
FAMILIES: Mapping[str, Before] = {"tabstar": TABSTAR, "signal": SIGNAL, "fakes": FAKES}


def use(family: str, folder: Path) -> dict[str, Any]:
    """Do with the run in ``folder`` what a later version must, and return the numbers."""
    run(folder, *FAMILIES[family].use())
    written = folder / "predictions.parquet"
    return {
        "evaluated": dict(measured(folder / LOGS / "evaluated")),
        "predictions": {} if not written.exists() else pd.read_parquet(written).to_dict(orient="list"),
        "resumed": dict(measured(folder / LOGS / "before")),
        "weights": dict(weights(folder / CHECKPOINTS)),
    }


def measured(root: Path) -> Iterator[tuple[str, float]]:
    """Yield the metrics of a run, each with the stage and step in its name."""
    for record in records(root):
        for name, value in record.items():
            if name.startswith(MEASURED):
                yield f"{record['stage']} {record['step']} {name}", value


def weights(folder: Path) -> Iterator[tuple[str, list[float]]]:
    """Yield the sum and the norm of each tensor of the last checkpoints: a hash that a rounding does not change."""
    for path in sorted(folder.rglob("before_last.ckpt")):
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for name, tensor in sorted(state.items()):
            values = tensor.double()
            yield f"{path.parent.name} {name}", [values.sum().item(), values.norm().item()]


def pack(family: str, folder: Path) -> None:
    """Keep a folder in the archive of a family."""
    with tarfile.open(ARCHIVES / f"{family}.tar.xz", "w:xz") as archive:
        archive.add(folder, arcname=".", filter=without_owner)


def without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return an entry of an archive that does not say whose file it was."""
    entry.uname = entry.gname = ""
    entry.uid = entry.gid = 0
    return entry


def unpack(family: str, folder: Path) -> None:
    """Lay the archive of a family into ``folder``, as if its run had been made there."""
    with tarfile.open(ARCHIVES / f"{family}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    record = json.loads((folder / LOGS / "before/run.json").read_text(encoding="utf-8"))
    former = record["checkpoints_dir"].removesuffix(f"/{CHECKPOINTS}")
    for path in (folder / LOGS).rglob("*.*"):
        if path.suffix in {".json", ".jsonl", ".yaml", ".txt", ".md"}:
            path.write_text(path.read_text(encoding="utf-8").replace(former, str(folder)), encoding="utf-8")
    move_artifacts(folder / "runs/logs/mlruns/mlflow.db", former, str(folder))


def move_artifacts(database: Path, former: str, folder: str) -> None:
    """Change the place of artifacts in MLflow's store."""
    with sqlite3.connect(database) as store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (former, folder))  # noqa: S608  # no input
    store.close()
