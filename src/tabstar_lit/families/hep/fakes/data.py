"""Events of a fake-factor estimate: four classes in the file, of which each stage serves those it tells apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from tabstar_lit.arrays import Int64
from tabstar_lit.data.hdf5 import checksum
from tabstar_lit.data.plans import RowBatch, SequentialPlan
from tabstar_lit.engine.data import DataModule
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.events.location import open_events
from tabstar_lit.families.hep.fakes.config import FakesDataset, Role
from tabstar_lit.families.hep.fakes.factor.model import RatioModel
from tabstar_lit.families.hep.fakes.samples import require_slices, stage_sample, subtraction_factors
from tabstar_lit.families.hep.fakes.selection import as_events, kept_events
from tabstar_lit.families.hep.fakes.training_config import FakesTraining
from tabstar_lit.families.hep.fakes.weights import HeadWeights, head_weights, weights_settings
from tabstar_lit.families.hep.preparation.fingerprints import digest
from tabstar_lit.families.hep.preparation.plans import ShuffledPlan
from tabstar_lit.families.hep.preparation.prepared import Events, prepare_events

CUTS = ("pt_variable", "pt_cut", "crack_veto")
"""Settings that leave events out."""


class FakesData(DataModule):
    """The events one stage tells apart, with the weights of each head.

    All four classes are split, and prepared by a preprocessor that was fitted on all of their training events: it is
    the same in every stage, so that a trained model reads the batches of a later stage as they are.

    Parameters
    ----------
    config : FakesDataset
        The events.
    role : str
        The stage: numerator, denominator or ratio.
    seed : int
        Seed of the experiment.
    training : FakesTraining
        What makes weights of heads differ.
    heads : int
        Number of heads ``C``.
    models : mapping of str to RatioModel
        In the role ``ratio``: the model of each region, ``tight`` and ``loose``; without them nothing is subtracted.
    bin_edges : bool
        Measure quantile bins of the features, for piecewise-linear embeddings.

    Attributes
    ----------
    fakes : FakesDataset
        The configuration.
    events : Events
        What is served: in the splits are those of the two classes that the stage tells apart.
    preprocessor : Preprocessor
        What was learned from the training events of all classes.
    inputs : Inputs
        What a network is built for.
    classes : tuple of str
        Names of the classes in the order of their numbers.
    spectators : tuple of str
        Columns carried along.
    units : dict of str to str
        Units of the columns that have one.
    sides : tuple of int
        For each class 1 if its events are the numerator of this stage's ratio, 0 if the denominator, -1 if neither.
    weights : HeadWeights
        Of all events.

    Raises
    ------
    DataError
        The file lacks labels or columns, a class has no events or no weight, a slice of pt has no events.
    CheckpointError
        A trained model does not belong to these events.
    """

    def __init__(
        self,
        config: FakesDataset,
        *,
        role: Role,
        seed: int,
        training: FakesTraining,
        heads: int = 1,
        models: Mapping[str, RatioModel] | None = None,
        bin_edges: bool = False,
    ) -> None:
        super().__init__(config.dataloader_kwargs.model_dump(exclude={"batch_size"}))
        self.fakes, self.role = config, role
        whole = _prepare(config, bin_edges)
        self.sides = tuple(_side(name, role, use_data=config.use_data_in_ratio) for name in whole.classes)
        self.events = whole.of_classes(np.asarray(self.sides) >= 0)
        self.preprocessor, self.inputs, self.classes = whole.preprocessor, whole.inputs, whole.classes
        self.spectators, self.units = whole.selection.spectators, whole.file.units
        self._train_plan = self.events.training_plan(seed)
        require_slices(config, self.events, self.sides)
        sample = stage_sample(self.events)
        factors = subtraction_factors(config, self.events, models, heads, training.max_ratio) if models else None
        self.weights = head_weights(sample, training, heads=heads, seed=seed, factors=factors)
        self._weighed_by = weights_settings(training, heads=heads, seed=seed)
        if models:  # of their weights, as the ratios that a processor computes with them are not quite those of another
            checksums = {region: checksum(model.weights) for region, model in models.items()}
            self._weighed_by |= {"models": checksums, "max_ratio": training.max_ratio}

    @property
    def fingerprint(self) -> str:
        """Hash of the events, of what of them is used, and of what their weights in this stage are made of."""
        cuts = self.fakes.model_dump(mode="json", include=set(CUTS))
        return digest([self.events.fingerprint, cuts, self.role, self.sides, self._weighed_by])

    @property
    def earlier_fingerprints(self) -> tuple[str, ...]:
        """That of releases in which the weights themselves took part."""
        weights = hashlib.sha256(self.weights.loss.numpy().tobytes()).hexdigest()
        stage = [self.events.earlier_fingerprint, self.role, self.sides, weights]
        return (hashlib.sha256(json.dumps(stage).encode()).hexdigest(),)

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to prepare new events."""
        return self.events.payload()

    def rows(self, split: str) -> Int64:
        """Return the rows of ``train``, ``val``, ``test`` or ``calib`` in the file: see :meth:`Events.rows`."""
        return self.events.rows(split)

    def train_plan(self) -> ShuffledPlan:
        """Return the plan of the training batches."""
        return self._train_plan

    def val_plan(self) -> SequentialPlan:
        """Return the plan of the validation batches: every event once."""
        return self.events.plan_of("val")

    def train_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves training batches."""
        return WeightedEvents(self.events.dataset(shuffled=True), self.weights)

    def val_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves all other batches."""
        return WeightedEvents(self.events.dataset(shuffled=False), self.weights)

    @property
    def test_side(self) -> str:
        """Return ``test``: these families have rows for it."""
        return "test"

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share of the test events."""
        return self.split_dataloader("test")

    def split_dataloader(self, split: str) -> DataLoader[Any]:
        """Return the loader of this rank's share of a split, in the order of the file."""
        return self.loader(self.val_dataset(), self._sharded(self.events.plan_of(split)))


class WeightedEvents(Dataset[EventBatch]):
    """Events with the weights of a stage.

    Parameters
    ----------
    events : Dataset
        Serves the events of row numbers.
    weights : HeadWeights
        By row number.
    """

    def __init__(self, events: Dataset[EventBatch], weights: HeadWeights) -> None:
        self._events, self._weights = events, weights

    def __getitem__(self, key: RowBatch) -> EventBatch:
        """Return a batch whose loss weights are ``[B, C]``, those of each head."""
        batch = self._events[key]
        return batch._replace(
            loss_weights=self._weights.loss.index_select(0, batch.rows),
            event_weights=self._weights.events.index_select(0, batch.rows),
        )


def _prepare(config: FakesDataset, bin_edges: bool) -> Events:
    """Leave out what the cuts exclude, then split and prepare the rest, all classes alike."""
    file = open_events(config)
    plain = as_events(config, file)
    return prepare_events(plain, file, kept=kept_events(config, file), bin_edges=bin_edges)


def _side(name: str, role: Role, *, use_data: bool) -> int:
    """Return 1 for a class in the numerator of the ratio that a stage learns, 0 in its denominator, -1 for others."""
    region, _, kind = name.partition("_")
    if role == "ratio":
        return int(region == "tight") if (kind == "data") == use_data else -1
    return int(kind == "data") if (region == "tight") == (role == "numerator") else -1
