"""What a study knows of its samples, as the numbers that a predictor learns from: targets, categories, groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Array, Bool, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.study.batch import NO_CLASS
from tabstar_lit.families.microbes.study.study import Study

Kind = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class Targets:
    """What is predicted.

    Attributes
    ----------
    kind : str or None
        None where nothing is.
    names : tuple of str
        ``K`` columns.
    classes : tuple of str
        Names of classes by number; empty for numbers.
    values : NDArray
        ``[N, K]`` float32, NaN where missing; of classes ``[N]`` int64, -1 where missing.
    """

    kind: Kind | None
    names: tuple[str, ...]
    classes: tuple[str, ...]
    values: Array

    @property
    def known(self) -> Bool:
        """Which samples have a target, ``[N]``; all where nothing is predicted."""
        if self.kind is None:
            return np.ones(len(self.values), dtype=bool)
        if self.kind == "classification":
            return np.not_equal(self.values, NO_CLASS)
        return np.asarray(~np.isnan(self.values).all(axis=1))


def read_targets(study: Study, names: Sequence[str]) -> Targets:
    """Return the columns of a study that are predicted.

    Raises
    ------
    DataError
        There is no such column, several are of classes, or numbers and classes are mixed.
    """
    for name in names:
        study.require_column(name, "dataset_config.target")
    of_classes = [name for name in names if name in study.classes]
    if not names:
        return Targets(None, (), (), np.zeros((len(study), 0), dtype=np.float32))
    if of_classes and len(names) > 1:
        raise DataError(
            f"dataset_config.target: '{of_classes[0]}' holds classes, and stands beside other targets. Take one target "
            "of classes, or several of numbers."
        )
    if not of_classes:
        columns = [study.numbers[name] for name in names]
        return Targets("regression", tuple(names), (), np.stack(columns, axis=1).astype(np.float32))
    column = study.classes[names[0]]
    used = np.unique(column.codes[column.codes >= 0])
    if len(used) < 2:
        raise DataError(
            f"dataset_config.target: all samples of '{study.name}' that have a '{names[0]}' have the same. There is "
            "nothing to tell apart."
        )
    numbers = np.full(len(column.labels) + 1, NO_CLASS, dtype=np.int64)
    numbers[used] = np.arange(len(used))
    return Targets("classification", (names[0],), tuple(column.labels[i] for i in used), numbers[column.codes])


def read_categories(study: Study, names: Sequence[str], training: Int64) -> tuple[Int64, dict[str, tuple[str, ...]]]:
    """Return the numbers ``[N, C]`` of categories, from 1, and their labels in that order: those of training samples.

    Raises
    ------
    DataError
        There is no such column, or it holds numbers.
    """
    codes, labels = np.zeros((len(study), len(names)), dtype=np.int64), dict[str, tuple[str, ...]]()
    for position, name in enumerate(names):
        study.require_column(name, "dataset_config.categories")
        if name in study.numbers:
            raise DataError(
                f"dataset_config.categories: '{name}' holds numbers in the study '{study.name}'. Convert it as "
                f"columns: {{{name}: class}}, or leave it out."
            )
        column = study.classes[name]
        known = np.unique(column.codes[training][column.codes[training] >= 0])
        numbers = np.zeros(len(column.labels) + 1, dtype=np.int64)
        numbers[known] = np.arange(1, len(known) + 1)
        codes[:, position] = numbers[column.codes]
        labels[name] = tuple(column.labels[i] for i in known)
    return codes, labels


def group_codes(study: Study) -> tuple[Int64, tuple[str, ...]]:
    """Return the number of the group of each sample ``[N]``, and the names of groups."""
    codes, names = pd.factorize(np.asarray(study.groups(), dtype=object))
    return codes.astype(np.int64), tuple(map(str, names))


def texts(study: Study, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of classes among ``names`` as texts by sample, empty where missing, for colours of figures."""
    return {
        name: tuple(np.array([*study.classes[name].labels, ""], dtype=object)[study.classes[name].codes].tolist())
        for name in dict.fromkeys(names)
        if name in study.classes
    }
