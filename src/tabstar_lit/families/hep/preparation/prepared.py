"""The events of a file that a training uses: of which class, on which side of the split, and how they are prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.data.plans import SequentialPlan
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.batch import EventBatch, Inputs
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.fingerprints import earlier_fingerprint_of, fingerprint_of
from tabstar_lit.families.hep.preparation.fitting import fit_preprocessor
from tabstar_lit.families.hep.preparation.plans import Buckets, ChunkShuffledPlan, ShuffledPlan
from tabstar_lit.families.hep.preparation.preprocess import EventReader, Preprocessor
from tabstar_lit.families.hep.preparation.resampling import Resampler, epoch_counts
from tabstar_lit.families.hep.preparation.selection import Selection, class_table, select
from tabstar_lit.families.hep.preparation.serving import MIXED_CHUNKS, EventStore
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

METRICS = (
    "but metrics are weighted by the file, with or without use_mc_weights, and need a positive sum of each class. If "
    "that of the whole class is positive (see `tabstar_lit data show`), give dataset_config.split a larger share or "
    f"another seed; else {REMEDY}"
)
"""Why held-out events need weights, and what to do."""


@dataclass(frozen=True)
class Events:
    """``N`` events of a file with their classes, splits and preparation; see :func:`prepare_events`.

    Attributes
    ----------
    config : EventsDataset
        Which events, features, classes and weights.
    selection : Selection
        What its names and patterns stand for.
    targets : ndarray of int64
        ``[N]`` class numbers; -1 for events that are left out.
    split_rows : mapping of str to ndarray of int64
        Rows of ``train``, ``val``, ``test`` and ``calib``, rising.
    store : EventStore
        Serves them from memory or from the file.
    """

    config: EventsDataset
    selection: Selection
    targets: Int64
    split_rows: Mapping[str, Int64]
    store: EventStore

    # -- what a network and its tracker are built for -----------------------------------------------------------------

    @property
    def file(self) -> EventFile:
        """The file."""
        return self.store.reader.file

    @property
    def preprocessor(self) -> Preprocessor:
        """What was learned from the training events."""
        return self.store.reader.preprocessor

    @property
    def inputs(self) -> Inputs:
        """What a network is built for."""
        return self.preprocessor.inputs

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes in the order of their numbers."""
        return tuple(self.selection.classes)

    @property
    def output_dim(self) -> int:
        """Logits of a network: the log-odds of the signal for two classes, else one for each."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def signal_index(self) -> int | tuple[int, ...]:
        """Number of the signal class; several where several classes are signal."""
        numbers = tuple(self.classes.index(name) for name in self.preprocessor.signal)
        return numbers[0] if len(numbers) == 1 else numbers

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training events of each class."""
        return tuple(np.bincount(self.targets[self.split_rows["train"]], minlength=len(self.classes)).tolist())

    @property
    def fingerprint(self) -> str:
        """Hash of the events and of what of them is used."""
        return fingerprint_of(self.file, self.config, self.selection, self.preprocessor)

    @property
    def earlier_fingerprint(self) -> str:
        """The same as earlier releases recorded it."""
        return earlier_fingerprint_of(self.file, self.config, self.selection, self.preprocessor)

    # -- batches ------------------------------------------------------------------------------------------------------

    def rows(self, split: str) -> Int64:
        """Return the rows of ``train``, ``val``, ``test`` or ``calib`` in the file, rising.

        Raises
        ------
        DataError
            The configuration gives that split no events.
        """
        rows = self.split_rows[split]
        if not len(rows):
            raise DataError(f"the {split} split has no events: give it a share in dataset_config.split.{split}.")
        return rows

    def of_classes(self, chosen: Bool) -> Events:
        """Return the same preparation with the events of some classes in the splits: ``chosen`` is ``[C]``."""
        rows = {split: rows[chosen[self.targets[rows]]] for split, rows in self.split_rows.items()}
        return replace(self, split_rows=rows)

    def plan_of(self, split: str) -> SequentialPlan:
        """Return a plan that serves every event of a split once, in the order of the file."""
        return SequentialPlan([self.rows(split)], self.config.dataloader_kwargs.batch_size)

    def training_plan(self, seed: int) -> ShuffledPlan:
        """Return the plan of the training batches; ``seed`` fixes their order and what a resampler draws.

        Raises
        ------
        DataError
            An epoch has no batch, or the resampler cannot draw what it is asked for.
        """
        rows, options = self.split_rows["train"], self.config.dataset_kwargs
        batch_size, resampler = self.config.dataloader_kwargs.batch_size, self._resampler(seed)
        trim, batches = self.store.trim, options.bucket_batches
        more: dict[str, Any] = {
            "seed": seed,
            "drop_last": options.drop_last,
            "resampler": resampler,
            "buckets": None if trim is None or batches is None else Buckets(trim, batches),
        }
        if not self.store.streamed:
            return ShuffledPlan(rows, batch_size, **more)
        return ChunkShuffledPlan(rows, batch_size, chunk_rows=self.store.chunk_rows, mixed=MIXED_CHUNKS, **more)

    def dataset(self, *, shuffled: bool) -> Dataset[EventBatch]:
        """Return what makes batches of the keys of a plan: of the training plan, or of one in the file's order."""
        return self.store.dataset(shuffled=shuffled)

    def some(self, split: str, n_events: int) -> Iterator[EventBatch]:
        """Yield whole batches of about so many events, evenly spaced over a split; none of a file that is streamed."""
        if self.store.streamed:
            return
        rows, size = self.rows(split), self.config.dataloader_kwargs.batch_size
        count = min(len(rows), max(size, n_events // size * size))
        chosen = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
        served = self.dataset(shuffled=False)
        for key in SequentialPlan([chosen], size).batches(0):
            yield served[key]

    def require_scorable(self) -> None:
        """Refuse held-out events whose weights in the file no metric can use, whatever the loss uses.

        Raises
        ------
        DataError
            A weight is NaN or infinite, or those of a class in a split do not sum to more than 0.
        """
        path, weights = self.file.path, self.store.reader.weights
        require_finite(np.where(self.targets < 0, 0.0, weights), str(path))
        for split in SPLITS[1:]:
            rows = self.split_rows[split]
            if len(rows):
                where = f"{path}: {split} split"
                require_positive_sums(weights[rows], self.targets[rows], self.classes, where, METRICS)

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to prepare new events: see :meth:`Preprocessor.from_payload`."""
        return self.preprocessor.to_payload()

    def _resampler(self, seed: int) -> Resampler | None:
        options, rows = self.config.dataset_kwargs, self.split_rows["train"]
        if options.imbalanced_sampler is None:
            return None
        strategy = options.imbalanced_sampler_kwargs.sampling_strategy
        counts = epoch_counts(np.array(self.class_counts), self.classes, options.imbalanced_sampler, strategy)
        return Resampler(rows, self.targets[rows], counts, seed=seed)


def prepare_events(
    config: EventsDataset,
    file: EventFile,
    *,
    kept: Bool | None = None,
    momenta: bool | tuple[str, ...] = False,
    bin_edges: bool = False,
) -> Events:
    """Select, split, weigh and prepare the events of a file, and read them into memory where they fit.

    Parameters
    ----------
    config : EventsDataset
        Which events, features, classes and weights.
    file : EventFile
        The events.
    kept : ndarray of bool, optional
        ``[N]``: the others are left out.
    momenta : bool or tuple of str, default False
        Serve the momenta of objects, for pairwise features: of all types, or of these.
    bin_edges : bool, default False
        Measure quantile bins of the features, for piecewise-linear embeddings.

    Raises
    ------
    ConfigError
        Bins are wanted, and the configuration has no number of them.
    DataError
        The file lacks what the configuration names, a split lacks a class, or weights or features hold values that
        cannot be trained on.
    """
    _require_bins(config, bin_edges)
    selection = select(config, file)
    targets = class_table(selection.classes, file.classes)[file.labels()]
    targets, rows = _split(config, file, targets if kept is None else np.where(kept, targets, -1), selection)
    usable = _usable(config, file, targets, rows, selection)
    training = np.zeros(file.n_events, dtype=bool)
    training[rows["train"]] = True
    preprocessor = fit_preprocessor(
        config,
        file,
        selection,
        training,
        weights=usable if config.use_mc_weights else None,
        class_weights=_class_weights(config, usable[rows["train"]], targets[rows["train"]], len(selection.classes)),
        momenta=momenta,
        bins=config.ple_bins if bin_edges else None,
    )
    return Events(config, selection, targets, rows, EventStore(EventReader(preprocessor, file), config))


def _require_bins(config: EventsDataset, bin_edges: bool) -> None:
    if bin_edges and config.ple_bins is None:
        raise ConfigError(
            "dataset_config.ple_bins is null, but the architecture embeds features piecewise linearly between "
            "quantiles: give a number of bins such as 32."
        )


def _split(
    config: EventsDataset, file: EventFile, targets: Int64, selection: Selection
) -> tuple[Int64, dict[str, Int64]]:
    """Return targets, without the training events that a negative weight drops, and the rows of each split."""
    split, folds = config.split, config.folds
    sides = split_events(file.group_ids() if split.by == "group" else file.event_ids(), split, folds)
    if config.use_mc_weights and config.negative_weights == "drop":
        targets = np.where((sides == 0) & (file.weights() < 0), -1, targets)
    asked = {"train", *(name for name in SPLITS[1:] if getattr(split, name) > 0)} | ({"test"} if folds else set())
    require_classes(sides, targets, tuple(selection.classes), asked)
    return targets, {name: np.flatnonzero((sides == i) & (targets >= 0)) for i, name in enumerate(SPLITS)}


def _usable(
    config: EventsDataset, file: EventFile, targets: Int64, rows: Mapping[str, Int64], selection: Selection
) -> Float64:
    """Return the weights ``[N]`` that scalers and the loss take; ones where they take none."""
    if not config.use_mc_weights:
        return np.ones(file.n_events)
    if not file.has_weights:
        raise DataError(
            f"{file.path}: use_mc_weights is true, but the events have no weights. Convert them with 'weight', or "
            "set dataset_config.use_mc_weights: false."
        )
    weights = file.weights()
    check_weights(np.where(targets < 0, 0.0, weights), config.negative_weights, str(file.path))
    usable = usable_weights(weights, config.negative_weights)
    for split, own in rows.items():
        if len(own):
            require_weight(usable[own], targets[own], tuple(selection.classes), f"{file.path}: {split} split")
    return usable


def _class_weights(config: EventsDataset, weights: Float64, targets: Int64, n_classes: int) -> tuple[float, ...]:
    if not config.use_class_weights:
        return (1.0,) * n_classes
    return tuple(class_weights(weights, targets, n_classes, normalise=config.norm_class_weights).tolist())
