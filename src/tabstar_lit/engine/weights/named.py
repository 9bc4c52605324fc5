"""A checkpoint as one safetensors file: named weights, and beside them what the checkpoint keeps, to load it back.

Any program reads the weights (https://github.com/huggingface/safetensors), and this one the whole: the metadata of the
file hold, under :data:`CHECKPOINT_ENTRY`, what a checkpoint has under its key as JSON, and a check sum of all of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isal.isal_zlib import crc32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import CheckpointError

SUFFIX = ".safetensors"
CHECKPOINT_ENTRY = "checkpoint"
SUM_ENTRY = "crc32"

_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"
"""What JSON has no kind of, as objects with one of these keys; the last is a mapping whose keys are no text."""


def write_named(
    path: Path, weights: Mapping[str, Tensor], own: Mapping[str, Any], description: Mapping[str, str] | None = None
) -> int:
    """Write weights and all that is kept beside them.

    Parameters
    ----------
    path : Path
        The file.
    weights : mapping of str to Tensor
        By their names in the network.
    own : Mapping
        What a checkpoint has under its key: plain values, and tensors, which are stored under their place in the
        payload, such as ``calibration.weight``.
    description : mapping of str to str, optional
        Further metadata for other programs.

    Returns
    -------
    int
        Number of tensors.

    Raises
    ------
    CheckpointError
        A value has no form in JSON, or a kept tensor has the name of a weight.
    DataError
        The file cannot be written.
    """
    tensors = dict(weights)

    def store(place: str, tensor: Tensor) -> str:
        name = place.removeprefix("payload.")
        if name in tensors:
            raise CheckpointError(f"{path}: both a weight and a tensor kept beside the weights are called '{name}'.")
        tensors[name] = tensor
        return name

    text = json.dumps(_plain(own, "", store), ensure_ascii=False)
    copied = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {**(description or {}), "format": "pt", CHECKPOINT_ENTRY: text, SUM_ENTRY: _sum(text, copied)}
    with whole_file(path) as part:
        save_file(copied, part, metadata=metadata)
    return len(copied)


def read_named(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of a file by their names, and what a checkpoint has under its key.

    Parameters
    ----------
    path : Path
        The file.
    tensors : bool
        Compare the check sum, for which every number is read.

    Raises
    ------
    CheckpointError
        The file is damaged, or another program wrote it.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is missing or damaged ({error}). Export it again.") from error
    if CHECKPOINT_ENTRY not in metadata:
        raise CheckpointError(
            f"{path} holds weights alone, and not what is needed to build their network. Give a checkpoint, or a file "
            "that 'tabstar_lit export --safetensors' wrote."
        )
    text = metadata[CHECKPOINT_ENTRY]
    if tensors and metadata.get(SUM_ENTRY) != _sum(text, found):
        raise CheckpointError(f"{path} is damaged: its check sum is another. Export it again.")
    try:
        own = _tree(json.loads(text), found)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Export it again.") from error
    return found, own


def _sum(text: str, tensors: Mapping[str, Tensor]) -> str:
    total = crc32(text.encode())
    for name in sorted(tensors):
        total = crc32(tensors[name].reshape(-1).view(uint8).numpy().data, crc32(name.encode(), total))
    return f"{total:08x}"


def _plain(value: Any, place: str, store: Callable[[str, Tensor], str]) -> Any:
    """Return ``value`` as JSON has it; ``store`` takes its tensors, and returns what they are called."""
    if isinstance(value, Tensor):
        return {_TENSOR: store(place, value)}
    if isinstance(value, Mapping):
        below = [(key, _plain(item, f"{place}.{key}".lstrip("."), store)) for key, item in value.items()]
        texts = all(isinstance(key, str) and not key.startswith("$") for key in value)
        return dict(below) if texts else {_ITEMS: [[_plain(key, place, store), item] for key, item in below]}
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{place}.{number}".lstrip("."), store) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"A checkpoint keeps a {type(value).__name__} under '{place}', which has no form in JSON.")


def _tree(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return what :func:`_plain` made of a tree as it was, and take its tensors out of ``tensors``."""
    if isinstance(value, list):
        return [_tree(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors.pop(value[_TENSOR])
    if _TUPLE in value:
        return tuple(_tree(item, tensors) for item in value[_TUPLE])
    if _ITEMS in value:
        return {_tree(key, tensors): _tree(item, tensors) for key, item in value[_ITEMS]}
    return {key: _tree(item, tensors) for key, item in value.items()}
