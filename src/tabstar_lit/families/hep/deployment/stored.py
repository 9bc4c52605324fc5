"""What a checkpoint of a family of events keeps beside the weights, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.errors import CheckpointError

PLAIN: Mapping[str, object] = {"compile": False, "sdp_backend": None}
"""What a restored network leaves to torch, where its architecture has the key."""


def stored_payload(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload in the content of a checkpoint; an empty one where it keeps none."""
    own = content.get(CHECKPOINT_KEY)
    payload = own.get("payload") if isinstance(own, dict) else None
    return dict(payload) if isinstance(payload, dict) else {}


def stored_architecture(kind: Any, payload: Mapping[str, Any], path: Path) -> Any:
    """Return the architecture, uncompiled: few batches do not pay for compiling, and an exporter wants it plain.

    Nor is it bound to the attention kernels of the machine it was trained on.

    Parameters
    ----------
    kind : type
        What its sections are: a class, or a union of them.
    payload : Mapping
        Has an ``architecture_config``.
    path : Path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        This release does not know it.
    """
    plain = _plain(payload["architecture_config"])
    if plain.get("flat_model"):
        plain["flat_model"] = _plain(plain["flat_model"])
    try:
        return TypeAdapter[Any](kind).validate_json(json.dumps(plain))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise CheckpointError(
            f"{path} holds an architecture that this release does not know: {error.errors()[0]['msg']} at {place}. Use "
            "the release that wrote it."
        ) from error


def _plain(architecture: Mapping[str, Any]) -> dict[str, Any]:
    return {**architecture, **{key: value for key, value in PLAIN.items() if key in architecture}}
