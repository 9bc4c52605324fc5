"""What a checkpoint or folder keeps of a TabSTAR: configuration and whole weights, of adapters too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tabstar_lit.config.paths import roots
from tabstar_lit.engine.trained import Stored, kept_config, read_stored, require_kept
from tabstar_lit.engine.weights.files import read_checkpoint
from tabstar_lit.engine.weights.loading import find_checkpoint
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.deployment.official import read_official

NEEDED = ("architecture_config", "encoder", "tables")
LORA_A, LORA_B = ".lora_A.default.weight", ".lora_B.default.weight"
"""How the factors of an adapter are called behind the name of the layer it adapts."""

_HUB_FOLDER = "models--"
"""Beginning of the name of a model's folder in the cache of the hub."""


def stored_model(path: Path) -> Stored:
    """Return what a checkpoint or folder keeps for prediction, and its weights.

    Adapters are added to the weights of the model that they belong to.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_tabstar``, or a folder as ``tabstar_lit export --tabstar`` and the package ``tabstar``
        write it.

    Raises
    ------
    CheckpointError
        It cannot be read, is of another family or release, or holds adapters of a model that is not there any more.
    """
    stored = read_official(path) if path.is_dir() else read_stored(path, family="tabstar", needed=NEEDED)
    lora = stored.config.get("lora")
    if lora is None:
        return stored
    about = stored.config["base"]
    base = stored_model(_base_of(path, about))
    require_same(about, weights_fingerprint(base.weights), path)
    return Stored(stored.config, merged(base.weights, stored.weights, lora["alpha"] / lora["rank"]))


def stored_config(path: Path) -> dict[str, Any]:
    """Return what a checkpoint or folder keeps for prediction beside the weights, which are hardly looked at.

    Raises
    ------
    CheckpointError
        As for :func:`stored_model`.
    """
    if path.is_dir():
        return read_official(path).config
    config = kept_config(read_checkpoint(path, mmap=True))
    require_kept(config, path, family="tabstar", needed=NEEDED)
    return config


def merged(weights: Mapping[str, Tensor], adapters: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Return the weights ``W`` of a network with those of its adapters added: ``W + scale B A``.

    Parameters
    ----------
    weights : Mapping of str to Tensor
        Of the network.
    adapters : Mapping of str to Tensor
        The factors ``A [R, I]`` and ``B [O, R]`` under the names that ``peft`` gives them.
    scale : float
        Factor on what they give.
    """
    layers = [name.removesuffix(LORA_A) for name in adapters if name.endswith(LORA_A)]
    added = {
        f"{layer}.weight": weights[f"{layer}.weight"] + scale * adapters[layer + LORA_B] @ adapters[layer + LORA_A]
        for layer in layers
    }
    return dict(weights) | added


def about_base(path: Path, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what a checkpoint of adapters keeps of the model that they belong to: where it was, and which it is."""
    hub = next((part for part in path.parts if part.startswith(_HUB_FOLDER)), None)
    name = path.name if hub is None else hub.removeprefix(_HUB_FOLDER).replace("--", "/")
    return {"path": str(path.absolute()), "name": name, "weights": weights_fingerprint(weights)}


def weights_fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights and their names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_same(about: Mapping[str, str], fingerprint: str, source: Path | str) -> None:
    """Refuse adapters beside a model that they do not belong to.

    Raises
    ------
    CheckpointError
        Its weights are others.
    """
    if about["weights"] != fingerprint:
        raise CheckpointError(
            f"{source} holds adapters of {about['path']}, and the weights that are there now are others: the model was "
            "trained again or replaced. Bring back the one that was fine-tuned, or fine-tune again."
        )


def _base_of(path: Path, about: Mapping[str, str]) -> Path:
    """Return where the model is that the adapters in ``path`` belong to: where it was, beside them, or by its name."""
    was = Path(about["path"])
    for candidate in (was, path.parent / was.name):
        if candidate.exists():
            return candidate
    try:
        return find_checkpoint(about["name"], [roots().models])
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} holds adapters only, and the model that they belong to is not at {was} any more, nor beside them. "
            f"Put it there; `tabstar_lit export` writes both as one model. {error}"
        ) from error
