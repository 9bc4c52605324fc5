"""Speed of the tabstar family: its loader by itself, and training through the engine against a bare loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.loops import beside_lightning, compare, compare_lightning
from tabstar_lit.data.plans import PlanSampler, SequentialPlan
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.data import TableBatches, serve
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

N_ROWS, N_FEATURES, BATCH_SIZE, REPEATS = 50_000, 30, 16, 5
BINS = 12


def numeric_table(n_rows: int = N_ROWS) -> Table:
    """Return a regression table of ``n_rows`` x 30 numbers, verbalised in twelve bins per column."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(n_rows, N_FEATURES)).clip(-3, 3).astype(np.float32)
    bins = np.clip(((numbers + 3) / 6 * BINS).astype(np.int32), 0, BINS - 1)
    names = [f"measurement_{i}" for i in range(N_FEATURES)]
    ranges = [f"{10 * b} to {10 * b + 10} (Quantile {b} - {b + 1}%)" for b in range(BINS)]
    return Table(
        name="numeric",
        task="regression",
        vocabulary=(
            "Numerical Target Feature: y",
            *(f"Predictive Feature: {name}\nFeature Value: {text}" for name in names for text in ranges),
        ),
        codes=1 + BINS * np.arange(N_FEATURES, dtype=np.int32) + bins,
        numbers=numbers,
        targets=numbers[:, 0],
        target_codes=np.zeros(1, dtype=np.int32),
        classes=(),
        feature_names=tuple(names),
        is_validation=np.zeros(n_rows, dtype=np.bool_),
        row_ids=np.arange(n_rows, dtype=np.uint64),
        target_mean=0.0,
        target_std=1.0,
        schema={},
    )


def loader_rows_per_s() -> float:
    """Return how many rows of shuffled batches one core serves per second, token ids included (median of 5)."""
    table = numeric_table()
    tokens = StringTokens(
        {table.name: JsonTokenizer(load_tokenizer(TextEncoderConfig(name="random")), 512).encode(table.vocabulary)}
    )
    dataset = TableBatches([serve(table, np.arange(N_FEATURES), tokens)], tokens)
    speeds = []
    for seed in range(REPEATS):
        plan = SequentialPlan([np.random.default_rng(seed).permutation(N_ROWS)], BATCH_SIZE)
        loader = DataLoader(dataset, batch_size=None, sampler=PlanSampler(plan))
        start = time.perf_counter()
        rows = sum(len(batch) for batch in loader)
        speeds.append(rows / (time.perf_counter() - start))
    return statistics.median(speeds)


PUBLISHED = (
    "model_config.architecture_config={d_model: 384, number_hidden: 768, ffn_hidden: 1536, interaction_layers: 6, "
    "interaction_heads: 6}",
    "dataset_config.rows_per_dataset=24",
)
"""The published sizes on a fixed text encoder; few rows, since a step takes a hundred times as long."""


def bare_loss(module: TrainingModule, batch: TableBatch) -> Tensor:
    """Return the loss of a batch as a hand-written loop computes it."""
    loss: Tensor = cast(TabstarModule, module).loss(module.network(batch), batch.targets)
    return loss


def wide_convert_cpu_s() -> float:
    """Return seconds of processor time to convert 200 rows of 1,500 numbers, best of three."""
    rng, times = np.random.default_rng(0), []
    frame = pd.DataFrame(rng.normal(size=(200, 1500)), columns=[f"c{number}" for number in range(1500)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame.assign(y=rng.choice(["a", "b"], 200)).to_csv(folder / "t.csv", index=False)
        entry = TableEntry.model_validate({"name": "wide", "file": "t.csv", "target": "y", "task": "classification"})
        for number in range(3):
            start = time.process_time()
            convert([FileSource(entry, folder / "t.csv")], folder / f"{number}.h5")
            times.append(time.process_time() - start)
    return min(times)


def figures() -> dict[str, float]:
    """Return the figures of this family by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = f"dataset_config.corpus={ensure_builtin(Path(folder) / 'builtin.h5')}"
        shipped = compare(family, [corpus], bare_loss)
        fused = compare(family, [corpus], bare_loss, fused=True)
        floor = compare_lightning(family, [corpus], bare_loss)
        published = compare(family, [corpus, *PUBLISHED], bare_loss)
    return {
        "tabstar.loop_vs_bare": shipped.ratio,
        "tabstar.extra_ms_per_step": shipped.extra_ms,
        "tabstar.step_ms": shipped.step_ms,
        **beside_lightning("tabstar.loop", fused, floor),
        "tabstar.published_loop_vs_bare": published.ratio,
        "tabstar.loader_rows_per_s": loader_rows_per_s(),
        "tabstar.wide_convert_cpu_s": wide_convert_cpu_s(),
    }
