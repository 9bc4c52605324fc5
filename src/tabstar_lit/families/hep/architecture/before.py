"""Architectures as earlier versions wrote them, in runs and checkpoints, in today's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.config.foreign import ForeignKey

SHARED = "numer_shared_linear"


def of_today(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an architecture of any version means.

    ``conv1d_embedding`` was one weight and bias for all numbers until ``numer_shared_linear`` was a key, and numbers
    in ``valid_type_values`` were codes. Today's architectures come back as they are.
    """
    found = dict(architecture)
    for key in ("embeddings", "flat_embeddings"):
        part = found.get(key)
        if isinstance(part, Mapping) and SHARED not in part and "conv1d_embedding" in part:
            found[key] = {SHARED: part["conv1d_embedding"]} | {k: v for k, v in part.items() if k != "conv1d_embedding"}
    if isinstance(found.get("flat_model"), Mapping):
        found["flat_model"] = of_today(found["flat_model"])
    valid = found.get("valid_type_values")
    if isinstance(valid, Mapping):
        found["valid_type_values"] = {name: _in_words(features) for name, features in valid.items()}
    return found


def _in_words(features: Any) -> Any:
    """Mark the codes of the categories of each feature."""
    if not isinstance(features, Mapping):
        return features
    return {
        name: [f"#{value}" if isinstance(value, int) else value for value in values]
        for name, values in features.items()
    }


ARCHITECTURE = "model_config.architecture_config"
EARLIER_KEYS = (
    ForeignKey(ARCHITECTURE, "moved", "is read as the version that wrote it meant it", to=ARCHITECTURE, value=of_today),
)
"""What a ``config.yaml`` of an earlier version says."""
