"""Scores as a tree of a ROOT file, beside the events they are of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from tabstar_lit.arrays import Array
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.errors import DataError

TREE = "scores"


def write_root(path: Path, tables: Iterable[pa.Table], *, n_rows: int, progress: Progress = no_progress) -> None:
    """Write tables of equal columns one after another as the tree ``scores``, never holding more than one of them.

    Where ids of events are whole numbers, as a branch ``eventNumber`` gives them, ``TTree.BuildIndex("event_id")``
    makes it a friend of the tree that the events come from.

    Parameters
    ----------
    path : Path
        The file.
    tables : iterable of pyarrow.Table
        At least one; columns of numbers and of texts.
    n_rows : int
        Rows of all tables together, for the progress bar.
    progress : callable
        For a progress bar.

    Raises
    ------
    DataError
        The file cannot be written, or the packages for ROOT files are not installed.
    """
    try:
        import uproot
    except ImportError as error:
        raise DataError(f"{path}: writing ROOT files needs uproot: pip install 'tabstar_lit[root]'") from error
    waiting = iter(tables)
    columns = _columns(next(waiting))
    kinds = {name: "string" if values.dtype == object else values.dtype for name, values in columns.items()}
    with whole_file(path) as part, uproot.recreate(part) as file, progress(n_rows) as advance:
        tree = file.mktree(TREE, kinds)
        while columns:
            tree.extend(columns)
            advance(len(next(iter(columns.values()))))
            columns = _columns(table) if (table := next(waiting, None)) is not None else {}


def _columns(table: pa.Table) -> dict[str, Array]:
    """Return columns as arrays; a text that is missing is empty, as ROOT has no other."""
    frame = table.to_pandas()
    return {
        name: values.astype(object).fillna("").to_numpy(object)
        if values.dtype.kind not in "iufb"
        else values.to_numpy()
        for name, values in frame.items()
    }
