"""Train a small signal classifier as the command does: from the shipped YAML, on few events."""

from __future__ import annotations

from dataclasses import dataclass

import bench
from bench import EventsBench, logged, metrics

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.families.hep.signal.family import family

__all__ = ["FLAT", "JAGGED", "RUN", "SignalBench", "logged", "metrics"]

FEATURES = "[met, n_jets, ht, m_jj, pt_jj, deta_jj, dphi_jj]"
RUN = (
    *bench.RUN,
    "dataset_config.dataloader_kwargs.batch_size=64",
    "model_config.training_config.max_epochs=2",
)
"""A run of twelve steps on the 600 toy events of the fixture."""
FLAT = (
    "model_config=signal/mlp",
    f"dataset_config.features={FEATURES}",
    "model_config.architecture_config.n_layers=2",
    "model_config.architecture_config.n_hidden=16",
    "model_config.architecture_config.embedding_dim=4",
)
"""A small MLP, with the dropout of the shipped one, on the events' own features."""
JAGGED = ("model_config.architecture_config.embedding_dim=8", "model_config.architecture_config.heads=2")
"""A small network of the default's kind on jets and the events' own features."""


@dataclass
class SignalBench(EventsBench):
    """A folder to train signal classifiers in."""

    family: AnyFamily = family
    always = RUN
