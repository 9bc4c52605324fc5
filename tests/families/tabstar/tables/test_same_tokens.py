"""Texts that the encoder cannot tell apart: refused with their names, or said."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from tabstar_lit.commands.data import data
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.manifest import read_manifest
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

LONG = "How satisfied were you with the following part of the service, all things considered, and why? " * 9


@pytest.fixture(scope="module")
def tokenizer() -> str:
    return load_tokenizer(TextEncoderConfig(name="offline-minilm"))


def corpus(folder: Path, frame: pd.DataFrame, **keys: object) -> Path:
    frame.to_csv(folder / "t.csv", index=False)
    entry = {"name": "toy", "file": "t.csv", "target": "kind", "task": "classification", **keys}
    (folder / "m.yaml").write_text(yaml.safe_dump([entry]))
    sources = [FileSource(entry, folder / entry.file) for entry in read_manifest(folder / "m.yaml")]
    return convert(sources, folder / "c.h5").path


def frame(classes: list[str], **columns: object) -> pd.DataFrame:
    n = 60
    x = np.random.default_rng(0).normal(size=n)
    return pd.DataFrame({"x": x, **columns, "kind": [classes[int(value > 0)] for value in x]})


def opened(path: Path, tokenizer: str, **keys: object) -> TabstarData:
    config = TabstarDataset(name="t", corpus=str(path), **keys)
    return TabstarData(config, tokenizer=tokenizer, max_tokens=128, seed=0, keep_tokens=False)


@pytest.mark.parametrize("classes", [["😀", "😡"], ["M", "m"], ["yes", "yes "]])
def test_classes_that_read_the_same_are_refused_with_their_names(
    tmp_path: Path, tokenizer: str, classes: list[str]
) -> None:
    path = corpus(tmp_path, frame(classes))
    with pytest.raises(DataError, match=r"table 'toy': classes .* are the same tokens .* under 'class_names'") as error:
        opened(path, tokenizer)
    assert all(f"'{name}'" in str(error.value) for name in classes)


def test_other_names_mend_it(tmp_path: Path, tokenizer: str) -> None:
    path = corpus(tmp_path, frame(["😀", "😡"]), class_names={"😀": "glad", "😡": "angry"})
    assert opened(path, tokenizer).schemas["toy"]["target"]["classes"] == ["glad", "angry"]


def test_columns_that_read_the_same_are_refused_or_said(
    tmp_path: Path, tokenizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(1)
    path = corpus(tmp_path, frame(["a", "b"], Mass=rng.normal(size=60), MASS=rng.normal(size=60)))
    words = "table 'toy': columns 'MASS' and 'Mass' are the same tokens"
    with pytest.raises(DataError, match=words):
        opened(path, tokenizer)
    with caplog.at_level(logging.WARNING):
        opened(path, tokenizer, same_tokens="warn")
    assert words in caplog.text


def test_a_name_so_long_that_values_are_cut_is_said_and_renaming_mends_it(
    tmp_path: Path, tokenizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = frame(["a", "b"]).assign(**{LONG: ["yes", "no", "maybe"] * 20})
    with caplog.at_level(logging.WARNING):
        opened(corpus(tmp_path, table), tokenizer)
    assert "is so long that its values are cut off" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        opened(corpus(tmp_path, table, rename={LONG: "satisfaction"}), tokenizer)
    assert caplog.text == ""


def test_a_corpus_is_shown_with_kinds_duplicates_and_examples(tmp_path: Path) -> None:
    table = pd.concat([frame(["a", "b"], colour=["red", "green"] * 30)] * 2, ignore_index=True)
    path = corpus(tmp_path, table.assign(day="2024-01-02", same=1), dates=["day"])
    shown = CliRunner().invoke(data, ["show", str(path)], catch_exceptions=False).output
    assert "toy: classification of 'kind' (2 classes)" in shown
    assert "60 rows with the features of one above" in shown
    assert "colour (text)" in shown
    assert "x (number)" in shown
    assert "same: left out, it has the same value in all training rows" in shown
    assert "reads: Predictive Feature: colour | Feature Value: " in shown
