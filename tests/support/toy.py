"""A family of one small network on made-up rows: what the engine's tests train."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MeanAbsoluteError, R2Score

from tabstar_lit.config import Problem
from tabstar_lit.config.schema import ArchitectureConfig, DatasetConfig, Experiment, ModelConfig
from tabstar_lit.data.plans import RowBatch, RowPlan, SequentialPlan, cut
from tabstar_lit.engine.data import DataModule
from tabstar_lit.engine.family import Family
from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.engine.tracking.streams import Stream
from tabstar_lit.plots.style import new_figure

SOURCES = ("left", "right")


class ToyArchitecture(ArchitectureConfig):
    hidden: int = 8
    dropout: float = 0.2
    poison_step: int | None = None
    poison: str = "loss"
    signal_step: int | None = None
    signal_rank: int | None = None
    signal_number: int = int(signal.SIGTERM)
    crash_step: int | None = None


class ToyDataset(DatasetConfig):
    rows: int = 96
    batch_size: int = 8
    num_workers: int = 0


class ToyModel(ModelConfig):
    architecture_config: ToyArchitecture

    def loss_terms(self) -> tuple[str, ...]:
        return ("bias", "spread")


class ToyExperiment(Experiment):
    dataset_config: ToyDataset
    model: ToyModel = Field(alias="model_config")


class ToyPlan(RowPlan):
    """Shuffled batches of either source, a pure function of (seed, epoch)."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self.rows, self.batch_size, self.seed = rows, batch_size, seed

    def batches(self, epoch: int) -> list[RowBatch]:
        rng = np.random.default_rng([self.seed, epoch])
        keys = [
            RowBatch(source, rows)
            for source in range(len(SOURCES))
            for rows in cut(rng.permutation(self.rows), self.batch_size)
        ]
        return [keys[i] for i in rng.permutation(len(keys))]


class ToyRows(Dataset[dict[str, Any]]):
    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self.features, self.targets = features, targets

    def __getitem__(self, key: RowBatch) -> dict[str, Any]:
        return {
            "source": SOURCES[key.source],
            "x": self.features[key.source, key.rows],
            "y": self.targets[key.source, key.rows],
        }


class ToyData(DataModule):
    def __init__(self, config: ToyDataset, seed: int) -> None:
        super().__init__({"num_workers": config.num_workers})
        self.config, self.seed = config, seed
        generator = torch.Generator().manual_seed(5)
        x = torch.randn(2, config.rows + 16, 4, generator=generator)
        y = x[..., 0] - 0.5 * x[..., 1] + torch.tensor([[0.5], [-0.5]])
        self.rows = ToyRows(x, y)

    def train_plan(self) -> ToyPlan:
        return ToyPlan(self.config.rows, self.config.batch_size, self.seed)

    def val_plan(self) -> SequentialPlan:
        held_out = np.arange(self.config.rows, self.config.rows + 16)
        return SequentialPlan([held_out, held_out], self.config.batch_size)

    def train_dataset(self) -> ToyRows:
        return self.rows

    def val_dataset(self) -> ToyRows:
        return self.rows

    @property
    def fingerprint(self) -> str:
        return f"toy-{self.config.rows}"


class ToyNetwork(nn.Module):
    def __init__(self, config: ToyArchitecture) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, config.hidden), nn.LayerNorm(config.hidden), nn.ReLU())
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(x))).squeeze(-1)


class ToyModule(TrainingModule):
    """Records which rows it was trained on; can be poisoned, signalled or crashed at an optimizer step."""

    def __init__(self, network: ToyNetwork, config: ToyModel) -> None:
        super().__init__(network, config, {"family": "toy"})
        self.seen: list[tuple[str, float]] = []
        self.signalled = False

    def compute(self, batch: dict[str, Any]) -> StepOutput:
        predictions = self.network(batch["x"])
        errors = predictions - batch["y"]
        loss = errors.square().mean()
        terms = {"bias": errors.mean().square(), "spread": errors.var(correction=0)}
        if self.training:
            self._disturb()
            self.seen.append((batch["source"], float(batch["x"].sum())))
            loss = self._poisoned(loss)
        columns = {"predictions": predictions, "targets": batch["y"]}
        return StepOutput(loss, batch["source"], len(batch["y"]), terms, columns)

    def _disturb(self) -> None:
        config = self.config.architecture_config
        if config.signal_step is None and config.crash_step is None:
            return
        mine = config.signal_rank in (None, self.trainer.global_rank)
        if config.signal_step == self.trainer.global_step and mine and not self.signalled:
            self.signalled = True
            os.kill(os.getpid(), config.signal_number)
        if config.crash_step == self.trainer.global_step:
            raise MemoryError("crashed as asked")

    def _poisoned(self, loss: Tensor) -> Tensor:
        config = self.config.architecture_config
        if config.poison_step is None or self.trainer.global_step != config.poison_step:
            return loss
        # A finite loss may still have an infinite gradient: the root at zero.
        return loss * float("nan") if config.poison == "loss" else loss + (loss - loss.detach()).sqrt()


class ToyTracker(Tracker):
    """Has a metric of kept columns, the same and another as streams, and draws samples where it is told to."""

    broken = False
    sampled = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, metric in (("mae", MeanAbsoluteError()), ("r2", R2Score())):
            self.streams[name] = Stream(metric, ("predictions", "targets"))
        self.streams["mae/left"] = Stream(MeanAbsoluteError(), ("predictions", "targets"), source="left")

    def keeps(self) -> tuple[str, ...]:
        return ("predictions", "targets")

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        errors = {name: (rows["predictions"] - rows["targets"]).abs().mean() for name, rows in collected.items()}
        return {"error": float(torch.stack(list(errors.values())).mean())}

    def metric_names(self) -> tuple[str, ...]:
        return ("error",)

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Any]]:
        if self.broken:
            raise RuntimeError("a broken plot")
        for name, rows in collected.items():
            figure, (axes,) = new_figure()
            axes.plot(rows["targets"].numpy(), rows["predictions"].numpy(), ".")
            yield f"scatter_{name}", figure

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Any]]:
        if self.sampled:
            drawn = torch.randn(3, 4) + float(np.random.rand()) + random.random()
            yield "drawn", f"{module.network(drawn).tolist()}\n"

    def summary_figures(self) -> Iterable[tuple[str, Any]]:
        figure, (axes,) = new_figure()
        axes.plot([entry["val_loss"] for entry in self.history])
        yield "history", figure


class ToyFamily(Family[ToyExperiment, ToyData]):
    name = "toy"
    command = "train_toy"
    summary = "A toy."

    def __init__(self) -> None:
        self.modules: list[ToyModule] = []

    def schema(self) -> type[ToyExperiment]:
        return ToyExperiment

    def check(self, experiment: ToyExperiment) -> Sequence[Problem]:
        return []

    def data(self, experiment: ToyExperiment, seed: int, scratch: Path | None = None) -> ToyData:
        return ToyData(experiment.dataset_config, seed)

    def module(self, experiment: ToyExperiment, data: ToyData) -> ToyModule:
        self.modules.append(ToyModule(ToyNetwork(experiment.model.architecture_config), experiment.model))
        return self.modules[-1]

    def tracker(self, experiment: ToyExperiment, data: ToyData, figures: Path) -> ToyTracker:
        config = experiment.experiment_config
        return ToyTracker(figures, check_every=config.check_metrics_n_epoch, plot_every=config.plot_metrics_n_epoch)

    def models(self) -> Mapping[str, str]:
        return {"toy": "a toy"}

    def losses(self) -> Mapping[str, str]:
        return {"mse": "a loss"}
