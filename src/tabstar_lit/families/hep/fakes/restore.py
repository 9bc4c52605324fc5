"""A trained density-ratio model out of a checkpoint alone: network, link and preprocessing, without any YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tabstar_lit.engine.weights.files import read_checkpoint
from tabstar_lit.engine.weights.loading import load_strict, network_weights
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.deployment.stored import stored_architecture, stored_payload
from tabstar_lit.families.hep.fakes.architecture import FakesArchitecture
from tabstar_lit.families.hep.fakes.config import FakesDataset, Role
from tabstar_lit.families.hep.fakes.losses import loss_of
from tabstar_lit.families.hep.fakes.network import FakesNetwork, network_of
from tabstar_lit.families.hep.preparation.agreement import require_same_data
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.losses.density_ratio import RatioLoss

NEEDED = ("role", "loss", "architecture_config", "preprocessing", "dataset_config")


@dataclass(frozen=True)
class Restored:
    """A trained model and all that new events need to pass it.

    Attributes
    ----------
    path : Path
        The checkpoint.
    network : FakesNetwork
        In evaluation mode on the CPU, from features to outputs ``[B, C]``.
    loss : RatioLoss
        Its link makes log-ratios of them.
    preprocessor : Preprocessor
        From an event file to features.
    payload : dict
        What the checkpoint keeps beside the weights.
    """

    path: Path
    network: FakesNetwork
    loss: RatioLoss
    preprocessor: Preprocessor
    payload: dict[str, Any]

    @property
    def role(self) -> Role:
        """What its ratio is: numerator, denominator or ratio."""
        role: Role = self.payload["role"]
        return role

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the columns that were carried along, in the file's units."""
        return self.preprocessor.spectators

    @property
    def dataset(self) -> FakesDataset:
        """Events it was trained on: file, regions, split, cuts; all else has its default."""
        return FakesDataset.model_validate_json(json.dumps(self.payload["dataset_config"]))

    def log_ratios(self, events: EventBatch | Features) -> Tensor:
        """Return the logarithm of the ratio for each head, ``[B, C]`` float32, without gradients."""
        features = events.features if isinstance(events, EventBatch) else events
        with torch.inference_mode():
            return self.loss.log_ratio(self.network(features).float())

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
        require_same_data(self.payload["preprocessing"], ours, remedy, what=f"{key}: {self.path}")
        own = stored_architecture(FakesArchitecture, self.payload, self.path).n_heads
        if 1 < heads != own > 1:
            raise CheckpointError(
                f"{key}: {self.path} has {own} heads and the ratio {heads}, but head k of one learns from head k of "
                "the other. Give both the same architecture_config.ensemble.heads, or one of them a single head."
            )


def restore(path: Path) -> Restored:
    """Rebuild the model of a stage.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_fakes``.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    content = read_checkpoint(path)
    payload = _payload(content, path)
    preprocessor = Preprocessor.from_payload(payload["preprocessing"])
    dataset = FakesDataset.model_validate_json(json.dumps(payload["dataset_config"]))
    network = network_of(stored_architecture(FakesArchitecture, payload, path), preprocessor, dataset)
    load_strict(network, network_weights(content, path), strict=True, source=str(path))
    return Restored(path, network.eval(), loss_of(payload["loss"], payload["role"]), preprocessor, payload)


def _payload(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    payload = stored_payload(content)
    if payload.get("family") != "fakes" or any(key not in payload for key in NEEDED):
        raise CheckpointError(
            f"{path} is no checkpoint of train_fakes of this release (its family: {payload.get('family', 'unknown')}). "
            "Give one of a stage: `tabstar_lit runs show` lists them."
        )
    return payload
