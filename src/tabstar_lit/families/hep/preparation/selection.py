"""What of an event file is used: features, spectators, classes, signal and momenta, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventsDataset, Momentum
from tabstar_lit.families.hep.events.file import EventFile

MOMENTUM_NAMES = {
    "pt": ("pt", "pT", "PT", "Pt"),
    "eta": ("eta", "Eta", "ETA"),
    "phi": ("phi", "Phi", "PHI"),
    "energy": ("energy", "e", "E", "Energy"),
    "mass": ("mass", "m", "M", "Mass"),
}
"""Columns that a momentum is looked for in where none are given."""


@dataclass(frozen=True)
class Selection:
    """What is used of an event file.

    Attributes
    ----------
    features : dict of str to tuple of str
        Columns by block: ``""`` for the events' own, else the type of objects, in the order of the configuration.
    spectators : tuple of str
        Columns carried along.
    classes : dict of str to tuple of str
        Labels of the file by class, in order.
    signal : tuple of str
        The classes that are signal.
    """

    features: dict[str, tuple[str, ...]]
    spectators: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    signal: tuple[str, ...]


def select(config: EventsDataset, file: EventFile) -> Selection:
    """Look up all names of the configuration in the file, and what its patterns stand for.

    Raises
    ------
    DataError
        A name is not in the file, or a pattern matches nothing; the message gives the nearest one.
    """
    spectators = _spectators(config, file)
    features = {"": tuple(_flat_features(config, file, spectators))}
    for name in config.features:
        block, _, column = name.partition(".")
        if block in file.objects and name not in file.columns:
            columns = file.objects[block].columns
            chosen = _matches(column, columns) or [column]
            _require(chosen[0], columns, "features", f"{file.path}: '{block}' have no column")
            features[block] = tuple(dict.fromkeys([*features.get(block, ()), *chosen]))
    if not any(features.values()):
        raise DataError(f"dataset_config.features {list(config.features)} leave no feature of {file.path}.")
    classes = _classes(config, file)
    return Selection(features, spectators, classes, _signal(config, tuple(classes)))


def class_table(classes: Mapping[str, tuple[str, ...]], labels: tuple[str, ...]) -> Int64:
    """Return for each label of a file the number of its class, -1 for none; the last entry answers to label -1."""
    number = {label: i for i, own in enumerate(classes.values()) for label in own}
    return np.array([*(number.get(label, -1) for label in labels), -1], dtype=np.int64)


def momentum(config: EventsDataset, file: EventFile, block: str) -> Momentum:
    """Return the columns that hold the momenta of a type of objects.

    Raises
    ------
    DataError
        They are not in the file, or cannot be guessed.
    """
    columns = file.objects[block].columns
    given = config.momenta.get(block)
    if given is None:
        return _guess_momentum(file, block)
    if not isinstance(given, Momentum):
        pt, eta, phi, energy = given
        given = Momentum(pt=pt, eta=eta, phi=phi, energy=energy, mass=None)
    for name in filter(None, given.model_dump().values()):
        _require(name, columns, f"momenta.{block}", f"{file.path}: '{block}' have no column")
        if columns[name].kind != "numerical":
            raise DataError(
                f"dataset_config.momenta.{block}: column '{name}' is categorical, a momentum needs numbers."
            )
    return given


def _guess_momentum(file: EventFile, block: str) -> Momentum:
    numbers = [name for name, info in file.objects[block].columns.items() if info.kind == "numerical"]
    found = {part: next(filter(numbers.__contains__, names), None) for part, names in MOMENTUM_NAMES.items()}
    pt, eta, phi, energy = (found[part] for part in ("pt", "eta", "phi", "energy"))
    mass = None if energy else found["mass"]
    if pt is None or eta is None or phi is None or (energy or mass) is None:
        raise DataError(
            f"{file.path}: cannot tell which columns of '{block}' are pt, eta, phi and energy or mass; they have "
            f"{', '.join(file.objects[block].columns)}. Say so: dataset_config.momenta: "
            f"{{{block}: {{pt: …, eta: …, phi: …, energy: …}}}}."
        )
    return Momentum(pt=pt, eta=eta, phi=phi, energy=energy, mass=mass)


def _spectators(config: EventsDataset, file: EventFile) -> tuple[str, ...]:
    chosen: dict[str, None] = {}
    for name in config.spectators:
        found = _matches(name, file.columns) or [name]
        problem = f"{file.path} (variables of disco are spectators too): no column of the events"
        _require(found[0], file.columns, "spectators", problem)
        chosen |= dict.fromkeys(found)
    return tuple(chosen)


def _flat_features(config: EventsDataset, file: EventFile, spectators: tuple[str, ...]) -> Iterable[str]:
    chosen: dict[str, None] = {}
    for name in config.features:
        if name in file.columns:
            chosen[name] = None
        elif name.partition(".")[0] not in file.objects:
            found = _matches(name, file.columns)
            if not found and name != "*":  # events may have objects alone
                known = [
                    *file.columns,
                    *(f"{block}.{column}" for block, info in file.objects.items() for column in info.columns),
                ]
                _require(name, known, "features", f"{file.path}: no column")
            chosen |= dict.fromkeys(column for column in found if column not in spectators)
    return chosen


def _matches(name: str, columns: Collection[str]) -> list[str]:
    """Return the column of that name, else those that match it as a shell pattern, in the order of the file."""
    return [name] if name in columns else [column for column in columns if fnmatchcase(column, name)]


def _classes(config: EventsDataset, file: EventFile) -> dict[str, tuple[str, ...]]:
    if not file.classes:
        raise DataError(f"{file.path}: the events have no labels. Convert them with a 'label' for each source.")
    if config.classes is None:
        classes: dict[str, tuple[str, ...]] = {label: (label,) for label in file.classes}
    else:
        entries = [config.classes] if isinstance(config.classes, dict) else config.classes
        pairs: list[tuple[str, tuple[str, ...]]] = []
        for entry in entries:
            pairs += [(entry, (entry,))] if isinstance(entry, str) else entry.items()
        classes = dict(pairs)
        labels = [label for own in classes.values() for label in own]
        if len(classes) < len(pairs) or len(set(labels)) < len(labels):
            raise DataError(f"dataset_config.classes: a class or a label stands twice in {pairs}.")
        for label in labels:
            _require(label, file.classes, "classes", f"{file.path}: no event is labelled")
    if len(file.classes) < 2:
        raise DataError(
            f"{file.path}: all events are of one class, '{file.classes[0]}', and a classifier needs two. Convert "
            "events of another class along with them."
        )
    if len(classes) < 2:
        raise DataError(
            f"{file.path}: a classifier needs two classes, but there is {list(classes) or 'none'}. Convert the events "
            f"with labels, or name at least two of its labels ({', '.join(file.classes)}) in dataset_config.classes."
        )
    return classes


def _signal(config: EventsDataset, classes: tuple[str, ...]) -> tuple[str, ...]:
    if config.signal is None:
        others = tuple(name for name in classes if name != "background")
        return ("signal",) if "signal" in classes else (others if len(classes) == 2 else classes)[-1:]
    signal = (config.signal,) if isinstance(config.signal, str) else config.signal
    for name in signal:
        _require(name, classes, "signal", "no class is called")
    if not 0 < len(set(signal)) < len(classes):
        raise DataError(f"dataset_config.signal: {list(signal)} of {list(classes)} leaves no background.")
    return tuple(dict.fromkeys(signal))


def _require(name: str, known: Iterable[str], key: str, problem: str) -> None:
    names = list(known)
    if name not in names:
        raise DataError(f"dataset_config.{key}: {problem} '{name}'.{suggestion(name, names)}")
