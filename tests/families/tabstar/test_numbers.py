"""Six numbers for a number: those of the package ``tabstar`` in its v1.1, on tables with gaps, ties and far values."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.golden.tabstar_inputs import skewed_rows
from benchmarks.golden.tabstar_v1 import answers, skewed_table

from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.numbers import SixNumbers, with_six_numbers, z_scores
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded


def test_they_are_those_of_the_package() -> None:
    own, plain = with_six_numbers(skewed_table()), skewed_table()
    assert own.feature_names == ("colour", "price", "size")
    assert own.numbers.shape == (400, 3, 6)
    assert not own.numbers[:, 0].any()
    train = ~own.is_validation
    for place, name in enumerate(own.feature_names[1:], start=1):
        # The package puts a gap at the mean of the rows that it is given; these are the ones that it learned from.
        np.testing.assert_allclose(own.numbers[train][::9, place], answers()["six_numbers"][name], atol=2e-6)
    np.testing.assert_array_equal(own.numbers[..., 0][:, 1:], z_scores(plain.numbers)[:, 1:])


def test_a_gap_stands_at_the_mean_of_the_training_rows_whatever_is_beside_it() -> None:
    own = with_six_numbers(skewed_table())
    gaps = np.flatnonzero(skewed_rows()["price"].isna())
    assert np.unique(own.numbers[gaps, 1], axis=0).shape == (1, 6)
    z, *_, missing, there = own.numbers[gaps[0], 1].tolist()
    assert (z, missing, there) == (0, 1, 1)


def test_texts_say_the_column_and_no_value() -> None:
    own, plain = with_six_numbers(skewed_table()), skewed_table()
    assert own.vocabulary[0] == plain.vocabulary[0] == "Numerical Target Feature: y"
    assert set(own.vocabulary[1:]) == {
        "Predictive Feature: colour\nFeature Value: red",
        "Predictive Feature: colour\nFeature Value: blue",
        "Numerical Feature: price",
        "Numerical Feature: size",
    }
    read = [own.vocabulary[code] for code in own.codes[0]]
    assert read == [plain.vocabulary[plain.codes[0, 0]], "Numerical Feature: price", "Numerical Feature: size"]


def test_new_rows_are_told_as_the_training_rows_were() -> None:
    own, plain = with_six_numbers(skewed_table()), skewed_table()
    six = SixNumbers(own.schema["quantiles"])
    seen = [six.apply(plain_rows, own.feature_names, heads=1).numbers for plain_rows in halves(plain)]
    np.testing.assert_array_equal(np.concatenate(seen), own.numbers)


def halves(whole: Table) -> list[Encoded]:
    parts = (slice(150), slice(150, 400))
    return [Encoded(whole.vocabulary, whole.codes[rows], whole.numbers[rows]) for rows in parts]


def test_an_old_corpus_is_refused() -> None:
    old = skewed_table()
    old.schema["converter_version"] = 2
    with pytest.raises(DataError, match=r"'toy' was converted by an older release.*convert tables"):
        with_six_numbers(old)
