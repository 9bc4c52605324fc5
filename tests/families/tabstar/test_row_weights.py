"""Rows that count more: read from a column that is no feature, kept in the corpus, used in the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.data import TableBatches, serve
from tabstar_lit.families.tabstar.losses import build_loss
from tabstar_lit.families.tabstar.row_weights import weighted
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.manifest import read_manifest
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

MANIFEST = "- {name: t, file: t.csv, target: y, task: classification, weight: w}\n"


def corpus(folder: Path, weights: list[object]) -> Corpus:
    frame = pd.DataFrame({"x": range(60), "y": ["a", "b", "c"] * 20, "w": [*weights] * (60 // len(weights))})
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "manifest.yaml").write_text(MANIFEST)
    (entry,) = read_manifest(folder / "manifest.yaml")
    convert([FileSource(entry, folder / "t.csv")], folder / "c.h5")
    return Corpus.open(folder / "c.h5")


def test_weights_reach_the_batch_and_are_no_feature(tmp_path: Path) -> None:
    table = corpus(tmp_path, [0, 1, 2.5, 0.5]).load("t")
    assert table.feature_names == ("x",)
    assert table.weights is not None
    raw = np.array([0, 1, 2.5, 0.5] * 15)
    np.testing.assert_allclose(table.weights, raw / raw[~table.is_validation].mean(), rtol=1e-6)
    tokens = StringTokens(
        {"t": JsonTokenizer(load_tokenizer(TextEncoderConfig(name="random")), 64).encode(table.vocabulary)}
    )
    batch = TableBatches([serve(table, np.arange(1), tokens)], tokens)[RowBatch(0, np.array([5, 2]))]
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.to("cpu").weights, table.weights[[5, 2]])


@pytest.mark.parametrize("name", ["multitask", "multitask_huber"])
def test_a_row_of_weight_two_counts_as_two_rows(name: str) -> None:
    loss = build_loss(name)
    generator = torch.Generator().manual_seed(0)
    weights, counts = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0, 1, 1])
    for logits, targets in (
        (torch.randn(3, 4, generator=generator), torch.tensor([0, 3, 1])),
        (torch.randn(3, 1, generator=generator), torch.randn(3, generator=generator)),
    ):
        seen = loss(logits, targets, weights)
        torch.testing.assert_close(seen, loss(logits[counts], targets[counts]))
        assert torch.equal(loss(logits, targets), loss(logits, targets, None))
    logits = torch.randn(3, 4, generator=generator)
    by_hand = (weights * F.cross_entropy(logits, counts, reduction="none")).sum() / 3
    torch.testing.assert_close(loss(logits, counts, weights), by_hand)


@pytest.mark.parametrize(
    ("weights", "words"),
    [([1, -1], r"'w' is no number of 0 or more in 30 rows \(2, 4"), (["", 1], "in 30 rows"), ([0, 0], "is 0 in every")],
)
def test_weights_that_mean_nothing_are_refused(tmp_path: Path, weights: list[object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        corpus(tmp_path, weights)


def test_classes_may_count_alike_or_as_told(tmp_path: Path) -> None:
    table = corpus(tmp_path, [0, 1, 2.5, 0.5]).load("t")
    train, classes = ~table.is_validation, table.targets.astype(int)
    assert table.weights is not None
    for told, expected in (("balanced", [1, 1, 1]), ({"a": 3.0, "c": 0.0}, [3, 1, 0])):
        own = weighted(table, told, alone=True)  # type: ignore[arg-type]  # both kinds
        assert own.weights is not None
        sums = np.bincount(classes[train], own.weights[train])
        before = np.ones(3) if told == "balanced" else np.bincount(classes[train], table.weights[train])
        np.testing.assert_allclose(sums / sums.sum(), before * expected / (before * expected).sum(), rtol=1e-5)
        assert own.weights[train].mean() == pytest.approx(1)
    by_sklearn = compute_class_weight("balanced", classes=np.unique(classes), y=classes[train])
    alike = weighted(replace(table, weights=None), "balanced", alone=False).weights
    assert alike is not None
    np.testing.assert_allclose(alike[train], by_sklearn[classes[train]], rtol=1e-5)


@pytest.mark.parametrize(
    ("told", "alone", "words"),
    [({"d": 1.0}, True, r"no class 'd'"), ({"a": 1.0}, False, "choose it with 'tables'")],
)
def test_class_weights_that_mean_nothing_are_refused(
    tmp_path: Path, told: dict[str, float], alone: bool, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        weighted(corpus(tmp_path, [1]).load("t"), told, alone=alone)
