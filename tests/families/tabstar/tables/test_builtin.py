"""The built-in corpus: real tables with speaking names, made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from benchmarks.golden.tabstar_v1 import answers
from official_answers import assert_table
from sklearn import datasets

from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.builtin import SOURCES, BuiltinSource, convert_builtin, ensure_builtin
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.open(ensure_builtin(tmp_path_factory.mktemp("builtin") / "data" / "builtin.h5"))


def test_five_tables_with_their_sizes(corpus: Corpus) -> None:
    sizes = {name: corpus.load(name).codes.shape for name in corpus.tables}
    assert sizes == {
        "iris": (150, 4),
        "wine": (178, 13),
        "breast_cancer": (569, 30),
        "digits": (1797, 61),
        "diabetes": (442, 10),
    }


def test_classes_have_names_and_about_a_tenth_validates(corpus: Corpus) -> None:
    assert corpus.load("iris").classes == ("setosa", "versicolor", "virginica")
    assert corpus.load("breast_cancer").classes == ("benign", "malignant")
    assert corpus.load("digits").classes == tuple("0123456789")
    for name in corpus.tables:
        table = corpus.load(name)
        assert 0.05 < table.is_validation.mean() < 0.15
        if table.classes:
            held_out = set(table.targets[table.is_validation].tolist())
            assert held_out == set(range(len(table.classes)))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.entry.name)
def test_equals_the_official_package(source: BuiltinSource) -> None:
    """With the rows held out that it has had: versions of scikit-learn read a few numbers differently by one bit."""
    raw = source.read()
    held_out = np.isin(np.arange(len(raw.frame)), answers()["tables"][source.entry.name]["held_out"])
    assert_table(encode_table(source.entry, raw, Settings(), held_out=held_out))


def test_numbers_are_those_of_scikit_learn(corpus: Corpus) -> None:
    table = corpus.load("diabetes")
    progression = datasets.load_diabetes().target
    np.testing.assert_allclose(table.targets * table.target_std + table.target_mean, progression, rtol=1e-5)
    assert "body mass index" in table.feature_names


def test_a_second_call_writes_nothing(tmp_path: Path) -> None:
    path = ensure_builtin(tmp_path / "builtin.h5")
    before = os.stat(path)
    assert not convert_builtin(path).written
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


def test_another_file_in_its_place_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "builtin.h5"
    path.write_text("my thesis")
    with pytest.raises(DataError, match="not overwritten"):
        ensure_builtin(path)
    assert path.read_text() == "my thesis"
