"""Folders as the package ``tabstar`` (arXiv 2505.18125) writes and loads them: its v1 model, and its v1.1.

Names and shapes of v1 are as here; v1.1 calls the parts of :class:`~tabstar_lit.nn.tabstar.SixNumberFusion` otherwise.

``config.json`` says that it is a TabSTAR and which text encoder it has, ``model.safetensors`` holds the weights. What
the package does not store, and would ask the hub for, stands beside it here: ``tabstar_lit.json`` has sizes, tokenizer
and tables, ``text_encoder/`` the encoder where it is not the published one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabstar_lit.engine.trained import Stored
from tabstar_lit.engine.weights.folders import CONFIG_FILE, folder_config, folder_weights
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import stored_encoder

PAYLOAD_FILE = "tabstar_lit.json"
ENCODER_FOLDER = "text_encoder"
ENCODER_VARIABLE = "E5_SMALL_LOCAL_PATH"
"""Variable in which the package looks for a local folder of the text encoder; it is one here, too."""

PUBLISHED_ENCODER = "intfloat/e5-small-v2"
WIDTH = 384
SIZES: dict[str, Any] = {
    "d_model": WIDTH,
    "number_hidden": 2 * WIDTH,
    "number_frequencies": 0,
    "fusion_heads": 2,
    "interaction_layers": 6,
    "interaction_heads": 6,
    "ffn_hidden": 4 * WIDTH,
    "head_hidden": 4 * WIDTH,
    "activation": "relu",
}
"""What the package computes, whatever its ``config.json`` says."""

NEWER: dict[str, Any] = {"numbers": "six", "regression_head": "both", "regression_limit": 10.0}
"""What the architecture of its v1.1 has that v1 has not."""

OLDER: dict[str, Any] = {"numbers": "bins", "regression_head": "scalar"}
BINS = 200
HEAD_WIDTH = 64
NUMBERS = 6

_BINS_KEY = "reg_dist_bins"
"""Key of ``config.json`` that only the package's v1.1 writes."""

NEWER_CONFIG: dict[str, Any] = {
    "architectures": ["TabSTARModel"],
    "model_type": "tabstar",
    "d_model": WIDTH,
    "d_num": NUMBERS,
    "interaction_layers": SIZES["interaction_layers"],
    "text_batch_size": 1024,
    "unfreeze_layers": 6,
    _BINS_KEY: BINS,
}
"""The ``config.json`` of the package's v1.1, but for the name of its text encoder."""

_NAMES = {"numerical_encoder.": "numerical_fusion.", "fusion.": "numerical_fusion."}
"""Beginnings of names of weights in v1.1, and what they are here."""


def read_official(folder: Path) -> Stored:
    """Return what a folder keeps for prediction, and its weights.

    Raises
    ------
    CheckpointError
        It is damaged, or of an architecture that no version of the package has had.
    EncoderError
        It does not say how its text encoder makes tokens, and that cannot be had.
    """
    config = folder_config(folder)
    weights = {_own_name(name): weight for name, weight in folder_weights(folder).items()}
    if (folder / PAYLOAD_FILE).is_file():
        return Stored(_read_payload(folder), weights)
    architecture = _architecture(folder, config)
    payload = {
        "family": "tabstar",
        "architecture_config": architecture.model_dump(mode="json"),
        "encoder": stored_encoder(architecture.text_encoder),
        "tables": {},
    }
    return Stored(payload, weights)


def is_newer(architecture: Mapping[str, Any]) -> bool:
    """Tell whether a stored architecture is of the package's v1.1."""
    return bool(architecture.get("numbers") == NEWER["numbers"])


def newer_name(name: str) -> str:
    """Return what the package's v1.1 calls the weights that are called ``name`` here."""
    ours = "numerical_fusion."
    kind = "numerical_encoder." if name.startswith(f"{ours}scalar_embedder.") else "fusion."
    return kind + name.removeprefix(ours) if name.startswith(ours) else name


def _own_name(name: str) -> str:
    return next((own + name.removeprefix(other) for other, own in _NAMES.items() if name.startswith(other)), name)


def _architecture(folder: Path, config: Mapping[str, Any]) -> TabstarArchitecture:
    """Return what the package would build of its ``config.json``."""
    named = os.environ.get(ENCODER_VARIABLE) or config.get("embedding_model") or config.get("text_model")
    encoder = TextEncoderConfig(name=str(named or PUBLISHED_ENCODER), unfreeze_layers=0)
    if _BINS_KEY not in config:
        return TabstarArchitecture(text_encoder=encoder)
    if config.get("d_num", NUMBERS) != NUMBERS:
        raise CheckpointError(
            f"{folder / CONFIG_FILE}: its v1.1 tells a number by {config['d_num']} numbers; models with {NUMBERS} can "
            "be loaded, as the published ones have."
        )
    sizes = {"interaction_layers": config["interaction_layers"], "regression_bins": config[_BINS_KEY]}
    heads = config["d_model"] // HEAD_WIDTH
    return TabstarArchitecture(text_encoder=encoder, interaction_heads=heads, **sizes, **NEWER)


def _read_payload(folder: Path) -> dict[str, Any]:
    try:
        payload = json.loads((folder / PAYLOAD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / PAYLOAD_FILE} cannot be read ({error}). Export the model again.") from error
    lacking = [key for key in ("architecture_config", "encoder", "tables") if key not in payload]
    if lacking:
        raise CheckpointError(f"{folder / PAYLOAD_FILE} keeps no '{lacking[0]}'. Export the model again.")
    return dict(payload)
