"""Events of a fake-factor estimate: four classes in the file, of which each stage serves those it tells apart."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tabstar_lit.arrays import Bool, Float32, Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.plans import RowBatch, SequentialPlan
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.config import EventsDataset, EventSource
from tabstar_lit.families.hep.data import EventData, open_events
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.config import FakesDataset, Role
from tabstar_lit.families.hep.fakes.factor.restore import Restored
from tabstar_lit.families.hep.fakes.subtraction import subtraction
from tabstar_lit.families.hep.fakes.training_config import FakesTraining
from tabstar_lit.families.hep.fakes.weights import HeadWeights, Sample, head_weights
from tabstar_lit.families.hep.preparation.selection import select
from tabstar_lit.families.hep.preparation.weights import check_weights, require_positive_sums

MODELS: Mapping[str, Role] = {"tight": "numerator", "loose": "denominator"}
"""Role of the model that says how much of a region is simulated."""
DENSITY = (
    "and a density needs a positive sum. Look at the weights with `tabstar_lit data show`, and convert the file with "
    "others."
)
"""Why events need weights, and what to do."""
FROZEN_BATCH = 8192
"""Events in a batch of the frozen models."""


class FakesData(EventData):
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
    models : mapping of str to Restored
        In the role ``ratio``: the model of each region, ``tight`` and ``loose``; without them nothing is subtracted.
    bin_edges : bool
        Measure quantile bins of the features, for piecewise-linear embeddings.

    Attributes
    ----------
    fakes : FakesDataset
        The configuration.
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
        models: Mapping[str, Restored] | None = None,
        bin_edges: bool = False,
    ) -> None:
        self.fakes, self.role = config, role
        file = open_events(config)
        super().__init__(as_events(config, file), seed=seed, bin_edges=bin_edges)
        self.sides = tuple(_side(name, role, use_data=config.use_data_in_ratio) for name in self.classes)
        self._rows = {
            split: rows[np.asarray(self.sides)[self._targets[rows]] >= 0] for split, rows in self._rows.items()
        }
        self._train_plan = self._plan()
        self._require_slices(file)
        sample = self._sample(file)
        factors = self._factors(models, heads, training.max_ratio) if models else None
        self.weights = head_weights(sample, training, heads=heads, seed=seed, factors=factors)
        self._fingerprint = self._stage_fingerprint()

    def train_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves training batches."""
        return WeightedEvents(super().train_dataset(), self.weights)

    def val_dataset(self) -> Dataset[EventBatch]:
        """Return the dataset that serves all other batches."""
        return WeightedEvents(super().val_dataset(), self.weights)

    # -- preparation --------------------------------------------------------------------------------------------------

    def _split(self, file: EventFile) -> dict[str, Int64]:
        """Leave out what the cuts exclude, then split the rest."""
        self._targets = np.where(kept_events(self.fakes, file), self._targets, -1)
        return super()._split(file)

    def _require_slices(self, file: EventFile) -> None:
        if not self.fakes.pt_slices:
            return
        rows = self._rows["train"]
        numbers = np.searchsorted(self.fakes.boundaries, file.column(self.fakes.pt_variable)[rows], side="right")
        for number, text in enumerate(self.fakes.pt_slices):
            present = self._targets[rows[numbers == number]]
            for target, name in enumerate(self.classes):
                if self.sides[target] >= 0 and not np.any(present == target):
                    raise DataError(
                        f"{file.path}: the slice '{text}' of {self.fakes.pt_variable} has no {name} events to train "
                        "on. Make dataset_config.pt_slices wider."
                    )

    def _sample(self, file: EventFile) -> Sample:
        weights = file.weights()
        check_weights(weights, "absolute", str(file.path))
        for split, rows in self._rows.items():
            if len(rows):
                where = f"{file.path}: {split} split"
                require_positive_sums(weights[rows], self._targets[rows], self.classes, where, DENSITY)
        training = np.zeros(file.n_events, dtype=bool)
        training[self._rows["train"]] = True
        simulated = np.array([*(name.endswith("mc") for name in self.classes), False])
        ids = file.group_ids() if self.config.split.by == "group" else file.event_ids()
        return Sample(weights, ids, training, simulated[self._targets])

    def _factors(self, models: Mapping[str, Restored], heads: int, max_ratio: float) -> Float32:
        """Return what each head multiplies the weight of an event by, ``[N, C]``."""
        largest = math.log(max_ratio)
        for region, role in MODELS.items():
            models[region].require(role, self.preprocessor, heads)
        factors = np.ones((len(self._targets), heads), dtype=np.float32)
        for region, model in models.items():
            number = self.classes.index(f"{region}_{'data' if self.fakes.use_data_in_ratio else 'mc'}")
            rows = np.flatnonzero(self._targets == number)
            for part, log_ratios in self._log_ratios(model, rows):
                is_data = torch.full((len(part),), self.fakes.use_data_in_ratio)
                bounded = log_ratios.clamp(-largest, largest)  # one event with 1/r out of bounds would outweigh all
                own = subtraction(bounded, torch.zeros_like(bounded), is_data).factors
                factors[part] = own.mean(1, keepdim=True) if heads == 1 else own
        return factors

    def _log_ratios(self, model: Restored, rows: Int64) -> Iterator[tuple[Int64, Tensor]]:
        """Yield what a trained model says of events, some at a time."""
        events = super().val_dataset()
        for key in SequentialPlan([rows], FROZEN_BATCH).batches(0):
            yield key.rows, model.log_ratios(events[key].features)

    def _stage_fingerprint(self) -> str:
        weights = hashlib.sha256(self.weights.loss.numpy().tobytes()).hexdigest()
        return hashlib.sha256(json.dumps([super().fingerprint, self.role, self.sides, weights]).encode()).hexdigest()


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


def as_events(config: FakesDataset, file: EventFile) -> EventsDataset:
    """Return the same data set in the words of a classifier: four classes, and every number carried along.

    Raises
    ------
    DataError
        A label or a column is not in the file.
    """
    classes = config.regions.classes(mc=config.subtract_mc)
    for name, labels in classes.items():
        region, _, kind = name.partition("_")
        for label in labels:
            _require(label, file.classes, f"regions.{region}.{kind}", f"{file.path}: no event is labelled")
    shared = {name: getattr(config, name) for name in EventSource.model_fields}
    plain = EventsDataset(**shared, classes=classes, signal="tight_data")
    features = select(plain, file).features
    gap = () if config.crack_veto is None else (config.crack_veto.variable,)
    for key, name in (("pt_variable", config.pt_variable), *(("crack_veto.variable", name) for name in gap)):
        _require(name, numbers_of(file, file.columns), key, f"{file.path}: no numerical column")
    spectators = [*config.spectators, *numbers_of(file, features[""]), config.pt_variable, *gap]
    named = [f"{block}.{name}" if block else name for block, names in features.items() for name in names]
    return plain.model_copy(update={"features": tuple(named), "spectators": tuple(dict.fromkeys(spectators))})


def numbers_of(file: EventFile, names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Return those of the columns ``names`` that hold numbers."""
    return [name for name in names if file.columns[name].kind == "numerical"]


def kept_events(config: FakesDataset, file: EventFile) -> Bool:
    """Return which events the cut on pt and the veto keep, ``[N]``."""
    kept = np.ones(file.n_events, dtype=bool)
    if config.pt_cut is not None:
        pt = file.column(config.pt_variable)
        kept &= (pt >= (-np.inf if config.pt_cut.min is None else config.pt_cut.min)) & (
            pt < (np.inf if config.pt_cut.max is None else config.pt_cut.max)
        )
    if config.crack_veto is not None:
        size = np.abs(file.column(config.crack_veto.variable))
        kept &= (size <= config.crack_veto.low) | (size >= config.crack_veto.high)
    return kept


def _side(name: str, role: Role, *, use_data: bool) -> int:
    """Return 1 for a class in the numerator of the ratio that a stage learns, 0 in its denominator, -1 for others."""
    region, _, kind = name.partition("_")
    if role == "ratio":
        return int(region == "tight") if (kind == "data") == use_data else -1
    return int(kind == "data") if (region == "tight") == (role == "numerator") else -1


def _require(name: str, known: Sequence[str], key: str, problem: str) -> None:
    if name not in known:
        raise DataError(f"dataset_config.{key}: {problem} '{name}'.{suggestion(name, list(known))}")
