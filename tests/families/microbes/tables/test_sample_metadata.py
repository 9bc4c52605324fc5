"""Metadata of samples: kinds of columns, marks of missing values, and rows that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checks import message_of_refusal
from hand_made_tables_of_microbes import METADATA, SAMPLES

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.metadata import Metadata, read_metadata


def read(folder: Path, text: str, *missing: str) -> Metadata:
    (folder / "m.tsv").write_text(text)
    return read_metadata(folder / "m.tsv", missing)


def test_types_missing_marks_and_kinds_are_read(tmp_path: Path) -> None:
    own = read(tmp_path, METADATA)
    assert own.sample_ids == SAMPLES
    assert list(own.columns) == ["state", "age", "subject"]
    assert [own.kind(name) for name in own.columns] == ["class", "number", "class"]
    np.testing.assert_array_equal(own.numbers("age"), [30, 41.5, np.nan, 22, 67])
    classes = own.classes("state")
    assert classes.labels == ("sick", "well")
    assert classes.codes.tolist() == [0, 1, 0, 1, -1]


def test_kinds_are_guessed_where_the_file_says_nothing(tmp_path: Path) -> None:
    own = read(tmp_path, "id\ta\tb\tc\ns1\t1\t1\tNA\ns2\t2.5e3\tx\t\n# a comment\n")
    assert [own.kind(name) for name in own.columns] == ["number", "class", "class"]
    assert own.sample_ids == ("s1", "s2")


def test_a_frame_of_pandas_with_samples_as_its_index_is_read(tmp_path: Path) -> None:
    own = read(tmp_path, pd.DataFrame({"age": [1, 2]}, index=["s1", "s2"]).to_csv(sep="\t"))
    assert own.sample_ids == ("s1", "s2")
    assert own.columns == {"age": ("1", "2")}


def test_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_bytes("id\tort\ns1\tKöln\n".encode("utf-16"))
    assert read_metadata(tmp_path / "m.tsv").columns == {"ort": ("Köln",)}


def test_further_marks_of_missing_values_are_taken(tmp_path: Path) -> None:
    text = "id\tage\ns1\t1\ns2\tlost\n"
    assert np.isnan(read(tmp_path, text, "Lost").numbers("age")[1])
    with pytest.raises(DataError, match=r"m.tsv:3: column 'age', sample 's2': 'lost' is no number.*under 'missing'"):
        read(tmp_path, text).numbers("age")


def test_rows_are_found_again_by_sample(tmp_path: Path) -> None:
    own = read(tmp_path, METADATA).of(["s4", "s1"])
    assert own.columns["subject"] == ("c", "a")
    assert own.lines == (6, 3)
    assert own.joined(["subject", "state"]).columns["subject / state"] == ("c / well", "a / sick")
    assert read(tmp_path, METADATA).joined(["subject", "age"]).columns["subject / age"][2] == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no samples"]),
        ("id\ta\n", ["no samples"]),
        ("id\ta\ta\ns1\t1\t2\n", [":1: column 3 'a' is there twice"]),
        ("id\t\ns1\t1\n", [":1: column 2 has no name"]),
        ("id\ta\ns1\n", [":2: 1 cells in a row, and the header has 2"]),
        ("id\ta\ns1\t1\ns1\t2\n", [":3: the sample 's1' is there twice"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    message = message_of_refusal(read, tmp_path, text)
    assert all(word in message for word in words), message


def test_a_column_that_is_not_there_is_asked_for_by_its_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"group: .* has no column 'subjct'. Did you mean 'subject'"):
        read(tmp_path, METADATA).require("subjct", "group")
