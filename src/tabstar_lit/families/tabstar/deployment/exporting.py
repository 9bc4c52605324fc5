"""A trained TabSTAR for others: named weights in one file, or the folder of the package, each with a model card."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.deployment.model_card import CARD_FILE, model_card
from tabstar_lit.families.tabstar.deployment.official import write_official
from tabstar_lit.families.tabstar.trained import TrainedTabstar

METADATA_KEY = "tabstar_lit"


def export_safetensors(model: TrainedTabstar, output: Path) -> list[Path]:
    """Write the weights under their names, with sizes, tokenizer and tables as JSON in the file's metadata.

    Returns
    -------
    list of Path
        What was written: the file and the model card beside it.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    metadata = {"format": "pt", METADATA_KEY: json.dumps(dict(model.config), ensure_ascii=False)}
    with whole_file(output) as part:
        save_file(weights, part, metadata=metadata)
    return [output, _card(model, output.with_name(f"{output.stem}.{CARD_FILE}"), output.name)]


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


def _card(model: TrainedTabstar, path: Path, name: str) -> Path:
    with whole_file(path) as part:
        part.write_text(model_card(model, name), encoding="utf-8")
    return path
