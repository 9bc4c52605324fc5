"""Speed of the tabstar family: its loader by itself, and training through the engine against a bare loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from tabstar_lit.config import Stage, load_experiment
from tabstar_lit.data.plans import PlanSampler, SequentialPlan
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.opening import locate
from tabstar_lit.engine.run_directory import RunDirectory
from tabstar_lit.engine.stages import Parts, build_parts, stage_loggers
from tabstar_lit.engine.trainer import build_callbacks, build_trainer
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.builtin import ensure_builtin
from tabstar_lit.families.tabstar.config import TextEncoderConfig
from tabstar_lit.families.tabstar.corpus import Table
from tabstar_lit.families.tabstar.data import TableBatches, serve
from tabstar_lit.families.tabstar.encoders import load_tokenizer
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.losses import MultiTaskLoss
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tokens import StringTokens, tokenize

N_ROWS, N_FEATURES, BATCH_SIZE, REPEATS = 50_000, 30, 16, 5
BINS = 12


def numeric_table() -> Table:
    """Return a regression table of 50,000 x 30 numbers, verbalised in twelve bins per column."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(N_ROWS, N_FEATURES)).clip(-3, 3).astype(np.float32)
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
        is_validation=np.zeros(N_ROWS, dtype=np.bool_),
        row_ids=np.arange(N_ROWS, dtype=np.uint64),
        target_mean=0.0,
        target_std=1.0,
        schema={},
    )


def loader_rows_per_s() -> float:
    """Return how many rows of shuffled batches one core serves per second, token ids included (median of 5)."""
    table = numeric_table()
    tokens = StringTokens(
        {table.name: tokenize(table.vocabulary, load_tokenizer(TextEncoderConfig(name="random")), 512)}
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


class Clock(Callback):
    """Time the training batches of the last epoch, from before the first is fetched to after the last."""

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Remember the time of the last batch so far."""
        self.seconds = time.perf_counter() - self.start


PUBLISHED = (
    "model_config.architecture_config={d_model: 384, number_hidden: 768, ffn_hidden: 1536, interaction_layers: 6, "
    "interaction_heads: 6}",
    "dataset_config.rows_per_dataset=24",
)
"""The published sizes on a fixed text encoder; few rows, since a step takes a hundred times as long."""


def loop_vs_bare(*overrides: str) -> tuple[float, float]:
    """Return how fast the engine trains against a hand-written loop, 1 is equally fast, and what a step costs more.

    Medians of 5 runs of each, alternating; the second value in milliseconds.

    The same network, batches and optimizer settings. The engine fetches each batch from its loader, checks losses and
    gradients, logs and keeps its records; the bare loop has all batches in memory and only trains.
    """
    with tempfile.TemporaryDirectory() as folder:
        ratios, extra_ms = [], []
        for repeat in range(REPEATS):
            stage, run = _experiment(Path(folder), repeat, overrides)
            (engine_seconds, steps), bare_seconds = _engine_epoch(stage, run), _bare_epoch(stage, run)
            ratios.append(bare_seconds / engine_seconds)
            extra_ms.append(1000 * (engine_seconds - bare_seconds) / steps)
    return statistics.median(ratios), statistics.median(extra_ms)


def _experiment(folder: Path, repeat: int, overrides: Sequence[str]) -> tuple[Stage[Any], RunDirectory]:
    loaded = load_experiment(
        family.schema(),
        command=family.command,
        overrides=[
            f"experiment_config.save_dir={folder}/logs",
            f"experiment_config.tracker_path={folder}/figures",
            f"model_config.training_config.model_save_path={folder}/models",
            f"experiment_config.run_name=bench-{repeat}",
            "experiment_config.plot_metrics_n_epoch=null",
            "experiment_config.tqdm_refresh_rate=0",
            "model_config.training_config.max_epochs=2",  # the first shares the interpreter with the tracker's start
            f"dataset_config.corpus={ensure_builtin(folder / 'builtin.h5')}",
            *overrides,
        ],
    )
    run = locate(loaded)
    run.create()
    return loaded.stages[0], run


def _engine_epoch(stage: Stage[Any], run: RunDirectory) -> tuple[float, int]:
    parts = _warm_parts(stage, run)
    checkpoints = Checkpoints(run.checkpoints, run.run_name, stage.experiment.model.training_config, lambda _: None)
    clock = Clock()
    with stage_loggers(stage, run, None) as loggers:
        callbacks = [clock, *build_callbacks(stage.experiment, parts.tracker, checkpoints, seed=0)]
        trainer = build_trainer(stage.experiment, run, parts.module, loggers=loggers, callbacks=callbacks)
        trainer.fit(parts.module, datamodule=parts.data)
    return clock.seconds, trainer.global_step // 2


def _bare_epoch(stage: Stage[Any], run: RunDirectory) -> float:
    parts = _warm_parts(stage, run)
    parts.module.train()
    configured = parts.module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    batches = list(parts.data.train_dataloader())
    clip = stage.experiment.model.training_config.gradient_clip_val
    arguments = (parts.module.network, parts.module.loss, optimizer, batches, clip)
    bare_loop(*arguments)
    return bare_loop(*arguments)


def _warm_parts(stage: Stage[Any], run: RunDirectory) -> Parts:
    """Build data and module, and encode every string once, which a run does once and not every epoch."""
    parts = build_parts(family, stage, run, seed=0)
    parts.module.plan_steps(parts.data.batches_per_epoch())
    with torch.no_grad():
        for batch in parts.data.train_dataloader():
            parts.module.compute(batch)
    return parts


def bare_loop(
    network: TabStarNetwork,
    loss: MultiTaskLoss,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[TableBatch],
    clip: float,
) -> float:
    """Train on batches that are already in memory, as a hand-written loop does; returns the seconds it took."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    start = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        loss(network(batch), batch.targets).backward()
        torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
    return time.perf_counter() - start


def figures() -> dict[str, float]:
    """Return the figures of this family by name."""
    torch.set_num_threads(1)
    ratio, extra_ms = loop_vs_bare()
    published_ratio, _ = loop_vs_bare(*PUBLISHED)
    return {
        "tabstar.loop_vs_bare": ratio,
        "tabstar.extra_ms_per_step": extra_ms,
        "tabstar.published_loop_vs_bare": published_ratio,
        "tabstar.loader_rows_per_s": loader_rows_per_s(),
    }
