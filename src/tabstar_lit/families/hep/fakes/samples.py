"""The events of a stage as samples: what each weighs, and what the trained models of the regions make of that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float32, Int64
from tabstar_lit.data.plans import SequentialPlan
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.fakes.config import FakesDataset, Role
from tabstar_lit.families.hep.fakes.factor.restore import Restored
from tabstar_lit.families.hep.fakes.subtraction import subtraction
from tabstar_lit.families.hep.fakes.weights import Sample
from tabstar_lit.families.hep.preparation.prepared import Events
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


def require_slices(config: FakesDataset, events: Events, sides: Sequence[int]) -> None:
    """Refuse slices of pt in which the stage has nothing to tell apart.

    Parameters
    ----------
    config : FakesDataset
        Its slices.
    events : Events
        Of the stage.
    sides : sequence of int
        For each class -1 if the stage does not need it.

    Raises
    ------
    DataError
        Names a slice, and the class without training events in it.
    """
    if not config.pt_slices:
        return
    rows = events.split_rows["train"]
    numbers = np.searchsorted(config.boundaries, events.file.column(config.pt_variable)[rows], side="right")
    for number, text in enumerate(config.pt_slices):
        present = events.targets[rows[numbers == number]]
        for target, name in enumerate(events.classes):
            if sides[target] >= 0 and not np.any(present == target):
                raise DataError(
                    f"{events.file.path}: the slice '{text}' of {config.pt_variable} has no {name} events to train on. "
                    "Make dataset_config.pt_slices wider."
                )


def stage_sample(events: Events) -> Sample:
    """Return all events of the file with their signed weights, those of the stage marked.

    Raises
    ------
    DataError
        A weight is not finite, or those of a class in a split do not sum to more than 0.
    """
    file, weights = events.file, events.file.weights()
    check_weights(weights, "absolute", str(file.path))
    for split, rows in events.split_rows.items():
        if len(rows):
            where = f"{file.path}: {split} split"
            require_positive_sums(weights[rows], events.targets[rows], events.classes, where, DENSITY)
    training = np.zeros(file.n_events, dtype=bool)
    training[events.split_rows["train"]] = True
    simulated = np.array([*(name.endswith("mc") for name in events.classes), False])
    ids = file.group_ids() if events.config.split.by == "group" else file.event_ids()
    return Sample(weights, ids, training, simulated[events.targets])


def subtraction_factors(
    config: FakesDataset, events: Events, models: Mapping[str, Restored], heads: int, max_ratio: float
) -> Float32:
    """Return what each head multiplies the weight of an event by to subtract simulation.

    Parameters
    ----------
    config : FakesDataset
        Whether data or simulated events are weighted.
    events : Events
        ``N`` events, of all stages.
    models : mapping of str to Restored
        That of each region, ``tight`` and ``loose``.
    heads : int
        Number of heads ``C``; a model of several weighs for each by its own, for a single head by their mean.
    max_ratio : float
        Ratios are bounded by it, and by its inverse.

    Returns
    -------
    ndarray of float32
        ``[N, C]``.

    Raises
    ------
    CheckpointError
        A trained model does not belong to these events.
    """
    largest = math.log(max_ratio)
    for region, role in MODELS.items():
        models[region].require(role, events.preprocessor, heads)
    factors = np.ones((len(events.targets), heads), dtype=np.float32)
    for region, model in models.items():
        number = events.classes.index(f"{region}_{'data' if config.use_data_in_ratio else 'mc'}")
        for part, log_ratios in _log_ratios(model, events, np.flatnonzero(events.targets == number)):
            is_data = torch.full((len(part),), config.use_data_in_ratio)
            bounded = log_ratios.clamp(-largest, largest)  # one event with 1/r out of bounds would outweigh all
            own = subtraction(bounded, torch.zeros_like(bounded), is_data).factors
            factors[part] = own.mean(1, keepdim=True) if heads == 1 else own
    return factors


def _log_ratios(model: Restored, events: Events, rows: Int64) -> Iterator[tuple[Int64, Tensor]]:
    """Yield what a trained model says of events, some at a time."""
    served = events.dataset(shuffled=False)
    for key in SequentialPlan([rows], FROZEN_BATCH).batches(0):
        yield key.rows, model.log_ratios(served[key].features)
