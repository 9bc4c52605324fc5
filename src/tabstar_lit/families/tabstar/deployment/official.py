"""Folders as the package ``tabstar`` (arXiv 2505.18125) writes and loads them: its v1 model, names and shapes as here.

``config.json`` says that it is a TabSTAR and which text encoder it has, ``model.safetensors`` holds the weights. What
the package does not store, and would ask the hub for, stands beside it here: ``tabstar_lit.json`` has sizes, tokenizer
and tables, ``text_encoder/`` the encoder where it is not the published one.
"""

from __future__ import annotations

import json
import os
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
    "fusion_heads": 2,
    "interaction_layers": 6,
    "interaction_heads": 6,
    "ffn_hidden": 4 * WIDTH,
    "head_hidden": 4 * WIDTH,
    "activation": "relu",
}
"""What the package computes, whatever its ``config.json`` says."""

_OF_NEWER_VERSION = ("text_model", "d_num", "reg_dist_bins")
"""Keys of ``config.json`` that only the package's v1.1 writes."""


def read_official(folder: Path) -> Stored:
    """Return what a folder keeps for prediction, and its weights.

    Raises
    ------
    CheckpointError
        It is damaged, or of a version of the package that has another architecture.
    EncoderError
        It does not say how its text encoder makes tokens, and that cannot be had.
    """
    config = folder_config(folder)
    newer = [key for key in _OF_NEWER_VERSION if key in config]
    if newer:
        raise CheckpointError(
            f"{folder} is a TabSTAR v1.1 (its {CONFIG_FILE} has '{newer[0]}'), whose architecture differs. Models of "
            "v1, such as alana89/TabSTAR, can be loaded."
        )
    if (folder / PAYLOAD_FILE).is_file():
        return Stored(_read_payload(folder), folder_weights(folder))
    name = os.environ.get(ENCODER_VARIABLE) or config.get("embedding_model") or PUBLISHED_ENCODER
    architecture = TabstarArchitecture(text_encoder=TextEncoderConfig(name=str(name), unfreeze_layers=0))
    payload = {
        "family": "tabstar",
        "architecture_config": architecture.model_dump(mode="json"),
        "encoder": stored_encoder(architecture.text_encoder),
        "tables": {},
    }
    return Stored(payload, folder_weights(folder))


def _read_payload(folder: Path) -> dict[str, Any]:
    try:
        payload = json.loads((folder / PAYLOAD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / PAYLOAD_FILE} cannot be read ({error}). Export the model again.") from error
    lacking = [key for key in ("architecture_config", "encoder", "tables") if key not in payload]
    if lacking:
        raise CheckpointError(f"{folder / PAYLOAD_FILE} keeps no '{lacking[0]}'. Export the model again.")
    return dict(payload)
