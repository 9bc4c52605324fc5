"""Which events of a file a fake-factor estimate is about, and which of their columns ride along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tabstar_lit.arrays import Bool
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventsDataset, EventSource
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.config import FakesDataset
from tabstar_lit.families.hep.preparation.selection import select


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


def _require(name: str, known: Sequence[str], key: str, problem: str) -> None:
    if name not in known:
        raise DataError(f"dataset_config.{key}: {problem} '{name}'.{suggestion(name, list(known))}")
