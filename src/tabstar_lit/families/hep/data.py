"""Collision events as batches of a classifier: prepared once and held in memory, or streamed where they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import SequentialPlan
from tabstar_lit.engine.data import DataModule
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.location import open_events
from tabstar_lit.families.hep.preparation.plans import ShuffledPlan
from tabstar_lit.families.hep.preparation.prepared import prepare_events

SOME_EVENTS = 5000
"""Training events that are scored again for a figure."""


class EventData(DataModule):
    """The events of a file as training, validation, test and calibration batches.

    Parameters
    ----------
    config : EventsDataset
        Which events, features, classes and weights.
    seed : int
        Seed of the experiment: fixes the order of training events and what a resampler draws.
    momenta : bool or tuple of str, default False
        Serve the momenta of objects, for pairwise features: of all types, or of these.
    bin_edges : bool, default False
        Measure quantile bins of the features, for piecewise-linear embeddings.

    Attributes
    ----------
    events : Events
        What is served.
    preprocessor : Preprocessor
        What was learned from the training events.
    inputs : Inputs
        What a network is built for.
    classes : tuple of str
        Names of the C classes in the order of their numbers.
    class_counts : tuple of int
        Training events of each class.
    class_weights : tuple of float
        Factor of each class in the loss.
    signal_index : int or tuple of int
        Number of the signal class; several where several classes are signal.
    output_dim : int
        Logits of a network: 1 for two classes, else C.
    spectators : tuple of str
        Columns carried along.
    units : dict of str to str
        Units of the columns that have one.
    streamed : bool
        The events are read anew each epoch instead of being held in memory.

    Raises
    ------
    DataError
        The file cannot be read, lacks what the configuration names, a split lacks a class, or weights or features hold
        values that cannot be trained on.
    """

    def __init__(
        self, config: EventsDataset, *, seed: int, momenta: bool | tuple[str, ...] = False, bin_edges: bool = False
    ) -> None:
        super().__init__(config.dataloader_kwargs.model_dump(exclude={"batch_size"}))
        self.config = config
        self.events = prepare_events(config, open_events(config), momenta=momenta, bin_edges=bin_edges)
        self.preprocessor, self.inputs = self.events.preprocessor, self.events.inputs
        self.classes, self.class_counts = self.events.classes, self.events.class_counts
        self.class_weights = self.preprocessor.class_weights
        self.signal_index, self.output_dim = self.events.signal_index, self.events.output_dim
        self.spectators, self.units = self.events.selection.spectators, self.events.file.units
        self.streamed = self.events.store.streamed
        self._train_plan = self.events.training_plan(seed)

    @property
    def fingerprint(self) -> str:
        """Hash of the events and of what of them is used."""
        return self.events.fingerprint

    @property
    def earlier_fingerprints(self) -> tuple[str, ...]:
        """That of releases in which all that was learned of the events took part."""
        return (self.events.earlier_fingerprint,)

    @property
    def about(self) -> str:
        """Which class is signal, and how many events of each train."""
        counts = ", ".join(f"{name} {count}" for name, count in zip(self.classes, self.class_counts, strict=True))
        return f"signal is {' and '.join(self.preprocessor.signal)}; training events: {counts}"

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to prepare new events."""
        return self.events.payload()

    def require_scorable(self) -> None:
        """Refuse held-out events whose weights no metric can use: see :meth:`Events.require_scorable`."""
        self.events.require_scorable()

    def rows(self, split: str) -> Int64:
        """Return the rows of ``train``, ``val``, ``test`` or ``calib`` in the file: see :meth:`Events.rows`."""
        return self.events.rows(split)

    def some(self, split: str) -> Iterator[EventBatch]:
        """Yield batches of about :data:`SOME_EVENTS` events of a split, for figures; none when streaming."""
        return self.events.some(split, SOME_EVENTS)

    def train_plan(self) -> ShuffledPlan:
        """Return the plan of the training batches."""
        return self._train_plan

    def val_plan(self) -> SequentialPlan:
        """Return the plan of the validation batches: every event once."""
        return self.events.plan_of("val")

    def train_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves training batches."""
        return self.events.dataset(shuffled=True)

    def val_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves all other batches."""
        return self.events.dataset(shuffled=False)

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
