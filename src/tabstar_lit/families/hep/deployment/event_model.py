"""What trained models of collision events share: the preparation of new events, and the splits of the training."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tabstar_lit.arrays import Int64
from tabstar_lit.engine.trained import Trained, stored_architecture
from tabstar_lit.families.hep.architecture.before import of_today
from tabstar_lit.families.hep.config import EventSource
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.families.hep.preparation.split import rows_of

PLAIN: Mapping[str, object] = {"compile": False, "sdp_backend": None}
"""What a restored network leaves to torch, where its architecture has the key."""

S = TypeVar("S", bound=EventSource)


@dataclass(frozen=True)
class EventModel(Trained):
    """A trained network of events and all that new events need to pass it.

    Attributes
    ----------
    preprocessor : Preprocessor
        From an event file to features.
    """

    preprocessor: Preprocessor

    @property
    @abstractmethod
    def dataset(self) -> EventSource:
        """Events it was trained on, as far as the checkpoint keeps them; all else has its default."""

    def rows(self, file: EventFile, split: str | None) -> Int64:
        """Return the rows of a split, by the rule of the training; all rows for None.

        Raises
        ------
        DataError
            There is no such split, or it has no events.
        """
        return rows_of(file, split, self.dataset.split, self.dataset.folds, self.path)


def stored_dataset(kind: type[S], config: Mapping[str, Any]) -> S:
    """Return the ``dataset_config`` that a checkpoint keeps."""
    return kind.model_validate_json(json.dumps(config["dataset_config"]))


def event_architecture(kind: Any, config: Mapping[str, Any], path: Path) -> Any:
    """Return the architecture that a checkpoint keeps, uncompiled.

    Few batches do not pay for compiling, and an exporter wants it plain. Nor is it bound to the attention kernels of
    the machine it was trained on. See :func:`tabstar_lit.engine.trained.stored_architecture`.
    """
    plain = _plain(of_today(config["architecture_config"]))
    if plain.get("flat_model"):
        plain["flat_model"] = _plain(plain["flat_model"])
    return stored_architecture(kind, plain, path)


def _plain(architecture: Mapping[str, Any]) -> dict[str, Any]:
    return {**architecture, **{key: value for key, value in PLAIN.items() if key in architecture}}
