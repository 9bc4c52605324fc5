"""Rows of any length keep their values through every rearrangement and through a file."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError

ROWS = st.lists(st.lists(st.integers(-9, 9), max_size=6), max_size=8)


def listed(rows: Ragged) -> list[list[int]]:
    return [row.tolist() for row in rows]


@given(rows=ROWS, more=ROWS, data=st.data())
def test_rows_are_those_of_lists(rows: list[list[int]], more: list[list[int]], data: st.DataObject) -> None:
    own = Ragged.of(rows, np.int32)
    assert (listed(own), own.lengths.tolist(), len(own)) == (rows, [len(row) for row in rows], len(rows))
    assert listed(Ragged.joined([own, Ragged.of(more, np.int32)], np.int32)) == rows + more
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9) if rows else st.just([]))
    assert listed(own.take(np.array(chosen, dtype=np.int64))) == [rows[i] for i in chosen]


@given(rows=ROWS.filter(bool), data=st.data())
def test_padded_rows_are_those_of_torch(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=9)))
    values, lengths = Ragged.of(rows, np.float32).padded(chosen)
    tensors = [torch.tensor(rows[i], dtype=torch.float32) for i in chosen]
    np.testing.assert_array_equal(values, torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True).numpy())
    assert lengths.tolist() == [len(rows[i]) for i in chosen]
    assert values.dtype == np.float32


@settings(max_examples=30)
@given(rows=ROWS)
def test_a_file_gives_back_what_was_written(rows: list[list[int]]) -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        Ragged.of(rows, np.int16).write(file, "rows")
        own = Ragged.read(file, "rows", remedy="Make it again.")
    assert (listed(own), own.flat.dtype) == (rows, np.int16)


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 3], [0, 2, 1, 2]])
def test_offsets_that_do_not_fit_are_damage(offsets: list[int]) -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        Ragged(np.zeros(2), np.array(offsets, dtype=np.int64)).write(file, "rows")
        with pytest.raises(DataError, match=r"offsets of 'rows' do not rise to 2\. Make it again"):
            Ragged.read(file, "rows", remedy="Make it again.")


def test_rows_are_views_and_counted_from_either_end() -> None:
    rows = Ragged.of([[1], [2, 3], []], np.int64)
    assert rows[-2].tolist() == [2, 3]
    assert np.shares_memory(rows[1], rows.flat)
    for row in (3, -4):
        with pytest.raises(IndexError, match=f"row {row} of 3"):
            rows[row]
