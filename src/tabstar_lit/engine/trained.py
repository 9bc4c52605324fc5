"""A trained model out of a checkpoint alone: what ``tabstar_lit.load`` returns, and what the verbs work with."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.folders import folder_config
from tabstar_lit.engine.weights.loading import network_weights
from tabstar_lit.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trained(ABC):
    """A trained network and all that new data need to pass it.

    Attributes
    ----------
    path : Path
        The checkpoint.
    network : nn.Module
        In evaluation mode.
    config : Mapping
        What the checkpoint keeps beside the weights: plain values and tensors.
    """

    path: Path
    network: nn.Module
    config: Mapping[str, Any]

    @property
    def family(self) -> str:
        """Name of the family it is of."""
        return str(self.config["family"])

    @abstractmethod
    def predict(self, *data: Any, **options: Any) -> pd.DataFrame:
        """Return what the model says of data, a row for each of theirs.

        What the data may be, and which options there are, is the family's: it narrows this signature.
        """


class Stored(NamedTuple):
    """What a checkpoint keeps for prediction, and the weights ``[name, tensor]`` of its network."""

    config: dict[str, Any]
    weights: dict[str, Tensor]


def read_stored(path: Path, *, family: str, needed: Sequence[str]) -> Stored:
    """Read a checkpoint of a family.

    Parameters
    ----------
    path : Path
        The file.
    family : str
        Name of the family it must be of.
    needed : sequence of str
        What it must keep.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family, or of a release that kept less, or its weights are not finite.
    """
    content = read_checkpoint(path)
    config = kept_config(content)
    require_kept(config, path, family=family, needed=needed)
    weights = network_weights(content, path)
    broken = [name for name, weight in weights.items() if weight.is_floating_point() and not weight.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path}: {len(broken)} of {len(weights)} weights hold NaN or infinities, first '{broken[0]}': the "
            "training diverged. Take an earlier checkpoint of the run, or train with a lower learning rate."
        )
    return Stored(config, weights)


def require_kept(config: Mapping[str, Any], path: Path, *, family: str, needed: Sequence[str]) -> None:
    """Refuse what a checkpoint keeps where it is of another family, or lacks what is ``needed``.

    Raises
    ------
    CheckpointError
        It does.
    """
    if config.get("family") != family:
        own = config.get("family", "unknown")
        raise CheckpointError(f"{path} is a checkpoint of the family {own}, and one of the family {family} is needed.")
    missing = [key for key in needed if key not in config]
    if missing:
        raise CheckpointError(
            f"{path} keeps no {missing[0]}, so the model cannot be built from it alone: it is of an older release. "
            "Train again with this release, or go on using the one that wrote it."
        )


def kept_config(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the content of a checkpoint keeps beside the weights; nothing where it is somebody else's."""
    own = content.get(CHECKPOINT_KEY)
    payload = own.get("payload") if isinstance(own, dict) else None
    return dict(payload) if isinstance(payload, dict) else {}


def stored_architecture(kind: Any, plain: Mapping[str, Any], path: Path) -> Any:
    """Return the architecture that a checkpoint keeps, checked as one of a configuration is.

    Parameters
    ----------
    kind : type
        What its sections are: a class, or a union of them.
    plain : Mapping
        Its keys and values.
    path : Path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        This release does not know it.
    """
    try:
        return TypeAdapter[Any](kind).validate_json(json.dumps(plain))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise CheckpointError(
            f"{path} holds an architecture that this release does not know: {error.errors()[0]['msg']} at {place}. Use "
            "the release that wrote it."
        ) from error


def checkpoint_family(path: Path) -> str | None:
    """Return the name of the family a checkpoint is of; None for a file of somebody else.

    The ``config.json`` of a folder says it as ``model_type``.

    Raises
    ------
    CheckpointError
        The file cannot be read.
    """
    if path.is_dir():
        name = folder_config(path).get("model_type")
    else:
        name = kept_config(read_checkpoint(path, mmap=True)).get("family")
    return None if name is None else str(name)


def find_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is the accelerator there is, else the processor.

    Raises
    ------
    ConfigError
        There is no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0]} Use cpu, or leave it out.") from error
