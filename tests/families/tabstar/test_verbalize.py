"""Texts, bins and numbers equal those of the official package."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from benchmarks.golden import tabstar_inputs as asked
from benchmarks.golden.tabstar_v1 import answers
from official_answers import assert_cells
from sklearn.preprocessing import StandardScaler

from tabstar_lit.data import verbalize
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded, Preprocessor

RNG = np.random.default_rng(0)


def spelled(encoded: Encoded) -> np.ndarray:
    return np.array(encoded.vocabulary, dtype=object)[encoded.codes]


def test_all_kinds_of_columns_equal_the_official_package() -> None:
    frame, train = asked.columns(), asked.training_rows()
    ours = Preprocessor.fit(frame[train])
    for rows, told in zip((frame[train], frame[~train]), answers()["columns"], strict=True):
        encoded = ours.transform(rows)
        assert_cells(spelled(encoded), z_scores(encoded.numbers), told)
    assert set(ours.dropped) >= {"constant", "constant text", "constant with gaps", "all missing"}


def test_a_stored_preprocessor_is_the_same() -> None:
    frame = asked.columns()
    fitted = Preprocessor.fit(frame)
    restored = Preprocessor.from_schema(json.loads(json.dumps(fitted.to_schema())))
    assert restored == fitted
    again, first = restored.transform(frame), fitted.transform(frame)
    assert again.vocabulary == first.vocabulary
    assert np.array_equal(again.codes, first.codes)
    assert np.array_equal(again.numbers, first.numbers, equal_nan=True)


def test_names_and_cells_equal_the_official_package() -> None:
    texts, told = asked.texts(), answers()
    assert [verbalize.column_text(text) for text in texts] == told["names"]
    assert [verbalize.feature_text(text, text) for text in texts] == told["cells"]


@pytest.mark.parametrize("number", range(len(asked.TARGET_CLASSES)))
def test_target_texts_equal_the_official_package(number: int) -> None:
    told = answers()["targets"][number]
    assert verbalize.target_texts("to\tpredict", asked.TARGET_CLASSES[number]) == told


def test_bin_labels_equal_the_official_package() -> None:
    labels = [verbalize.bin_labels(edges, "official") for edges in asked.boundaries()]
    assert labels == answers()["bins"]


def test_the_outer_bins_by_letter_or_by_value() -> None:
    boundaries = np.linspace(5, 100, 11)
    official_labels = verbalize.bin_labels(boundaries, "official")
    numeric_labels = verbalize.bin_labels(boundaries, "numeric")
    assert (official_labels[0], official_labels[-1]) == (
        "Lower than 100 (Quantile 0%)",
        "Higher than 90.5 (Quantile 100%)",
    )
    assert (numeric_labels[0], numeric_labels[-1]) == (
        "Lower than 5 (Quantile 0%)",
        "Higher than 100 (Quantile 100%)",
    )
    assert official_labels[1:-1] == numeric_labels[1:-1]


def test_statistics_come_from_the_training_rows_only() -> None:
    train = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "word": ["a", "b", "a", "b"]})
    fitted = Preprocessor.fit(train)
    number = fitted.columns[-1]
    assert number.scale is not None
    assert number.scale == pytest.approx((1.5, np.sqrt(1.25)))
    strange = fitted.transform(pd.DataFrame({"x": [1e9, np.nan], "word": ["unseen", None]}))
    assert z_scores(strange.numbers[:, 1]).tolist() == [3.0, 0.0]
    assert spelled(strange).tolist() == [
        [
            "Predictive Feature: word\nFeature Value: unseen",
            "Predictive Feature: x\nFeature Value: Higher than 3 (Quantile 100%)",
        ],
        [
            "Predictive Feature: word\nFeature Value: Unknown Value",
            "Predictive Feature: x\nFeature Value: Unknown Value",
        ],
    ]


def test_a_second_mark_in_a_column_of_digits_is_missing() -> None:
    """The official package raises here."""
    train = pd.DataFrame({"code": [str(i) for i in range(60)]})
    encoded = Preprocessor.fit(train).transform(pd.DataFrame({"code": ["7", "?", "-", None]}))
    assert [text.endswith("Unknown Value") for text in spelled(encoded)[:, 0]] == [False, True, True, True]


def test_equal_names_after_cleaning_are_refused() -> None:
    frame = pd.DataFrame({"a b": [1, 2], "a\tb": [3, 4]})
    with pytest.raises(DataError, match="columns 'a b' and 'a\tb' both read 'a b'"):
        Preprocessor.fit(frame)
    dates = pd.DataFrame({"t": pd.to_datetime(["2020-01-01", "2021-02-02"]), "t_year": [1, 2]})
    with pytest.raises(DataError, match="the date 't' gives a column 't_year'"):
        Preprocessor.fit(dates)


def test_new_rows_must_have_the_columns() -> None:
    frame = pd.DataFrame({"weight": [1.0, 2.0], "t": pd.to_datetime(["2020-01-01", "2021-02-02"])})
    fitted = Preprocessor.fit(frame)
    with pytest.raises(DataError, match=r"no column 'weight'.* Did you mean 'wieght'"):
        fitted.transform(frame.rename(columns={"weight": "wieght"}))
    with pytest.raises(DataError, match="column 't' must hold dates"):
        fitted.transform(frame.assign(t="yesterday"))


def test_numbers_beyond_scaling_are_refused() -> None:
    with pytest.raises(DataError, match="column 'x' holds numbers too large"):
        Preprocessor.fit(pd.DataFrame({"x": [1e300, -1e300, 0.0]}))


def test_columns_are_fitted_together_and_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide table is one call of scikit-learn, and another for each number of gaps."""
    wide = pd.DataFrame(RNG.lognormal(0, 3, (90, 40)), columns=[f"c{number:02}" for number in range(40)])
    wide.loc[:8, "c07"] = np.nan
    wide.loc[:8, "c21"] = np.nan
    alone = [Preprocessor.fit(wide[[name]]).columns[0] for name in wide]
    shapes: list[tuple[int, ...]] = []
    fit = StandardScaler.fit
    monkeypatch.setattr(StandardScaler, "fit", lambda own, values: shapes.append(values.shape) or fit(own, values))
    assert list(Preprocessor.fit(wide).columns) == alone
    assert shapes == [(90, 38), (81, 2)]


def test_a_million_numbers_a_second() -> None:
    frame = pd.DataFrame(RNG.normal(size=(50_000, 30)), columns=[f"c{i}" for i in range(30)])
    start = time.process_time()
    Preprocessor.fit(frame).transform(frame)
    assert frame.size / (time.process_time() - start) > 500_000  # about 2 million on an idle core
