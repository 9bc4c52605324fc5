"""A trained density-ratio model as later stages, factors and closure see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tabstar_lit.arrays import Array
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.deployment.event_model import EventModel, event_architecture, stored_dataset
from tabstar_lit.families.hep.fakes.architecture import FakesArchitecture
from tabstar_lit.families.hep.fakes.config import FakesDataset, Role
from tabstar_lit.families.hep.fakes.ensemble import Ensemble, displaced
from tabstar_lit.families.hep.preparation.agreement import require_same_data
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.losses.density_ratio import RatioLoss

BATCH_SIZE = 8192


@dataclass(frozen=True)
class RatioModel(EventModel):
    """A trained network from features to outputs ``[B, C]``, one for each head of the ensemble.

    Attributes
    ----------
    loss : RatioLoss
        Its link makes log-ratios of the outputs.
    """

    loss: RatioLoss

    @property
    def role(self) -> Role:
        """What its ratio is: numerator, denominator or ratio."""
        role: Role = self.config["role"]
        return role

    @property
    def twins(self) -> int:
        """Heads at the end that learned from the same bootstrap samples as the first ones."""
        return int(self.config.get("twins", 0))

    @property
    def ensemble(self) -> Ensemble:
        """How heads are taken together; without an ensemble, or before there was a choice, as it was done then."""
        own = self.config["architecture_config"].get("ensemble") or {}
        balanced = bool(self.config.get("balanced", False))
        radius = float(own.get("spread_radius", 0.0))
        return Ensemble(own.get("average", "log"), own.get("spread", "std"), self.twins, balanced, radius)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the columns that were carried along, in the file's units."""
        return self.preprocessor.spectators

    @property
    def dataset(self) -> FakesDataset:
        """Events it was trained on: file, regions, split, cuts; all else has its default."""
        return stored_dataset(FakesDataset, self.config)

    @property
    def weights(self) -> dict[str, Array]:
        """Weights of the network by name."""
        return {name: weight.numpy(force=True) for name, weight in self.network.state_dict().items()}

    def log_ratios(self, events: EventBatch | Features) -> Tensor:
        """Return the logarithm of the ratio for each head, ``[B, C]`` float32, without gradients."""
        features = events.features if isinstance(events, EventBatch) else events
        with torch.inference_mode():
            return self.loss.log_ratio(self.network(features).float())

    def log_ratios_around(self, events: EventBatch | Features) -> list[Tensor]:
        """Return the same for events that are displaced a little, over which the uncertainty is averaged."""
        features = events.features if isinstance(events, EventBatch) else events
        moved = displaced(features.numerical, self.ensemble.radius)
        return [self.log_ratios(features._replace(numerical=numbers)) for numbers in moved]

    def require(self, role: Role, preprocessor: Preprocessor, heads: int) -> None:
        """Refuse a model that cannot weigh these events, for an ensemble of so many heads.

        Parameters
        ----------
        role : str
            What its ratio must be.
        preprocessor : Preprocessor
            Of the events.
        heads : int
            Heads ``C`` of the ensemble to be trained; each learns from the ratio of the head of its own number.

        Raises
        ------
        CheckpointError
            It is of another role, of other features or scaling, or has another number of heads.
        """
        key = f"model_config.{role}_checkpoint"
        if self.role != role:
            raise CheckpointError(f"{key}: {self.path} is the {self.role} of a fake-factor estimate, not its {role}.")
        ours = preprocessor.to_payload()
        remedy = f"Train the {role} again with this dataset_config, or use the one it was trained with."
        require_same_data(self.config["preprocessing"], ours, remedy, what=f"{key}: {self.path}")
        own = event_architecture(FakesArchitecture, self.config, self.path).n_heads
        if 1 < heads != own > 1:
            raise CheckpointError(
                f"{key}: {self.path} has {own} heads and the ratio {heads}, but head k of one learns from head k of "
                "the other. Give both the same architecture_config.ensemble.heads, or one of them a single head."
            )
