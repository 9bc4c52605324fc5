"""Train small density-ratio models as the command does: from the shipped YAML, on few toys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
from bench import EventsBench

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.families.hep.fakes.config import FakesDataset
from tabstar_lit.families.hep.fakes.data import FakesData
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.training_config import FakesTraining

ARCHITECTURE = "model_config.architecture_config"
TRAINING = "model_config.training_config"
RUN = (
    *bench.RUN,
    "dataset_config.dataloader_kwargs.batch_size=128",
    "dataset_config.split.test=0.1",
    "dataset_config.feature_scaling.numer_scaler_type=standard",
    f"{TRAINING}.max_epochs=2",
    f"{TRAINING}.mc_norm_sigma=0.1",
    f"{ARCHITECTURE}.layers_dim=[8]",
    f"{TRAINING}.monitor=val_loss",
    f"{ARCHITECTURE}.ensemble={{heads: 3, hidden_dims: [8], dropout: 0.1}}",
)
"""Three stages of a few steps each on the 1000 toy events of the fixture."""
ROLES = ("numerator", "denominator", "ratio")


@dataclass
class FakesBench(EventsBench):
    """A folder to train density-ratio models in, in three stages."""

    family: AnyFamily = family
    always = RUN

    def noted(self, module: Any, batch: Any) -> Any:
        """Return the role of the stage, and the rows of a batch."""
        return module.role, batch.rows.tolist()

    def stages(self) -> dict[str, Any]:
        """Return what the run recorded of each stage."""
        stages: dict[str, Any] = self.load_run().record()["stages"]
        return stages

    def best(self, role: str) -> Path:
        """Return the best checkpoint of a stage."""
        return self.load_run().checkpoints / str(self.stages()[role]["best_checkpoint"])


def open_events(
    path: Path, role: Any = "numerator", /, *, heads: int = 1, models: Any = None, **keys: Any
) -> FakesData:
    """Return the events of a stage; ``keys`` are of ``dataset_config`` or, in ``training``, of ``training_config``."""
    training = FakesTraining(**keys.pop("training", {}))
    config = FakesDataset.model_validate({"name": "toys", "files": str(path), **keys}, strict=False)
    return FakesData(config, role=role, seed=7, training=training, heads=heads, models=models)
