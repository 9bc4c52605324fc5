"""Read events from CSV, Parquet, ROOT and HDF5 in chunks, all in one form: flat columns and jagged ones."""

from __future__ import annotations

from pathlib import Path

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.reading.csv_files import csv_reader
from tabstar_lit.families.hep.events.reading.hdf5_files import hdf5_reader
from tabstar_lit.families.hep.events.reading.parquet_files import parquet_reader
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported
from tabstar_lit.families.hep.events.reading.root_files import root_reader

__all__ = ["FORMATS", "Chunk", "Reader", "Value", "open_reader"]

FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".root": "root",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
}
"""Format of a file by the end of its name."""


def open_reader(
    path: Path, format_: str | None = None, *, tree: str | None = None, separator: str | None = None
) -> Reader:
    """Open a file of events.

    Parameters
    ----------
    path : Path
        The file.
    format_ : str, optional
        One of the values of :data:`FORMATS`; by default what the name ends with.
    tree : str, optional
        For ROOT, name of the tree; may be left out when there is only one.
    separator : str, optional
        For CSV, what separates cells; by default a comma, or a tab in files called ``.tsv``.

    Returns
    -------
    Reader
        Its columns, and how to read them.

    Raises
    ------
    DataError
        If the file is missing, damaged, of an unknown format, lacks the tree, or needs a package that is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
    endings = [end for end in FORMATS if path.name.lower().endswith(end)]
    if format_ is None and not endings:
        raise DataError(
            f"{path}: unknown kind of file; give 'format', one of {', '.join(sorted(set(FORMATS.values())))}"
        )
    with reported(path):
        match format_ or FORMATS[endings[0]]:
            case "csv":
                return csv_reader(path, separator or ("\t" if ".tsv" in path.name.lower() else ","))
            case "parquet":
                return parquet_reader(path)
            case "root":
                return root_reader(path, tree)
            case _:
                return hdf5_reader(path)
