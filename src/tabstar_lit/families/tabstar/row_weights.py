"""How much the rows of a table count in the loss: their own weights, times those of their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.corpus import Table


def weighted(table: Table, class_weights: Literal["balanced"] | Mapping[str, float] | None, *, alone: bool) -> Table:
    """Return a table whose rows count as their classes do, times their own weights, 1 in the mean over training rows.

    Parameters
    ----------
    table : Table
        With the weights of its rows, where it has them.
    class_weights : str, mapping or None
        As ``dataset_config.class_weights``.
    alone : bool
        Whether it is the only table in use: names of classes are of one table.

    Raises
    ------
    DataError
        The classes that are named are not those of the table.
    """
    if class_weights is None or (class_weights == "balanced" and not table.classes):
        return table
    own = np.ones(len(table)) if table.weights is None else table.weights.astype(np.float64)
    train, classes = ~table.is_validation, table.targets.astype(np.int64)
    if isinstance(class_weights, str):
        sums = np.bincount(classes[train], own[train], minlength=len(table.classes))
        factors = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    else:
        _check_classes(table, class_weights, alone=alone)
        factors = np.array([class_weights.get(name, 1.0) for name in table.classes])
    weights = own * factors[classes]
    if not weights[train].any():
        raise DataError(f"dataset_config.class_weights: every training row of table '{table.name}' has the weight 0.")
    return replace(table, weights=(weights / weights[train].mean()).astype(np.float32))


def _check_classes(table: Table, class_weights: Mapping[str, float], *, alone: bool) -> None:
    if not alone or not table.classes:
        raise DataError(
            "dataset_config.class_weights names classes, which are of one table of classes: choose it with 'tables', "
            "or use class_weights: balanced."
        )
    for name in class_weights:
        if name not in table.classes:
            hint = suggestion(name, table.classes, listed="It has")
            raise DataError(f"dataset_config.class_weights: table '{table.name}' has no class '{name}'.{hint}")
