"""Whether a checkpoint was trained on the same data: weights fit other data as well, but do not mean it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tabstar_lit.errors import CheckpointError

ROUNDING = 1e-9
"""Numbers that are learned from the same data differ by less: processors add them up in different orders."""

ADOPTED = {
    "classes": "classes",
    "signal": "signal classes",
    "inputs": "features, or the same in another order,",
    "events": "training events, to which the features are scaled,",
    "objects": "training events, to which the features of objects are scaled,",
}
"""What of the preprocessing a checkpoint must share with the data, and how a message calls it."""


def require_same_data(
    theirs: Mapping[str, Any] | None, ours: Mapping[str, Any], remedy: str, *, what: str = "The checkpoint"
) -> None:
    """Refuse a checkpoint whose preprocessing is another.

    Parameters
    ----------
    theirs, ours : mapping
        Preprocessing of the checkpoint, and of the data: see :meth:`Preprocessor.to_payload`. None is a checkpoint that
        keeps none.
    remedy : str
        What to do about it.
    what : str
        The checkpoint, for the message.

    Raises
    ------
    CheckpointError
        Says what differs.
    """
    for key, name in ADOPTED.items():
        if theirs is not None and not _same(_plain(theirs.get(key)), _plain(ours[key])):
            raise CheckpointError(f"{what} was trained on other {name} than dataset_config gives now. {remedy}")


def _same(one: Any, other: Any) -> bool:
    """Tell whether plain values are the same, and their keys in the same order, but for rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _plain(value: Any) -> Any:
    return json.loads(json_text(value))


def json_text(plain: Any) -> str:
    """Write what a checkpoint keeps as JSON; a tensor is the list of its numbers."""
    return json.dumps(plain, default=Tensor.tolist)
