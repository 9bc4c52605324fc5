"""Tables that were never trained on: what their user says of them stands in for what training would have stored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from tabstar_lit.data import verbalize
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.numbers import QUANTILES, SixNumbers
from tabstar_lit.families.tabstar.tables.features import FeatureReader
from tabstar_lit.families.tabstar.tables.preprocessing import Preprocessor
from tabstar_lit.families.tabstar.tables.reading import Reading

MIN_CLASSES = 2

log = logging.getLogger(__name__)


def described(
    frame: pd.DataFrame,
    target: str,
    task: Literal["classification", "regression"] | None,
    classes: Sequence[str],
    *,
    six_numbers: bool = False,
) -> dict[str, Any]:
    """Return the schema of a table that was not trained on, for predictions by its names and values alone (zero-shot).

    Scales and bins are those of the rows themselves, as there are no others: their predictions depend on which rows
    are given together. A regression is predicted in standard deviations of the target, whose unit nobody has told.

    Parameters
    ----------
    frame : DataFrame
        All its rows; the target may be among the columns, and is not looked at.
    target : str
        Name of what is to be predicted.
    task : str, optional
        Classes given say ``classification``.
    classes : sequence of str
        Its classes, as texts; none for regression.
    six_numbers : bool
        Whether the network is told numbers by six, see ``architecture_config.numbers``.

    Raises
    ------
    DataError
        Task and classes contradict each other, or the rows have no usable column.
    """
    if task is None and not classes:
        raise DataError(f"'{target}' was not trained on: give its classes, or say that the task is regression.")
    if (task == "regression") == bool(classes) or len(classes) == 1 or len(set(classes)) < len(classes):
        raise DataError(
            f"'{target}': a classification has {MIN_CLASSES} or more different classes, and a regression has none; "
            f"seen are task {task or 'classification'} and classes {', '.join(classes) or '(none)'}."
        )
    if not len(frame):
        raise DataError("there are no rows to predict.")
    warnings: list[str] = []
    reader = FeatureReader.fit(frame, Reading(), left_out=(), dates=(), warnings=warnings)
    features = frame.drop(columns=target, errors="ignore")
    read = reader.read(features, warnings)
    preprocessor = Preprocessor.fit(read)
    for line in (
        f"zero-shot: '{target}' was not trained on; scales and bins are those of the {len(frame)} rows given, and "
        "nothing says how good the predictions are",
        *([] if classes else [f"zero-shot: '{target}' is predicted in standard deviations of itself"]),
        *warnings,
    ):
        log.warning("%s", line)
    return {
        "task": "classification" if classes else "regression",
        "target": {
            "name": target,
            "text": verbalize.column_text(target),
            "classes": [*classes],
            "mean": 0.0,
            "std": 1.0,
        },
        **preprocessor.to_schema(),
        **reader.to_schema(),
        "features": [column.name for column in preprocessor.columns],
        **(_quantiles(preprocessor, read) if six_numbers else {}),
    }


def _quantiles(preprocessor: Preprocessor, features: pd.DataFrame) -> dict[str, Any]:
    names = [column.name for column in preprocessor.columns if column.kind == "number"]
    numbers = preprocessor.transform(features).numbers
    return {QUANTILES: SixNumbers.fit(numbers[:, numbers.shape[1] - len(names) :], names).quantiles}
