"""Packing: every piece once, no row over its capacity, few rows, and the same outcome for the same lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.packing import best_fit, cut_lengths
from tabstar_lit.errors import DataError


@settings(max_examples=100)
@given(lengths=st.lists(st.integers(1, 30), max_size=60), capacity=st.integers(30, 50))
def test_every_piece_stands_in_one_row_that_holds_it(lengths: list[int], capacity: int) -> None:
    own = np.array(lengths, dtype=np.int64)
    rows = best_fit(own, capacity)
    assert sorted(rows.flat.tolist()) == list(range(len(own)))
    filled = [int(own[rows[row]].sum()) for row in range(len(rows))]
    assert all(0 < total <= capacity for total in filled)


def fit_by_hand(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing as a textbook has it: look at every row."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if sum(row) + length <= capacity]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            rows.append([length])
    return rows


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 20), max_size=40))
def test_as_many_rows_as_the_textbook_needs(lengths: list[int]) -> None:
    own = np.array(lengths, dtype=np.int64)
    rows = best_fit(own, 20)
    packed = [sum(own[rows[row]].tolist()) for row in range(len(rows))]
    assert sorted(packed) == sorted(map(sum, fit_by_hand(lengths, 20)))


def test_short_texts_fill_their_rows() -> None:
    lengths = np.random.default_rng(0).integers(60, 400, 5000)
    rows = best_fit(lengths, 512)
    assert lengths.sum() / (512 * len(rows)) > 0.97


def test_long_ones_are_cut_and_only_the_last_piece_is_short() -> None:
    owners, starts = cut_lengths(np.array([10, 0, 4, 5]), 4)
    assert owners.tolist() == [0, 0, 0, 2, 3, 3]
    assert starts.tolist() == [0, 4, 8, 0, 0, 4]


@pytest.mark.parametrize("lengths", [[3, 6], [0, 3]])
def test_what_fits_in_no_row_is_refused(lengths: list[int]) -> None:
    with pytest.raises(DataError, match="do not fit in rows of 5"):
        best_fit(np.array(lengths), 5)
