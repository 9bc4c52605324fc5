"""Which events train, validate, test and calibrate: by hash of an id, so that an event keeps its side for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tabstar_lit.arrays import Int8, Int64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.splits import UNSTORED_VERSION, Fold, Split
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import FoldsConfig, SplitConfig
from tabstar_lit.families.hep.events.file import EventFile

SPLITS = ("train", "val", "test", "calib")

EVENTS_VERSION = UNSTORED_VERSION
"""The rule of :class:`~tabstar_lit.data.splits.Split` by which events have always been split; nothing stores it."""


def split_events(ids: UInt64, split: SplitConfig, folds: FoldsConfig | None = None) -> Int8:
    """Give every event its split, from its own id and the seed of the split alone.

    Appending, removing or reordering events therefore moves no other event, and events that share an id, as those of
    a group do, are never separated.

    Parameters
    ----------
    ids : ndarray of uint64 [N]
        Event or group ids.
    split : SplitConfig
        Shares and seed.
    folds : FoldsConfig, optional
        Test on this fold instead of a share; ``val`` and ``calib`` are shares of what the fold leaves.

    Returns
    -------
    ndarray of int8 [N]
        Positions in :data:`SPLITS`.
    """
    test = split.test if folds is None else Fold(folds.fold, folds.n)
    rule = Split(split.seed, {"val": split.val, "calib": split.calib}, test, version=EVENTS_VERSION)
    return np.array([SPLITS.index(name) for name in rule.names], dtype=np.int8)[rule.sides(ids)]


def require_classes(sides: Int8, targets: Int64, classes: tuple[str, ...], asked: set[str]) -> None:
    """Refuse a split in use that lacks a class.

    Parameters
    ----------
    sides : ndarray of int8 [N]
        From :func:`split_events`.
    targets : ndarray of int64 [N]
        Class numbers; -1 for events that belong to none.
    classes : tuple of str
        Their names.
    asked : set of str
        Names of the splits in use.

    Raises
    ------
    DataError
        Names the class and the split, with the number of events of every class in every split.
    """
    known = targets >= 0
    counts = np.zeros((len(SPLITS), len(classes)), dtype=np.int64)
    np.add.at(counts, (sides[known], targets[known]), 1)
    for position, name in enumerate(SPLITS):
        absent = [classes[i] for i in np.flatnonzero(counts[position] == 0)]
        if name in asked and absent:
            table = "; ".join(
                f"{split} " + ", ".join(f"{label} {n}" for label, n in zip(classes, row, strict=True))
                for split, row in zip(SPLITS, counts.tolist(), strict=True)
                if split in asked
            )
            raise DataError(
                f"The {name} split has no events of class '{absent[0]}'. Events: {table}. Give dataset_config.split "
                f"a larger share for {name} or another seed, merge the class with another one, or bring more events."
            )


def rows_of(file: EventFile, name: str | None, config: SplitConfig, folds: FoldsConfig | None, trained: Path) -> Int64:
    """Return the rows of a split of any file, by the rule of a training; all rows for None.

    Parameters
    ----------
    file : EventFile
        The events.
    name : str or None
        One of :data:`SPLITS`.
    config, folds
        Those of the training.
    trained : Path
        The checkpoint, for messages.

    Raises
    ------
    DataError
        There is no such split, or it has no events.
    """
    if not file.n_events:
        raise DataError(f"{file.path} has no events.")
    if name is None:
        return np.arange(file.n_events)
    if name not in SPLITS:
        raise DataError(f"there is no split '{name}'.{suggestion(name, SPLITS)}")
    ids = file.group_ids() if config.by == "group" else file.event_ids()
    rows = np.flatnonzero(split_events(ids, config, folds) == SPLITS.index(name))
    if not len(rows):
        raise DataError(
            f"{file.path}: the {name} split has no events. {trained} was trained with dataset_config.split.{name}: "
            f"{getattr(config, name, 'the rest')}."
        )
    return rows
