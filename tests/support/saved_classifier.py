"""A classifier with shaken weights and its checkpoint, made as a run makes it, without the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.engine.weights.files import AtomicCheckpointIO
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.signal.config import SignalExperiment
from tabstar_lit.families.hep.signal.family import family
from tabstar_lit.families.hep.signal.module import SignalModule

TINY = {"embedding_dim": 8, "heads": 2, "dim_head": 4}
MLP = {"model": "MLP", "n_hidden": 8, "n_layers": 1}
PARTICLES = {"model": "ParticleTransformer", "particle_blocks": 1, "class_blocks": 1, **TINY}
FLAT = ["met", "m_jj", "channel"]


class Saved(NamedTuple):
    """What was saved, and the parts it was saved from."""

    path: Path
    module: SignalModule
    data: EventData


def build(events: Path, architecture: dict[str, Any], **settings: Any) -> tuple[SignalModule, EventData]:
    """Return module and data of an experiment on a file; ``settings`` are keys of ``dataset_config``."""
    experiment = {
        "experiment_config": {"experiment_name": "hand_made", "seed": 0},
        "dataset_config": {"name": "hand_made", "files": str(events)} | settings,
        "model_config": {"name": "model", "architecture_config": architecture, "training_config": {}},
    }
    loaded = SignalExperiment.model_validate_json(json.dumps(experiment))
    torch.manual_seed(0)
    data = family.data(loaded, seed=0)
    module = family.module(loaded, data)
    assert isinstance(module, SignalModule)
    return module, data


def write(module: SignalModule, path: Path) -> Path:
    """Write the checkpoint of a module."""
    content: dict[str, Any] = {"state_dict": module.state_dict(), "epoch": 0, "global_step": 1, "optimizer_states": []}
    module.on_save_checkpoint(content)
    AtomicCheckpointIO().save_checkpoint(content, path)
    return path


def save(folder: Path, events: Path, architecture: dict[str, Any], **settings: Any) -> Saved:
    """Build a classifier, shake its weights and write its checkpoint."""
    module, data = build(events, architecture, **settings)
    for parameter in module.network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    module.eval()
    return Saved(write(module, folder / "model.ckpt"), module, data)


def fit(module: SignalModule, data: EventData, steps: int = 60, lr: float = 0.03) -> None:
    """Train on all training events at once."""
    dataset = data.train_dataset()
    batches = [dataset[key] for key in data.train_plan().batches(0)]
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack([module.compute(batch).loss for batch in batches]).mean().backward()
        optimizer.step()
    module.eval()


def logits_of(module: nn.Module, data: EventData, split: str) -> tuple[Tensor, Tensor]:
    """Return row numbers and logits of a split as the training module computes them."""
    outputs = [(batch.rows, module.compute(batch).columns["logits"]) for batch in data.split_dataloader(split)]
    return torch.cat([rows for rows, _ in outputs]), torch.cat([logits.detach() for _, logits in outputs])
