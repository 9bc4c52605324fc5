"""The fake factor of events in any file, by a trained ratio, and the fakes they predict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from tabstar_lit.arrays import Bool, Float64, Int64, UInt64
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.bins.statistics import grouped_variance
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble, averaged, over_heads, training_spread, uncertainty
from tabstar_lit.families.hep.fakes.factor.model import BATCH_SIZE, RatioModel
from tabstar_lit.families.hep.fakes.selection import kept_events
from tabstar_lit.families.hep.preparation.preprocess import EventReader
from tabstar_lit.families.hep.preparation.selection import class_table
from tabstar_lit.families.hep.preparation.serving import STORED_ROWS


@dataclass(frozen=True)
class RegionEvents:
    """``n`` events of a file that belong to a region, and pass the cuts of the training.

    Attributes
    ----------
    file : EventFile
        The file.
    rows : ndarray of int64
        ``[n]`` rising.
    tight, simulated : ndarray of bool
        ``[n]`` tight rather than loose, simulation rather than data.
    signed : ndarray
        ``[n]`` weights, those of simulation with their sign turned: sums are data minus simulation.
    left_out : int
        Further events of the regions, which the cuts exclude.
    """

    file: EventFile
    rows: Int64
    tight: Bool
    simulated: Bool
    signed: Float64
    left_out: int

    @cached_property
    def groups(self) -> UInt64:
        """Group of each event, ``[n]``: what belongs together, and is kept on one side of a split by groups."""
        return self.file.group_ids()[self.rows]

    def chosen(self, which: Bool) -> RegionEvents:
        """Return some of the events."""
        return replace(
            self,
            rows=self.rows[which],
            tight=self.tight[which],
            simulated=self.simulated[which],
            signed=self.signed[which],
        )


class Factors(NamedTuple):
    """The fake factor of ``n`` events.

    Attributes
    ----------
    rows : ndarray of int64
        ``[n]`` in the file.
    mean, std : ndarray
        ``[n]`` of ``log F`` over the heads; see :func:`~tabstar_lit.families.hep.fakes.ensemble.over_heads`.
    factor, error : ndarray
        ``[n]`` the factor ``exp(mean)`` and its uncertainty to first order.
    training : ndarray
        ``[n]`` part of ``std`` that training adds, by heads that learned from equal samples; NaN where none did.
    heads : ndarray
        ``[n, C]`` the factor of each head.
    """

    rows: Int64
    mean: Float64
    std: Float64
    factor: Float64
    error: Float64
    training: Float64
    heads: Float64

    @property
    def sampling(self) -> Float64:
        """The rest of ``std``, which samples add, ``[n]``; NaN where the parts are not known."""
        return np.sqrt(np.maximum(self.std**2 - self.training**2, 0.0))


@dataclass(frozen=True)
class FakeYield:
    """The fakes that loose events predict: ``sum_data w F - sum_simulation w F``.

    Attributes
    ----------
    terms : ndarray
        ``[n]`` what each event adds, with the factor of all heads together.
    groups : ndarray of uint64
        ``[n]`` group of each event.
    by_head : ndarray
        ``[C]`` the sum with the factor of each head.
    ensemble : Ensemble
        How heads are taken together.
    """

    terms: Float64
    groups: UInt64
    by_head: Float64
    ensemble: Ensemble = PLAIN

    @classmethod
    def of(cls, events: RegionEvents, factors: Factors, ensemble: Ensemble) -> FakeYield:
        """Return what those of the ``events`` predict whose ``factors`` are given: neighbours among them."""
        own = slice(*np.searchsorted(events.rows, [factors.rows[0], factors.rows[-1] + 1]))
        signed = events.signed[own]
        return cls(signed * factors.factor, events.groups[own], signed @ factors.heads, ensemble)

    @classmethod
    def joined(cls, parts: Sequence[FakeYield]) -> FakeYield:
        """Return what the events of all parts predict."""
        terms, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("terms", "groups"))
        return cls(terms, groups, np.sum([part.by_head for part in parts], axis=0), parts[0].ensemble)

    @property
    def total(self) -> float:
        """The sum."""
        return float(self.terms.sum())

    @property
    def statistical(self) -> float:
        """Uncertainty by the number of loose events; those of a group, as both electrons of a pair, vary as one."""
        return math.sqrt(grouped_variance(self.terms, self.groups))

    @property
    def model(self) -> float:
        """Uncertainty by the heads' totals: all events share what is wrong with the factor. 0 for one head."""
        return float(uncertainty(torch.from_numpy(self.by_head), self.ensemble))

    @property
    def training(self) -> float:
        """Part of :attr:`model` that training adds, by heads that learned from equal samples; NaN where none did."""
        return float(training_spread(torch.from_numpy(self.by_head), self.ensemble.twins))

    def __str__(self) -> str:
        """Return a line for the terminal."""
        model = f" ± {self.model:.4g} (model)" if len(self.by_head) > 1 else "; of one head, no model uncertainty"
        if self.ensemble.twins:
            sampling = math.sqrt(max(self.model**2 - self.training**2, 0.0))
            model += f", of which samples {sampling:.4g} and training {self.training:.4g}"
        return f"predicted fakes: {self.total:.6g} ± {self.statistical:.4g} (statistical){model}"


def require_ratio(model: RatioModel) -> None:
    """Refuse a model that is no fake factor.

    Raises
    ------
    CheckpointError
        It is a numerator or a denominator.
    """
    if model.role != "ratio":
        raise CheckpointError(
            f"{model.path} is the {model.role} of a fake-factor estimate, which compares data with simulation. Give "
            "the checkpoint of its stage 'ratio': `tabstar_lit runs show` lists them."
        )


def region_events(model: RatioModel, file: EventFile, split: str | None) -> RegionEvents:
    """Return the events of both regions on one side of the training's split; those of all sides for None.

    Raises
    ------
    DataError
        There is no such split, it has no events, or none of the regions; or the file lacks a column of the cuts.
    """
    rows = model.rows(file, split)
    classes = model.preprocessor.classes
    names = np.array([*classes, ""])[class_table(classes, file.classes)[file.labels()[rows]]]
    weights = file.weights()[rows]
    simulated = np.char.endswith(names, "mc")
    signed = np.where(simulated, -weights, weights)
    known, kept = names != "", kept_events(model.dataset, file)[rows]
    events = RegionEvents(file, rows, np.char.startswith(names, "tight"), simulated, signed, int((known & ~kept).sum()))
    return events.chosen(known & kept)


def loose_events(model: RatioModel, events: RegionEvents) -> RegionEvents:
    """Return the loose events among them.

    Raises
    ------
    DataError
        There are none.
    """
    loose = events.chosen(~events.tight)
    if not len(loose.rows):
        known = [label for name, own in model.preprocessor.classes.items() if name.startswith("loose") for label in own]
        raise DataError(
            f"{events.file.path}: no loose events to apply the fake factor to. {model.path} knows them by the labels "
            f"{', '.join(known)}; the file has {', '.join(events.file.classes) or 'none'}, and pt_cut and crack_veto "
            f"exclude {events.left_out} events. Convert it with these labels, or choose another split."
        )
    return loose


def event_factors(model: RatioModel, events: RegionEvents, *, batch_size: int = BATCH_SIZE) -> Iterator[Factors]:
    """Yield the fake factors of events in the order of the file, as many at a time as the file compresses together.

    Parameters
    ----------
    model : RatioModel
        The ratio.
    events : RegionEvents
        At least one; the file needs the features of the training, no more.
    batch_size : int
        Events in a batch.

    Raises
    ------
    DataError
        A feature is missing, or holds values that it must not.
    """
    reader = EventReader(replace(model.preprocessor, spectators=()), events.file)
    stored = events.rows // STORED_ROWS
    for number in np.unique(stored).tolist():
        part = events.rows[stored == number]
        first = int(part[0])
        block = reader.block(first, int(part[-1]) + 1)
        batches = torch.split(torch.from_numpy(part - first), batch_size)
        chosen = [block.select(index) for index in batches]
        logs = torch.cat([model.log_ratios(own) for own in chosen]).double()
        moved = zip(*(model.log_ratios_around(own) for own in chosen), strict=True)
        around = [torch.cat(own).double() for own in moved]
        known = over_heads(logs, model.ensemble, around)
        apart = averaged(lambda own: training_spread(own, model.twins), logs, around)
        yield Factors(part, *(own.numpy() for own in (*known, known.ratio(), known.ratio_error(), apart, logs.exp())))
