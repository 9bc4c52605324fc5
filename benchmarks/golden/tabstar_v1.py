"""Store what the package ``tabstar`` makes of texts, numbers, tables and rows, to compare with.

The package wants older versions of pandas and transformers than this program is tested with. Those that this program
needs at least suit both, so this runs in an environment of its own, with the folder of real tables that the tests have:

    python -m venv env
    env/bin/pip install -c constraints-oldest.txt -e '.[finetune,encoder]' tabstar==1.2.2
    env/bin/python -m benchmarks.golden.tabstar_v1 FOLDER

Weights follow from the names of the tensors, long answers are kept as hashes and sketches.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

from benchmarks.golden import tabstar_inputs as asked
from benchmarks.golden.tabstar_v11 import weight, write_folder
from tabstar_lit import load
from tabstar_lit.data.splits import row_ids
from tabstar_lit.families.tabstar.deployment.exporting import write_official
from tabstar_lit.families.tabstar.deployment.official import ENCODER_VARIABLE
from tabstar_lit.families.tabstar.tables.builtin import SOURCES, ensure_builtin
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable, read_table
from tabstar_lit.families.tabstar.tables.manifest import TableEntry, read_manifest
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder, save_encoder

STORED = Path(__file__).with_suffix(".json")
REAL_TABLES = ("imdb_genre", "heart_disease", "penguins_raw", "dc_comics", "movies_rating", "nhefs_blood_pressure")
ROWS = 60
LAYERS = 3
Parts = Mapping[str, Any]


def answers() -> dict[str, Any]:
    """Return what is stored."""
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return stored


def named_weights(shapes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights that follow from their names."""
    return {name: torch.as_tensor(weight(name, shape)) for name, shape in shapes.items()}


def write_published(stored: Mapping[str, Any], folder: Path) -> Path:
    """Write the folder of the package's model, and its text encoder with weights below it; return the latter."""
    encoder = write_folder(stored, folder)
    prefix = "text_encoder."
    own = {name.removeprefix(prefix): shape for name, shape in stored["shapes"].items() if name.startswith(prefix)}
    weights = {name: np.asarray(weight(prefix + name, shape)) for name, shape in own.items()}
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    return encoder


@contextmanager
def encoder_at(folder: Path) -> Iterator[None]:
    """Let both programs take the text encoder from a folder."""
    import tabstar.arch.arch as package

    before, package.E5_SMALL_LOCAL_PATH = package.E5_SMALL_LOCAL_PATH, str(folder)
    os.environ[ENCODER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        package.E5_SMALL_LOCAL_PATH = before
        del os.environ[ENCODER_VARIABLE]


def text_answers() -> Parts:
    """Return names of columns, cells, bins and targets in words."""
    from tabstar.preprocessing.binning import verbalize_bins
    from tabstar.preprocessing.texts import normalize_col_name
    from tabstar.preprocessing.verbalize import prepend_target_tokens, verbalize_feature

    frame = pd.DataFrame({"x": [1]})
    return {
        "names": [normalize_col_name(text) for text in asked.texts()],
        "cells": [verbalize_feature(col=text, value=text) for text in asked.texts()],
        "bins": [verbalize_bins(edges) for edges in asked.boundaries()],
        "targets": [
            prepend_target_tokens(frame, y_name="to\tpredict", y_values=classes).iloc[0, :-1].tolist()
            for classes in asked.TARGET_CLASSES
        ],
    }


def column_answers() -> list[Parts]:
    """Return the cells of training and of new rows of all kinds of columns."""
    from tabstar.tabstar_verbalizer import TabSTARVerbalizer

    frame, train = asked.columns(), asked.training_rows()
    verbalizer = TabSTARVerbalizer(is_cls=False)
    verbalizer.fit(frame[train], pd.Series(np.random.default_rng(0).normal(size=len(frame)), name="y")[train])
    parts = [verbalizer.transform(rows, None) for rows in (frame[train], frame[~train])]
    return [asked.cells_sketch(part.x_txt[:, 1:], part.x_num[:, 1:]) for part in parts]


def table_answers(table: Table, features: pd.DataFrame, target: pd.Series) -> Parts:
    """Return texts of targets, the numbers of validation rows, and of these and the others the cells and targets."""
    from tabstar.tabstar_verbalizer import TabSTARVerbalizer

    train, heads = ~table.is_validation, len(table.target_codes)
    verbalizer = TabSTARVerbalizer(is_cls=table.task == "classification")
    verbalizer.fit(features[train], target[train])
    parts = [verbalizer.transform(features[part], target[part]) for part in (train, ~train)]
    return {
        "targets": parts[0].x_txt[0, :heads].tolist(),
        "held_out": np.flatnonzero(table.is_validation).tolist(),
        "parts": [
            asked.cells_sketch(part.x_txt[:, heads:], part.x_num[:, heads:]) | {"y": asked.sketch(part.y)}
            for part in parts
        ],
    }


def all_tables(data: Path, folder: Path) -> dict[str, Parts]:
    """Return the package's view of built-in and real tables, with the training rows that they have here."""
    builtin = Corpus.open(ensure_builtin(folder / "builtin.h5"))
    told: dict[str, Parts] = {}
    for source in SOURCES:
        frame, entry = source.read().frame, source.entry
        features = frame.drop(columns=entry.target)
        told[entry.name] = table_answers(builtin.load(entry.name), features, frame[entry.target])
    entries = [entry for entry in read_manifest(data / "tabular.yaml") if entry.name in REAL_TABLES]
    convert([FileSource(entry, data / entry.file) for entry in entries], folder / "real.h5")
    real = Corpus.open(folder / "real.h5")
    for entry in entries:
        frame = read_table(data / entry.file).frame
        features = frame.drop(columns=[entry.target, *entry.ignore])
        told[entry.name] = table_answers(real.load(entry.name), features, frame[entry.target])
    return told


def write_encoder(folder: Path) -> None:
    """Write a small text encoder of the published width, with its tokenizer."""
    sizes = RandomEncoder(hidden_size=384, layers=LAYERS, heads=12, ffn_hidden=256)
    save_encoder(load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=0, random=sizes)), folder)


def network_answers(model: Any) -> Parts:
    """Return outputs ``[9, C]`` for several numbers of targets, and sketches of gradients in double precision."""
    outputs = {}
    for n_targets in (1, 2, 3, 17):
        strings, numbers = asked.network_inputs(n_rows=9, n_targets=n_targets, n_features=8)
        with torch.no_grad():
            outputs[n_targets] = model(strings, torch.from_numpy(numbers), n_targets).double().numpy().round(8).tolist()
    strings, numbers = asked.network_inputs(n_rows=5, n_targets=3, n_features=6)
    model.double()(strings, torch.from_numpy(numbers).double(), 3).pow(2).sum().backward()
    gradients = {name: asked.sketch(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    model.float().zero_grad()
    return {"outputs": outputs, "gradients": gradients}


def adapter_answers(model: Any) -> Parts:
    """Return where ``peft`` puts the package's adapters, as the package calls it, and how many weights they have."""
    from peft import LoraConfig, get_peft_model

    excluded = [name for name, _ in model.named_modules() if name.startswith("text_encoder.encoder.layer.0.")]
    wrapped = get_peft_model(model, LoraConfig(r=32, target_modules=asked.OFFICIAL_ADAPTERS, exclude_modules=excluded))
    ending = ".lora_A.default"
    layers = [name for name, _ in wrapped.named_modules() if name.endswith(ending)]
    return {
        "layers": sorted(name.removeprefix("base_model.model.").removesuffix(ending) for name in layers),
        "weights": sum(p.numel() for p in wrapped.parameters() if p.requires_grad),
    }


def probabilities(model: Any, frame: pd.DataFrame, target: pd.Series) -> list[list[float]]:
    """Return what the package makes of rows, from their cells to class probabilities ``[N, C]``."""
    from tabstar.tabstar_verbalizer import TabSTARVerbalizer

    verbalizer = TabSTARVerbalizer(is_cls=True)
    verbalizer.fit(frame, target)
    data = verbalizer.transform(frame, None)
    with torch.no_grad():
        logits = model(data.x_txt, torch.from_numpy(data.x_num), data.d_output)
    told: list[list[float]] = logits.double().softmax(1).numpy().round(9).tolist()
    return told


def model_answers(folder: Path) -> Parts:
    """Return configuration, shapes and outputs of a model of the package, and of the one that is exported here."""
    from tabstar.arch.arch import TabStarModel
    from tabstar.arch.config import TabStarConfig

    write_encoder(folder / "small")
    with encoder_at(folder / "small"):
        model = TabStarModel(TabStarConfig()).eval()
    stored: dict[str, Any] = {"shapes": {name: list(own.shape) for name, own in model.state_dict().items()}}
    model.load_state_dict(named_weights(stored["shapes"]))
    model.save_pretrained(folder / "saved")
    stored["config"] = json.loads((folder / "saved" / "config.json").read_text())
    stored["encoder"] = {
        file: json.loads((folder / "small" / file).read_text())
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json")
        if (folder / "small" / file).exists()
    }
    stored["probabilities"] = probabilities(model, *asked.rows(ROWS, seed=0))
    with encoder_at(write_published(stored, folder / "published")):
        write_official(load(folder / "published"), folder / "exported")  # type: ignore[arg-type]  # of this family
    stored["exported_config"] = json.loads((folder / "exported" / "config.json").read_text())
    del stored["exported_config"]["embedding_model"]  # a folder of this machine
    with encoder_at(folder / "exported" / "text_encoder"):
        again = TabStarModel.from_pretrained(folder / "exported", local_files_only=True).eval()
    stored["exported_probabilities"] = probabilities(again, *asked.rows(ROWS, seed=0))
    return stored | network_answers(model) | {"adapters": adapter_answers(again)}


def skewed_table() -> Table:
    """Return the table of :func:`~benchmarks.golden.tabstar_inputs.skewed_rows`."""
    frame = asked.skewed_rows()
    entry = TableEntry.model_validate({"name": "toy", "file": "toy.csv", "target": "y", "task": "regression"})
    return encode_table(entry, RawTable(frame, row_ids(frame)), Settings())


def newer_answers() -> Parts:
    """Return the six numbers of v1.1, and the loss and the readings of its heads."""
    from tabstar.tabstarv1p1.preprocessing.numerical import RichNumericalTransformer
    from tabstar.tabstarv1p1.training.loss import calculate_mixed_loss, reg_predictions_to_scalar

    frame, train = asked.skewed_rows(), ~skewed_table().is_validation
    six = {}
    for name in ("price", "size"):
        own = frame[name][train]
        six[name] = RichNumericalTransformer.fit_series(own, d_num=6).transform(own)[::9]
    edges = torch.linspace(-asked.LIMIT, asked.LIMIT, asked.BINS + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    targets = torch.tensor(asked.REGRESSION_TARGETS).clamp(-asked.LIMIT, asked.LIMIT)
    outputs = torch.from_numpy(asked.head_outputs())
    loss = calculate_mixed_loss(targets, outputs, torch.tensor([1]), bin_edges=edges, bin_centers=centers)
    return {
        "six_numbers": {name: np.asarray(own, dtype=np.float64).round(7).tolist() for name, own in six.items()},
        "mixed_loss": loss.item(),
        "head_values": reg_predictions_to_scalar(outputs, centers).tolist(),
    }


def main(data: Path) -> None:
    """Store every answer, given the folder of real tables."""
    with TemporaryDirectory() as name:
        stored = {
            **text_answers(),
            "columns": column_answers(),
            "tables": all_tables(data, Path(name)),
            "model": model_answers(Path(name)),
            **newer_answers(),
        }
    STORED.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    print(f"wrote {STORED}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
