"""Speed of event files: conversion against a plain copy, prediction, and jets streamed from disk."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.signal import N_FEATURES, gaussian_events
from tabstar_lit.config import load_experiment
from tabstar_lit.engine.weights.files import AtomicCheckpointIO
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.deployment.prediction import predict_events
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.events.conversion import convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventSchema, EventWriter, ObjectChunk
from tabstar_lit.families.hep.signal.family import family

N_CONVERTED, N_PREDICTED, N_JETS = 400_000, 1_000_000, 400_000
CONSTITUENTS, JET_FEATURES = 40, 7
"""Of a jet, at most and on average half as many, and the columns of each."""

CONVERSION = """\
sources: [{{file: {file}, label: {{background: y == 0, signal: y == 1}}}}]
columns: {{{columns}}}
weight: w
event_id: id
"""


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a call, threads included."""
    start = time.process_time()
    work()
    return time.process_time() - start


def source_table(n_events: int) -> pa.Table:
    """Return Gaussian events as another program would hand them over."""
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=n_events).astype(np.float32) for i in range(N_FEATURES)}
    own = {"y": rng.integers(0, 2, n_events), "w": rng.uniform(0.5, 2, n_events), "id": np.arange(n_events)}
    return pa.table(columns | own)


def conversion_vs_copy(folder: Path, n_events: int) -> dict[str, float]:
    """Return how many times as long conversions take as reading the same columns and writing them as they came."""
    import uproot

    table = source_table(n_events)
    pq.write_table(table, folder / "events.parquet")
    arrays = {name: table[name].to_numpy() for name in table.column_names}

    def write_root(path: Path, content: dict[str, np.ndarray]) -> None:
        with uproot.recreate(path) as file:
            file.mktree("events", {name: values.dtype for name, values in content.items()})
            file["events"].extend(content)

    def copy_root() -> None:
        with uproot.open(folder / "events.root") as file:
            write_root(folder / "copy.root", file["events"].arrays(library="np"))

    write_root(folder / "events.root", arrays)
    copies = {
        "parquet": lambda: pq.write_table(pq.read_table(folder / "events.parquet"), folder / "copy.parquet"),
        "root": copy_root,
    }
    ratios = {}
    for kind, copy in copies.items():
        config = folder / f"{kind}.yaml"
        names = ", ".join(f"x{i}: " for i in range(N_FEATURES))
        config.write_text(CONVERSION.format(file=f"events.{kind}", columns=names))
        times = [
            cpu_seconds(partial(convert_events, read_conversion(config), folder / f"{kind}_{number}.h5"))
            / cpu_seconds(copy)
            for number in range(3)
        ]
        ratios[f"events.{kind}_conversion_vs_copy"] = min(times)
    return ratios


def saved_classifier(folder: Path, data: Path) -> Path:
    """Write the checkpoint of a small network that has not been trained."""
    loaded = load_experiment(
        family.schema(),
        command=family.command,
        overrides=[
            "model_config=signal/mlp",
            "dataset_config=signal/higgsml",
            f"dataset_config.files={data}",
            "dataset_config.use_mc_weights=false",
            "dataset_config.use_class_weights=false",
            "dataset_config.norm_class_weights=false",
            "model_config.architecture_config.disable_embeddings=true",
            "model_config.architecture_config.n_layers=2",
            "model_config.architecture_config.n_hidden=32",
        ],
    )
    experiment = loaded.experiment
    module = family.module(experiment, family.data(experiment, seed=0))
    content = {"state_dict": module.state_dict(), "epoch": 0, "global_step": 1, "optimizer_states": []}
    module.on_save_checkpoint(content)
    AtomicCheckpointIO().save_checkpoint(content, folder / "model.ckpt")
    return folder / "model.ckpt"


def events_predicted_per_cpu_s(folder: Path, n_events: int) -> float:
    """Return how many flat events are scored and written in a second of one processor."""
    data = gaussian_events(folder / "flat.h5", n_events)
    classifier = restore(saved_classifier(folder, data))
    return n_events / cpu_seconds(lambda: predict_events(classifier, data, folder / "scores.parquet", device="cpu"))


def jet_file(path: Path, n_jets: int) -> Path:
    """Write jets whose constituents are objects, in chunks, so that this process does not hold them all."""
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(JET_FEATURES)]
    schema = EventSchema(classes=("background", "signal"), objects={"part": {name: ColumnInfo(name) for name in names}})
    with EventWriter(path, schema) as writer:
        for start in range(0, n_jets, 50_000):
            ids = np.arange(start, min(start + 50_000, n_jets))
            counts = rng.integers(1, CONSTITUENTS, len(ids))
            columns = {name: rng.normal(size=counts.sum()).astype(np.float32) for name in names}
            labels, weights = (ids % 2).astype(np.int16), np.ones(len(ids))
            objects = {"part": ObjectChunk(counts, columns)}
            writer.append(EventChunk({}, labels, weights, ids.astype(np.uint64), objects))
    return path


class Reading(NamedTuple):
    """An epoch of jets: how many a second of a processor, and of the clock, and this process's peak memory in GB."""

    per_cpu_s: float
    per_s: float
    peak_gb: float


def jets_streamed(data: str, cache: str, batch_size: int = 512, workers: int = 0) -> Reading:
    """Read one epoch of training jets; processor seconds and memory of workers are not counted."""
    torch.set_num_threads(1)
    options = {"batch_size": batch_size, "num_workers": workers}
    config = EventsDataset.model_validate(
        {"name": "jets", "files": data, "features": ("part.*",), "cache": cache, "dataloader_kwargs": options}
    )
    events = EventData(config, seed=0)
    loader = events.train_dataloader()
    start, begun = time.process_time(), time.perf_counter()
    jets = sum(len(batch.targets) for batch in loader)
    seconds, wall = time.process_time() - start, time.perf_counter() - begun
    unit = 1 if sys.platform == "darwin" else 1024
    return Reading(jets / seconds, jets / wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9)


def figures() -> dict[str, float]:
    """Return the figures of event files by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = conversion_vs_copy(folder, N_CONVERTED)
        found["events.predicted_per_cpu_s"] = events_predicted_per_cpu_s(folder, N_PREDICTED)
        jets = str(jet_file(folder / "jets.h5", N_JETS))
        for cache in ("memory", "stream"):
            with get_context("spawn").Pool(1) as pool:  # peaks are of processes
                read = pool.apply(jets_streamed, (jets, cache))
            found |= {f"events.{cache}_jets_per_cpu_s": read.per_cpu_s, f"events.{cache}_jets_per_s": read.per_s}
            found[f"events.{cache}_peak_gb"] = read.peak_gb
        found["events.stream_jets_per_s_2_workers"] = jets_streamed(jets, "stream", workers=2).per_s
    return found
