"""A trained classifier out of a checkpoint alone: network, calibration and preprocessing, without any YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tabstar_lit.engine.weights.files import read_checkpoint
from tabstar_lit.engine.weights.loading import load_strict, network_weights
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.deployment.stored import stored_architecture, stored_payload
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.networks.calibrated import calibrated
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.families.hep.preparation.split import rows_of

NEEDED = ("architecture_config", "output_dim", "preprocessing", "dataset_config")


@dataclass(frozen=True)
class Classifier:
    """A trained network and all that new events need to pass it.

    Attributes
    ----------
    path : Path
        The checkpoint.
    network : nn.Module
        In evaluation mode on the CPU, from features to logits ``[B, K]``; calibrated if the checkpoint is.
    preprocessor : Preprocessor
        From an event file to features.
    payload : dict
        What the checkpoint keeps beside the weights.
    """

    path: Path
    network: nn.Module
    preprocessor: Preprocessor
    payload: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ``C`` classes in the order of their numbers."""
        return tuple(self.preprocessor.classes)

    @property
    def signal(self) -> int:
        """Number of the class whose log-odds a single logit is."""
        return self.classes.index(self.preprocessor.signal[0])

    @property
    def dataset(self) -> EventsDataset:
        """Name, file, split and folds of the events it was trained on; all else has its default."""
        return EventsDataset.model_validate_json(json.dumps(self.payload["dataset_config"]))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class ``[B, C]`` from logits ``[B, K]``."""
        if logits.shape[1] > 1:
            return logits.softmax(dim=1)
        both = torch.cat([-logits, logits] if self.signal == 1 else [logits, -logits], dim=1)
        return both.sigmoid()

    def rows(self, file: EventFile, split: str | None) -> npt.NDArray[np.int64]:
        """Return the rows of a split, by the rule of the training; all rows for None.

        Raises
        ------
        DataError
            There is no such split, or it has no events.
        """
        return rows_of(file, split, self.dataset.split, self.dataset.folds, self.path)


def restore(path: Path, *, as_trained: bool = False) -> Classifier:
    """Rebuild a classifier.

    Parameters
    ----------
    path : Path
        A checkpoint of a run, or a calibrated one.
    as_trained : bool, default False
        Leave its calibration out.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    content = read_checkpoint(path)
    payload = payload_of(content, path)
    preprocessor = Preprocessor.from_payload(payload["preprocessing"])
    weights = network_weights(content, path)
    architecture = stored_architecture(SignalArchitecture, payload, path)
    network = build_network(architecture, preprocessor.inputs, payload["output_dim"], state=weights)
    load_strict(network, weights, strict=True, source=str(path))
    network = network if as_trained else calibrated(network, payload)
    return Classifier(path, network.eval(), preprocessor, payload)


def payload_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what a checkpoint of an event classifier keeps beside the weights.

    Raises
    ------
    CheckpointError
        It is none, or of an older release.
    """
    payload = stored_payload(content)
    missing = [key for key in NEEDED if key not in payload]
    if missing:
        raise CheckpointError(
            f"{path} keeps no {missing[0]}: it is not of an event classifier, or of an older release. Give a "
            "checkpoint of train_signal, trained with this release."
        )
    return payload
