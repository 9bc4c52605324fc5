"""Whether a checkpoint was trained on the same data: weights fit other data as well, but do not mean it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tabstar_lit.errors import CheckpointError

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
        if theirs is not None and json_text(theirs.get(key)) != json_text(ours[key]):
            raise CheckpointError(f"{what} was trained on other {name} than dataset_config gives now. {remedy}")


def json_text(plain: Any) -> str:
    """Write what a checkpoint keeps as JSON; a tensor is the list of its numbers."""
    return json.dumps(plain, default=Tensor.tolist)
