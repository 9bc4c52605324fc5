"""Files that commands write: there once they are complete, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.errors import DataError
from tabstar_lit.files import replacement

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; what stands there at the end becomes ``path``, see :mod:`..files`.

    Raises
    ------
    DataError
        The folder cannot be written to, or the disk is full. A file of that name from before stays as it was.
    """
    try:
        with replacement(path) as part:
            yield part
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}). Check free space and permissions of "
            f"{path.parent}, or give another output with -o."
        ) from error


def write_parquet(
    path: Path, tables: Iterable[pa.Table], *, n_rows: int | None, progress: Progress = no_progress
) -> None:
    """Write tables of equal columns one after another as one Parquet file, never holding more than one of them.

    Parameters
    ----------
    path : Path
        The file.
    tables : iterable of pyarrow.Table
        At least one. The first is made before anything is written, so that bad input leaves no trace.
    n_rows : int or None
        Rows of all tables together, for the progress bar; None where nobody knows yet.
    progress : callable
        For a progress bar.

    Raises
    ------
    DataError
        As for :func:`whole_file`.
    """
    import pyarrow.parquet as pq

    waiting = iter(tables)
    first = next(waiting)
    with whole_file(path) as part, pq.ParquetWriter(part, first.schema) as writer, progress(n_rows) as advance:
        for table in chain([first], waiting):
            writer.write_table(table)
            advance(len(table))
