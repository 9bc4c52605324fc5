"""Texts, bins and numbers equal those of the official package."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabstar.preprocessing.binning import verbalize_bins
from tabstar.preprocessing.texts import normalize_col_name
from tabstar.preprocessing.verbalize import prepend_target_tokens, verbalize_feature
from tabstar.tabstar_verbalizer import TabSTARVerbalizer

from tabstar_lit.data import verbalize
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded, Preprocessor

RNG = np.random.default_rng(0)
N = 400


def columns() -> dict[str, object]:
    """Every kind of column that the official package survives."""
    gaps = np.where(RNG.random(N) < 0.2, np.nan, 1.0)
    times = pd.Series(pd.date_range("1999-12-31 22:15", periods=N, freq="37h"))
    texts = RNG.choice(["red", "two\nlines", "tab\there", "ünï 漢字", 'quo"te', "", "\x7fcontrol"], N)
    return {
        "zeta": RNG.normal(size=N),
        "Alpha col-umn.x:y": RNG.lognormal(5, 2, N),
        "snake_case": RNG.integers(5, 101, N),
        "few ints": RNG.integers(0, 3, N),
        "flag": RNG.random(N) < 0.3,
        "gappy": RNG.normal(1e6, 1e-3, N) * gaps,
        "tiny": RNG.normal(0, 1e-7, N),
        "huge": RNG.normal(0, 1e12, N),
        "two\tparts\u00a0here": texts,
        "text_with_gaps": pd.Series(texts, dtype=object).where(RNG.random(N) < 0.7),
        "digits": pd.Series(RNG.integers(0, 200, N)).astype(str),
        "digits and one mark": pd.Series(RNG.integers(0, 200, N)).astype(str).where(RNG.random(N) < 0.9, "?"),
        "few digits": pd.Series(RNG.integers(0, 30, N)).astype(str),
        "decimals": pd.Series(RNG.normal(size=N)).map("{:.2f}".format),
        "constant": 7.5,
        "constant text": "same",
        "constant with gaps": gaps,
        "all missing": np.nan,
        "when": times,
        "when, with gaps": times.where(RNG.random(N) < 0.8),
        "day": times.dt.normalize(),
        "zoned": times.dt.tz_localize("Asia/Tokyo"),
        "category": pd.Categorical(RNG.choice(["u", "v"], N)),
        "maybe": pd.Series(RNG.choice([True, False], N), dtype=object).where(RNG.random(N) < 0.5),
        "nullable": pd.array(RNG.integers(0, 9, N)).astype("Int64"),
    }


def official(frame: pd.DataFrame, train: np.ndarray) -> Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]:
    target = pd.Series(RNG.normal(size=len(frame)), name="y", index=frame.index)
    verbalizer = TabSTARVerbalizer(is_cls=False)
    verbalizer.fit(frame[train], target[train])

    def transform(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        data = verbalizer.transform(rows, None)
        return data.x_txt[:, 1:], data.x_num[:, 1:]

    return transform


def spelled(encoded: Encoded) -> np.ndarray:
    return np.array(encoded.vocabulary, dtype=object)[encoded.codes]


def test_all_kinds_of_columns_equal_the_official_package() -> None:
    frame = pd.DataFrame(columns())
    train = RNG.random(N) < 0.8
    transform = official(frame, train)
    ours = Preprocessor.fit(frame[train])
    for rows in (frame[train], frame[~train]):
        texts, numbers = transform(rows)
        encoded = ours.transform(rows)
        assert spelled(encoded).tolist() == texts.tolist()
        np.testing.assert_array_equal(z_scores(encoded.numbers), numbers)
    assert set(ours.dropped) >= {"constant", "constant text", "constant with gaps", "all missing"}


def test_a_stored_preprocessor_is_the_same() -> None:
    frame = pd.DataFrame(columns())
    fitted = Preprocessor.fit(frame)
    restored = Preprocessor.from_schema(json.loads(json.dumps(fitted.to_schema())))
    assert restored == fitted
    again, first = restored.transform(frame), fitted.transform(frame)
    assert again.vocabulary == first.vocabulary
    assert np.array_equal(again.codes, first.codes)
    assert np.array_equal(again.numbers, first.numbers, equal_nan=True)


@given(st.text())
def test_names_and_cells_equal_the_official_package(text: str) -> None:
    assert verbalize.column_text(text) == normalize_col_name(text)
    assert verbalize.feature_text(text, text) == verbalize_feature(col=text, value=text)


@pytest.mark.parametrize("classes", [[], ["no", "yes\n"], ["1.0", "2.0", "10.0"]])
def test_target_texts_equal_the_official_package(classes: list[str]) -> None:
    theirs = prepend_target_tokens(pd.DataFrame({"x": [1]}), y_name="to\tpredict", y_values=classes)
    assert verbalize.target_texts("to\tpredict", classes) == theirs.iloc[0, :-1].tolist()


@given(st.lists(st.floats(-1e9, 1e9), min_size=11, max_size=11).map(sorted))
@settings(deadline=None)
def test_bin_labels_equal_the_official_package(boundaries: list[float]) -> None:
    values = np.array(boundaries)
    assert verbalize.bin_labels(values, "official") == verbalize_bins(values)


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


def test_a_million_numbers_a_second() -> None:
    frame = pd.DataFrame(RNG.normal(size=(50_000, 30)), columns=[f"c{i}" for i in range(30)])
    start = time.process_time()
    Preprocessor.fit(frame).transform(frame)
    assert frame.size / (time.process_time() - start) > 500_000  # about 2 million on an idle core
