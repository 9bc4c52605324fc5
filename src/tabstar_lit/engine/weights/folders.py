"""Models in folders, as the hub keeps them: ``config.json`` says what, ``model.safetensors`` holds the weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tabstar_lit.errors import CheckpointError
from tabstar_lit.hub import HubError, hub_folder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_POSITIONS = "embeddings.position_ids"
"""A buffer that older releases of transformers stored: 0, 1, 2 and so on."""


def is_model_folder(path: Path) -> bool:
    """Tell whether a folder holds a model."""
    return (path / CONFIG_FILE).is_file() and (path / WEIGHTS_FILE).is_file()


def folder_config(path: Path) -> dict[str, Any]:
    """Return what ``config.json`` says.

    Raises
    ------
    CheckpointError
        It is missing or no JSON object.
    """
    try:
        content = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path / CONFIG_FILE} holds a {type(content).__name__}; a JSON object is needed.")
    return content


def folder_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights, ``[name, tensor]``, on the CPU.

    Raises
    ------
    CheckpointError
        They are missing or damaged.
    """
    file = path / WEIGHTS_FILE
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}). Export or download it again.") from error
    return {name: tensor for name, tensor in weights.items() if not name.endswith(_POSITIONS)}


def model_of_hub(name: str) -> Path | None:
    """Return the folder of a model of the hub; None where ``name`` cannot be one, ``owner/model``.

    What is in the local cache is taken from there without a connection; anything else is downloaded.

    Raises
    ------
    CheckpointError
        It is neither in the cache nor given by the hub.
    """
    if not _HUB_NAME.fullmatch(name) or name.endswith(".ckpt") or Path(name.partition("/")[0]).exists():
        return None
    try:
        return hub_folder(name, ["*.json", WEIGHTS_FILE, "*.md"], is_model_folder)
    except HubError as error:
        raise CheckpointError(
            f"{name!r} is no file or folder, not in the local cache of the hub, and the hub did not give it: {error} "
            "To work offline, give the path of a folder, or point HF_HOME to a filled cache."
        ) from error
