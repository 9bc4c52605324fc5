"""Collision events as batches: prepared once and held in memory, or streamed in chunks where they do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.config.paths import roots
from tabstar_lit.config.tree import nearest_names
from tabstar_lit.data.plans import SequentialPlan
from tabstar_lit.engine.data import DataModule
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.batch import EventBatch, Inputs
from tabstar_lit.families.hep.config import EventsDataset, EventSource
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.fitting import fit_preprocessor
from tabstar_lit.families.hep.preparation.plans import ChunkShuffledPlan, ShuffledPlan
from tabstar_lit.families.hep.preparation.preprocess import EventReader
from tabstar_lit.families.hep.preparation.resampling import Resampler, epoch_counts
from tabstar_lit.families.hep.preparation.selection import Selection, class_table, select
from tabstar_lit.families.hep.preparation.serving import (
    MIXED_CHUNKS,
    CachedEvents,
    StreamedEvents,
    bytes_per_event,
    chunk_rows,
)
from tabstar_lit.families.hep.preparation.split import SPLITS, require_classes, split_events
from tabstar_lit.families.hep.preparation.weights import (
    REMEDY,
    check_weights,
    class_weights,
    require_finite,
    require_positive_sums,
    require_weight,
    usable_weights,
)

TOY_EVENTS = "signal_toy.h5"
"""Name of the generated events below the data root."""

METRICS = (
    "but metrics are weighted by the file, with or without use_mc_weights, and need a positive sum of each class. If "
    "that of the whole class is positive (see `tabstar_lit data show`), give dataset_config.split a larger share or "
    f"another seed; else {REMEDY}"
)
"""Why held-out events need weights, and what to do."""

EXAMPLES = ("higgs_uci", "higgsml", "jets", "zee_probes")
"""Files of the shipped data sets: ``examples/events`` holds a conversion of the same name."""


class EventData(DataModule):
    """The events of a file as training, validation, test and calibration batches.

    Parameters
    ----------
    config : EventsDataset
        Which events, features, classes and weights.
    seed : int
        Seed of the experiment: fixes the order of training events and what a resampler draws.
    momenta : bool, default False
        Serve the momenta of objects, for pairwise features.
    bin_edges : bool, default False
        Measure quantile bins of the features, for piecewise-linear embeddings.

    Attributes
    ----------
    preprocessor : Preprocessor
        What was learned from the training events.
    inputs : Inputs
        What a network is built for.
    classes : tuple of str
        Names of the C classes in the order of their numbers.
    signal_index : int or tuple of int
        Number of the signal class; several where several classes are signal.
    output_dim : int
        Logits of a network: 1 for two classes, else C.
    spectators : tuple of str
        Columns carried along.
    units : dict of str to str
        Units of the columns that have one.
    class_weights : tuple of float
        Factor of each class in the loss.
    streamed : bool
        The events are read anew each epoch instead of being held in memory.

    Raises
    ------
    DataError
        The file cannot be read, lacks what the configuration names, a split lacks a class, or weights or features hold
        values that cannot be trained on.
    """

    def __init__(self, config: EventsDataset, *, seed: int, momenta: bool = False, bin_edges: bool = False) -> None:
        super().__init__(config.dataloader_kwargs.model_dump(exclude={"batch_size"}))
        if bin_edges and config.ple_bins is None:
            raise ConfigError(
                "dataset_config.ple_bins is null, but the architecture embeds features piecewise linearly between "
                "quantiles: give a number of bins such as 32."
            )
        self.config = config
        self.seed = seed
        file = open_events(config)
        selection = select(config, file)
        self.classes = tuple(selection.classes)
        self.spectators = selection.spectators
        self.units = file.units
        self._targets = class_table(selection.classes, file.classes)[file.labels()]
        self._rows = self._split(file)
        usable = self._usable_weights(file)
        self.class_weights = self._class_weights(usable)
        self.preprocessor = fit_preprocessor(
            config,
            file,
            selection,
            _mask(self._rows["train"], file.n_events),
            weights=usable if config.use_mc_weights else None,
            class_weights=self.class_weights,
            momenta=momenta,
            bins=config.ple_bins if bin_edges else None,
        )
        self._reader = EventReader(self.preprocessor, file)
        event_bytes = bytes_per_event(self.preprocessor, file)
        budget = int(config.max_memory_gb * 1e9)
        self.streamed = config.cache == "stream" or (config.cache == "auto" and event_bytes * file.n_events > budget)
        self._chunk_rows = chunk_rows(event_bytes, budget, config.dataloader_kwargs.batch_size)
        self._memory = None if self.streamed else self._load(file, budget)
        self._train_plan = self._plan()
        self._fingerprint = self._hash(file, selection)

    # -- what a network and its tracker are built for -----------------------------------------------------------------

    @property
    def inputs(self) -> Inputs:
        """What a network is built for."""
        return self.preprocessor.inputs

    @property
    def output_dim(self) -> int:
        """Logits of a network: the log-odds of the signal for two classes, else one for each."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def signal_index(self) -> int | tuple[int, ...]:
        """Number of the signal class, or of each of them."""
        numbers = tuple(self.classes.index(name) for name in self.preprocessor.signal)
        return numbers[0] if len(numbers) == 1 else numbers

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training events of each class."""
        return tuple(np.bincount(self._targets[self._rows["train"]], minlength=len(self.classes)).tolist())

    @property
    def fingerprint(self) -> str:
        """Hash of the events and of what of them is used."""
        return self._fingerprint

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to prepare new events: see :meth:`Preprocessor.from_payload`."""
        return self.preprocessor.to_payload()

    def require_scorable(self) -> None:
        """Refuse held-out events whose weights in the file no metric can use, whatever the loss uses.

        Raises
        ------
        DataError
            A weight is NaN or infinite, or those of a class in a split do not sum to more than 0.
        """
        path, weights = self._reader.file.path, self._reader.weights
        require_finite(np.where(self._targets < 0, 0.0, weights), str(path))
        for split in SPLITS[1:]:
            rows = self._rows[split]
            if len(rows):
                require_positive_sums(
                    weights[rows], self._targets[rows], self.classes, f"{path}: {split} split", METRICS
                )

    # -- batches ------------------------------------------------------------------------------------------------------

    def rows(self, split: str) -> Int64:
        """Return the rows of ``train``, ``val``, ``test`` or ``calib`` in the file, rising.

        Raises
        ------
        DataError
            The configuration gives that split no events.
        """
        rows = self._rows[split]
        if not len(rows):
            raise DataError(f"the {split} split has no events: give it a share in dataset_config.split.{split}.")
        return rows

    def train_plan(self) -> ShuffledPlan:
        """Return the plan of the training batches."""
        return self._train_plan

    def val_plan(self) -> SequentialPlan:
        """Return the plan of the validation batches: every event once."""
        return self.plan_of("val")

    def plan_of(self, split: str) -> SequentialPlan:
        """Return a plan that serves every event of a split once, in the order of the file."""
        return SequentialPlan([self.rows(split)], self.config.dataloader_kwargs.batch_size)

    def train_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves training batches."""
        return self._memory or StreamedEvents(self._reader, self._chunk_rows, keep=MIXED_CHUNKS)

    def val_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves all other batches."""
        return self._memory or StreamedEvents(self._reader, self._chunk_rows, keep=1)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share of the test events."""
        return self.split_dataloader("test")

    def split_dataloader(self, split: str) -> DataLoader[Any]:
        """Return the loader of this rank's share of a split, in the order of the file."""
        return self.loader(self.val_dataset(), self._sharded(self.plan_of(split)))

    # -- preparation --------------------------------------------------------------------------------------------------

    def _split(self, file: EventFile) -> dict[str, Int64]:
        split, folds = self.config.split, self.config.folds
        ids = file.group_ids() if split.by == "group" else file.event_ids()
        sides = split_events(ids, split, folds)
        asked = {"train", *(name for name in SPLITS[1:] if getattr(split, name) > 0)} | ({"test"} if folds else set())
        if self.config.use_mc_weights and self.config.negative_weights == "drop":
            dropped = (sides == 0) & (file.weights() < 0)
            self._targets = np.where(dropped, -1, self._targets)
        require_classes(sides, self._targets, self.classes, asked)
        return {name: np.flatnonzero((sides == i) & (self._targets >= 0)) for i, name in enumerate(SPLITS)}

    def _usable_weights(self, file: EventFile) -> Float64:
        if not self.config.use_mc_weights:
            return np.ones(file.n_events)
        if not file.has_weights:
            raise DataError(
                f"{file.path}: use_mc_weights is true, but the events have no weights. Convert them with 'weight', or "
                "set dataset_config.use_mc_weights: false."
            )
        weights = file.weights()
        check_weights(np.where(self._targets < 0, 0.0, weights), self.config.negative_weights, str(file.path))
        usable = usable_weights(weights, self.config.negative_weights)
        for split, rows in self._rows.items():
            if len(rows):
                require_weight(usable[rows], self._targets[rows], self.classes, f"{file.path}: {split} split")
        return usable

    def _class_weights(self, usable: Float64) -> tuple[float, ...]:
        if not self.config.use_class_weights:
            return (1.0,) * len(self.classes)
        train = self._rows["train"]
        factors = class_weights(
            usable[train], self._targets[train], len(self.classes), normalise=self.config.norm_class_weights
        )
        return tuple(factors.tolist())

    def _load(self, file: EventFile, budget: int) -> CachedEvents:
        block = self._reader.block(0, file.n_events)
        fits = bytes_per_event(self.preprocessor, file, padded=True) * file.n_events <= budget
        return CachedEvents(block.padded() if fits else block)

    def _plan(self) -> ShuffledPlan:
        options = self.config.dataset_kwargs
        rows = self._rows["train"]
        resampler = None
        if options.imbalanced_sampler is not None:
            targets = self._targets[rows]
            present = np.bincount(targets, minlength=len(self.classes))
            strategy = options.imbalanced_sampler_kwargs.sampling_strategy
            counts = epoch_counts(present, self.classes, options.imbalanced_sampler, strategy)
            resampler = Resampler(rows, targets, counts, seed=self.seed)
        batch_size = self.config.dataloader_kwargs.batch_size
        if not self.streamed:
            return ShuffledPlan(rows, batch_size, seed=self.seed, drop_last=options.drop_last, resampler=resampler)
        return ChunkShuffledPlan(
            rows,
            batch_size,
            seed=self.seed,
            chunk_rows=self._chunk_rows,
            mixed=MIXED_CHUNKS,
            drop_last=options.drop_last,
            resampler=resampler,
        )

    def _hash(self, file: EventFile, selection: Selection) -> str:
        used = [file.fingerprint, repr(selection), self.config.split.model_dump_json(), repr(self.config.folds)]
        return hashlib.sha256(json_text([*used, self.payload()]).encode()).hexdigest()


def events_path(config: EventSource) -> Path:
    """Return the file ``config.files`` means: as given, else below the data root; null is the toy."""
    if config.files is None:
        return roots().data / TOY_EVENTS
    path = Path(config.files).expanduser()
    below_root = roots().data / path
    return below_root if not path.exists() and below_root.exists() else path


def open_events(config: EventSource) -> EventFile:
    """Open the event file that ``config.files`` means.

    Raises
    ------
    DataError
        It is no usable event file, or not there: says where it was looked for, and what is there.
    """
    path = events_path(config)
    if config.files is not None and not path.exists():
        raise DataError(f"dataset_config.files: {path}: no such file{_searched(path)}. {_remedy(path)}")
    return EventFile.open(path)


def _searched(path: Path) -> str:
    if path.is_absolute():
        return ""
    return f", neither in the working directory, {Path.cwd()}, nor below the data root, {roots().data.absolute()}"


def _remedy(path: Path) -> str:
    """Return how to make the file of a shipped data set; for another one the nearest name there is, if any is near."""
    target = roots().data / path if path.parent == Path() else path
    if path.stem in EXAMPLES:
        return f"Make it with: tabstar_lit convert events examples/events/{path.stem}.yaml -o {target}"
    names = [found.name for folder in (path.parent, (roots().data / path).parent) for found in folder.glob("*.h5")]
    if near := nearest_names(path.name, sorted(names), n=1):
        return f"Did you mean '{path.with_name(near[0])}'?"
    return f"Make it with: tabstar_lit convert events CONFIG.yaml -o {target}"


def _mask(rows: Int64, n: int) -> Bool:
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask
