"""A file that a command writes is there whole or not at all, and what stood there before stays."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabstar_lit.data.outputs import whole_file, write_parquet
from tabstar_lit.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(target: Path, error: BaseException) -> None:
    with whole_file(target) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("before", [None, "old"])
def test_the_file_appears_in_one_step_at_the_end(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "scores.parquet"
    if before:
        target.write_text(before)
    with whole_file(target) as part:
        part.write_text("new")
        assert part.parent == target.parent, "a move between disks is not one step"
        assert (target.read_text() if target.exists() else None) == before
    assert (target.read_text(), names(tmp_path)) == ("new", ["scores.parquet"])


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a" / "b" / "c.txt") as part:
        part.write_text("x")
    assert names(tmp_path / "a" / "b") == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("stop"), DataError("bad rows")])
def test_another_error_passes_unchanged_and_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "e.txt"
    target.write_text("old")
    with pytest.raises(type(error), match=str(error)) as raised:
        fail_half_way(target, error)
    assert raised.value is error
    assert (target.read_text(), names(tmp_path)) == ("old", ["e.txt"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"), (OSError("broken pipe"), "broken")],
)
def test_a_full_disk_is_told_with_the_reason_and_the_remedy(tmp_path: Path, error: OSError, reason: str) -> None:
    target = tmp_path / "e.txt"
    with pytest.raises(DataError, match=rf"e\.txt: cannot be written \({reason}.*-o\.$") as raised, whole_file(target):
        raise error
    assert raised.value.__cause__ is error
    assert f"permissions of {tmp_path}" in str(raised.value)


def test_writing_nothing_is_an_error_and_no_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"e\.txt: cannot be written \(No such file"), whole_file(tmp_path / "e.txt"):
        pass
    assert names(tmp_path) == []


def test_a_folder_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(DataError, match="out: cannot be written"), whole_file(target) as part:
        part.write_text("x")
    assert names(tmp_path) == ["out"]
    assert target.is_dir()


def tables(*sizes: int) -> Iterator[pa.Table]:
    """Yield tables of the numbers from 0 on; a negative size is an error on the way."""
    first = 0
    for size in sizes:
        if size < 0:
            raise DataError("a column is missing")
        yield pa.table({"x": range(first, first + size)})
        first += size


def test_parquet_is_written_table_by_table(tmp_path: Path) -> None:
    steps: list[int | None] = []

    @contextmanager
    def progress(total: int | None) -> Iterator[Callable[[int], object]]:
        steps.append(total)
        yield steps.append

    write_parquet(tmp_path / "x.parquet", tables(3, 2, 4), n_rows=9, progress=progress)
    assert pq.read_table(tmp_path / "x.parquet")["x"].to_pylist() == list(range(9))
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    assert steps == [9, 3, 2, 4]


@pytest.mark.parametrize("sizes", [(-1,), (3, -1)])
def test_parquet_that_is_not_finished_leaves_the_old_file(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    target = tmp_path / "below" / "x.parquet"
    with pytest.raises(DataError, match="a column is missing"):
        write_parquet(target, tables(*sizes), n_rows=5)
    assert names(tmp_path) == ([] if sizes == (-1,) else ["below"])
    write_parquet(target, tables(2), n_rows=2)
    with pytest.raises(DataError, match="a column is missing"):
        write_parquet(target, tables(*sizes), n_rows=5)
    assert (names(target.parent), pq.read_table(target).num_rows) == (["x.parquet"], 2)
