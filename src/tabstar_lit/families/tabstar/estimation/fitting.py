"""One table, one training: what an estimator's ``fit`` does, through the same engine as ``train_tabstar``."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.data.splits import row_ids
from tabstar_lit.families.tabstar.config import TargetOffset
from tabstar_lit.families.tabstar.deployment.stored import stored_config
from tabstar_lit.families.tabstar.tables.corpus import write_corpus
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry

TABLE = "table"
"""Name of the one table."""

Method = Literal["lora", "full", "probe"]
"""What is trained: adapters; the last ``unfreeze_layers`` of the text encoder and all above it; the heads alone."""

FILES: dict[Method, str] = {"lora": "tabstar/finetune", "full": "tabstar/finetune_full", "probe": "tabstar/probe"}
"""The shipped configuration of each method."""

NEW = "tabstar/builtin"
"""That of a new network."""

PUBLISHED_LAYERS = 6
"""Upper layers of the text encoder that the package ``tabstar`` adapts."""

MOST_ROWS = 32
"""Rows that go through the network at once; larger batches are made of several."""

LEAST_STEPS = 8
"""Steps of an epoch: of few rows, fewer make a step."""

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Rows:
    """Rows to learn from.

    Attributes
    ----------
    features : DataFrame
        ``[N, M]``.
    target : Series
        ``[N]`` class names, or numbers; its name is that of the target.
    held_out : ndarray of bool [N], or None
        Rows that validate; None: a share is drawn.
    weights : ndarray of float64 [N], or None
        How much each row counts.
    """

    features: pd.DataFrame
    target: pd.Series
    held_out: Bool | None = None
    weights: Float64 | None = None


@dataclass(frozen=True)
class Wishes:
    """How to train.

    Attributes
    ----------
    method : str
        See :data:`Method`.
    unfreeze_layers : int or "all", or None
        Layers of the text encoder that are trained, or have adapters; None: as many as the method's file says.
    max_epochs, patience
        As in ``training_config``.
    batch_size : int
        Rows whose gradients make a step.
    learning_rate : float, optional
        None: the method's own.
    class_weights : str, or dict of str to float, or None
        As in ``dataset_config``.
    target_offset : str or None
        As there.
    validation_fraction : float
        Share of the rows that choose the best epoch, where none are given.
    time_limit : float, optional
        Seconds.
    seed : int
        Of split, order and new weights.
    device : str
        ``auto``, ``cpu`` or a kind of accelerator.
    progress_bar : bool
        Show one.
    overrides : sequence of str
        Further settings as on the command line; they come last.
    """

    method: Method
    unfreeze_layers: int | str | None
    max_epochs: int
    patience: int
    batch_size: int
    learning_rate: float | None
    class_weights: str | dict[str, float] | None
    target_offset: TargetOffset | None
    validation_fraction: float
    time_limit: float | None
    seed: int
    device: str
    progress_bar: bool
    overrides: tuple[str, ...]


def write_table(rows: Rows, task: Literal["classification", "regression"], wishes: Wishes, path: Path) -> None:
    """Encode the rows as a corpus of one table.

    Raises
    ------
    DataError
        It cannot be learnt from; names the column and the rows.
    """
    target = str(rows.target.name)
    kinds = {target: "text"} if task == "classification" else {}
    frame = rows.features.assign(**{target: rows.target.to_numpy()})
    weight = None
    if rows.weights is not None:
        weight = free_name("weight", frame.columns)
        frame[weight] = rows.weights
    entry = TableEntry(name=TABLE, file=TABLE, target=target, task=task, kinds=kinds, weight=weight)
    raw = RawTable(frame, row_ids(frame))
    settings = Settings(validation_fraction=wishes.validation_fraction, seed=wishes.seed)
    table = encode_table(entry, raw, settings, held_out=rows.held_out)
    table.schema.update(source={}, fingerprint=TABLE)
    write_corpus(path, [table], order=[TABLE])


def base_settings(base: Path | None, wishes: Wishes) -> list[str]:
    """Return the settings that start a training from the model at ``base``; None: from new.

    Raises
    ------
    CheckpointError
        It cannot be read, or is no TabSTAR.
    """
    if base is None:
        return [f"model_config={NEW}"]
    settings = [f"model_config={FILES[wishes.method]}", f"model_config.base={json.dumps(str(base))}"]
    asked = wishes.unfreeze_layers
    if asked is None and wishes.method == "lora":
        asked = PUBLISHED_LAYERS
    if isinstance(asked, int):
        asked = min(asked, int(stored_config(base)["encoder"]["config"]["num_hidden_layers"]))
    if asked is not None and wishes.method != "probe":
        settings.append(f"model_config.architecture_config.text_encoder.unfreeze_layers={asked}")
    return settings


def run_settings(wishes: Wishes, rows: Rows, folder: Path) -> list[str]:
    """Return the settings of data, which is ``table.h5`` in ``folder``, training and folders."""
    training = "model_config.training_config"
    step = max(1, min(wishes.batch_size, len(rows.features) // LEAST_STEPS))
    at_once = min(step, MOST_ROWS)
    settings = [
        f"dataset_config.corpus={json.dumps(str(folder / 'table.h5'))}",
        "dataset_config.name=table",
        "dataset_config.rows_per_dataset=1000000000",
        f"dataset_config.batch_size={at_once}",
        f"dataset_config.class_weights={json.dumps(wishes.class_weights)}",
        f"dataset_config.target_offset={json.dumps(wishes.target_offset)}",
        "dataset_config.same_tokens=warn",
        f"{training}.max_epochs={wishes.max_epochs}",
        f"{training}.early_stop_patience={wishes.patience}",
        f"{training}.accumulate_grad_batches={round(step / at_once)}",
        f"{training}.monitor=val_loss",
        f"{training}.monitor_mode=min",
        f"{training}.model_save_path={json.dumps(str(folder / 'models'))}",
        f"experiment_config.save_dir={json.dumps(str(folder / 'logs'))}",
        f"experiment_config.tracker_path={json.dumps(str(folder / 'figures'))}",
        "experiment_config.experiment_name=fit",
        "experiment_config.run_name=fit",
        "experiment_config.tracker=none",
        "experiment_config.plot_metrics_n_epoch=null",
        f"experiment_config.seed={wishes.seed}",
        f"experiment_config.accelerator={wishes.device}",
        "experiment_config.devices=1",
        f"experiment_config.tqdm_refresh_rate={10 if wishes.progress_bar else 0}",
        f"min_logging_level={'info' if wishes.progress_bar else 'warning'}",
    ]
    if wishes.learning_rate is not None:
        settings.append(f"{training}.optimizer.optimizer_params.lr={wishes.learning_rate}")
    if wishes.time_limit is not None:
        settings.append(f"{training}.max_time={json.dumps(wall_time(wishes.time_limit))}")
    return [*settings, *wishes.overrides]


def wall_time(seconds: float) -> str:
    """Write seconds as DD:HH:MM:SS; one at least."""
    days, rest = divmod(max(1, round(seconds)), SECONDS_PER_DAY)
    hours, minutes = divmod(rest, 3600)
    return f"{days:02d}:{hours:02d}:{minutes // 60:02d}:{minutes % 60:02d}"


def with_validation(train: Rows, features: pd.DataFrame, target: Sequence[Any]) -> Rows:
    """Return rows to learn from with others, of the same columns, that validate."""
    both = pd.concat([train.features, features[train.features.columns]], ignore_index=True)
    values = pd.Series([*train.target, *target], name=train.target.name)
    weights = None if train.weights is None else np.append(train.weights, np.ones(len(features)))
    return Rows(both, values, np.arange(len(both)) >= len(train.features), weights)


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name that no column has."""
    while name in taken:
        name = f"{name} of it"
    return name


@contextmanager
def quiet(silent: bool) -> Iterator[None]:
    """Keep Lightning's remarks about devices and loggers to itself."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers if silent else ():
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
