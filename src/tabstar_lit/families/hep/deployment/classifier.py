"""A trained classifier as prediction, calibration and export see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.deployment.event_model import EventModel, stored_dataset

BATCH_SIZE = 1024


@dataclass(frozen=True)
class Classifier(EventModel):
    """A trained network from features to logits ``[B, K]``, calibrated if the checkpoint is; on the CPU at first."""

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
        return stored_dataset(EventsDataset, self.config)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class ``[B, C]`` from logits ``[B, K]``."""
        if logits.shape[1] > 1:
            return logits.softmax(dim=1)
        both = torch.cat([-logits, logits] if self.signal == 1 else [logits, -logits], dim=1)
        return both.sigmoid()
