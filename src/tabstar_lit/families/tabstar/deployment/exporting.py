"""A trained TabSTAR for others: named weights in one file, or the folder of the package, each with a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.engine.exporting import write_weights
from tabstar_lit.engine.reports.card import CARD_FILE, write_card
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, CHECKPOINT_SCHEMA_VERSION, AtomicCheckpointIO
from tabstar_lit.engine.weights.folders import CONFIG_FILE, WEIGHTS_FILE
from tabstar_lit.engine.weights.loading import NETWORK
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.card import card_text
from tabstar_lit.families.tabstar.deployment.official import (
    BINS,
    ENCODER_FOLDER,
    NEWER,
    NEWER_CONFIG,
    OLDER,
    PAYLOAD_FILE,
    PUBLISHED_ENCODER,
    SIZES,
    WIDTH,
    is_newer,
    newer_name,
)
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.nn.text_sources import save_encoder

METADATA_KEY = "tabstar_lit"


def export_safetensors(model: TrainedTabstar, output: Path) -> list[Path]:
    """Write the weights under their names, with sizes, tokenizer and tables as JSON in the file's metadata.

    The file can be given wherever a checkpoint is asked for, see :func:`~tabstar_lit.engine.exporting.write_weights`.

    Returns
    -------
    list of Path
        What was written: the file and the model card beside it.
    """
    description = {METADATA_KEY: json.dumps(dict(model.config), ensure_ascii=False)}
    write_weights(model.network, model.config, output, description)
    return [output, _card(model, output.with_name(f"{output.stem}.{CARD_FILE}"), output.name)]


def write_checkpoint(model: TrainedTabstar, path: Path, **more: Any) -> Path:
    """Write a model as one checkpoint, whole: of adapters as part of the weights. ``more`` is kept beside it.

    It holds tensors and plain values only: loading it runs no code.
    """
    weights = {NETWORK + name: tensor.cpu() for name, tensor in model.network.state_dict().items()}
    own = {"schema_version": CHECKPOINT_SCHEMA_VERSION, "payload": dict(model.config), **more}
    AtomicCheckpointIO().save_checkpoint({"state_dict": weights, CHECKPOINT_KEY: own}, path)
    return path


def export_checkpoint(model: TrainedTabstar, output: Path) -> list[Path]:
    """Write a checkpoint that every command takes, and its model card.

    Returns
    -------
    list of Path
        What was written.
    """
    return [write_checkpoint(model, output), _card(model, output.with_name(f"{output.stem}.{CARD_FILE}"), output.name)]


def export_official(model: TrainedTabstar, folder: Path) -> list[Path]:
    """Write a folder that the package ``tabstar`` loads, and this program, with its model card.

    Raises
    ------
    CheckpointError
        The package has no such architecture.
    DataError
        Something else than a folder of that name is there.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; a folder is written with --tabstar. Give another output with -o.")
    written = write_official(model, folder)
    return [*written, _card(model, folder / CARD_FILE, folder.name)]


def write_official(model: TrainedTabstar, folder: Path) -> list[Path]:
    """Write a model so that the package ``tabstar``, and this program, load it.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    CheckpointError
        The package has no such architecture.
    """
    require_official(model)
    folder.mkdir(parents=True, exist_ok=True)
    newer = is_newer(model.config["architecture_config"])
    state = model.network.state_dict().items()
    weights = {newer_name(name) if newer else name: tensor.detach().cpu().contiguous() for name, tensor in state}
    name = model.config["architecture_config"]["text_encoder"]["name"]
    with whole_file(folder / WEIGHTS_FILE) as part:
        save_file(weights, part, metadata={"format": "pt"})
    _write_json(folder / CONFIG_FILE, NEWER_CONFIG | {"text_model": name} if newer else _package_config(name))
    _write_json(folder / PAYLOAD_FILE, dict(model.config))
    written = [folder / WEIGHTS_FILE, folder / CONFIG_FILE, folder / PAYLOAD_FILE]
    if name != PUBLISHED_ENCODER:
        save_encoder(model.network.text_encoder, folder / ENCODER_FOLDER)
        written.append(folder / ENCODER_FOLDER)
    return written


def require_official(model: TrainedTabstar) -> None:
    """Refuse sizes that the package does not have; the message names the first.

    Raises
    ------
    CheckpointError
        There is one.
    """
    own, encoder = model.config["architecture_config"], model.network.text_encoder
    seen = {"text_encoder width": encoder.width, "text_encoder.pooling": encoder.pooling}
    wanted = {"text_encoder width": WIDTH, "text_encoder.pooling": "cls"}
    sizes = SIZES | (NEWER | {"regression_bins": BINS} if is_newer(own) else OLDER)
    seen |= {key: value if own.get(key) is None else own[key] for key, value in sizes.items()}
    wanted |= sizes
    for key, value in wanted.items():
        if seen[key] != value:
            raise CheckpointError(
                f"{model.path}: the package tabstar has {key} {value}, and this model has {seen[key]}, so it cannot "
                "load it. Use --safetensors, or train model_config=tabstar/base or tabstar/v11."
            )
    kind = encoder.config.model_type
    if kind != "bert":
        raise CheckpointError(
            f"{model.path}: the package tabstar reads strings with a bert, and this model has a {kind}."
        )


def _package_config(encoder: str) -> dict[str, Any]:
    return {
        "architectures": ["TabStarModel"],
        "model_type": "tabstar",
        "d_model": WIDTH,
        "embedding_model": encoder,
        "weight_decay": 0.001,
        "dtype": "float32",
    }


def _card(model: TrainedTabstar, path: Path, name: str) -> Path:
    return write_card(card_text(model.config), path, name, family="tabstar")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
