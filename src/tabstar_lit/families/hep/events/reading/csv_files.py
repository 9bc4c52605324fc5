"""Events of CSV files, whose types pandas guesses chunk by chunk."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Array
from tabstar_lit.data.encodings import unicode_in
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.arithmetic import WHOLE_IN_FLOAT64
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported

MISSING_NUMBERS = [
    *("", "nan", "NaN", "-nan", "-NaN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None"),
    *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
]
"""Cells of a CSV file that stand for a number that is missing: pandas' own list, which it applies to texts as well."""


def csv_reader(path: Path, separator: str) -> Reader:
    """Open a CSV file; of its columns only those with a name of their own can be read."""
    encoding = unicode_in(path, zipped=path.suffix == ".gz")
    header = pd.read_csv(path, sep=separator, encoding=encoding, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = tuple(map(str, pd.read_csv(path, sep=separator, encoding=encoding, nrows=0).columns))
    times = Counter(header.iloc[0].tolist())

    def read(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        for name in names:
            if times[name] > 1:
                raise DataError(f"{path}: {times[name]} columns are called '{name}' (line 1); rename all but one")
        start = 0
        # Of texts only empty cells are missing: None, NA and null may be categories.
        missing = {name: [""] if name in texts else MISSING_NUMBERS for name in names}
        with (
            reported(path),
            warnings.catch_warnings(),
            pd.read_csv(
                path,
                sep=separator,
                encoding=encoding,
                index_col=False,  # all columns are read: else cells beyond the header are left out without a word
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values=missing,
                chunksize=rows,
                low_memory=False,  # else a type is guessed anew within a chunk
            ) as frames,
        ):
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            for frame in frames:
                columns: dict[str, Value] = {name: _values(frame[name]) for name in names}
                _require_digits(path, separator, encoding, columns)
                yield Chunk(start, len(frame), columns)
                start += len(frame)

    return Reader(names, None, read, guesses_types=True)


def _values(series: pd.Series) -> Array:
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.to_numpy()
    return np.asarray(series.astype(object).where(series.notna(), None).to_numpy(dtype=object))


def _require_digits(path: Path, separator: str, encoding: str, columns: dict[str, Value]) -> None:
    """Refuse whole numbers over 2^53 beside a gap, where pandas makes fractions of them and they lose digits."""
    for name, values in columns.items():
        if (
            isinstance(values, Jagged)
            or values.dtype.kind != "f"
            or not np.isnan(values).any()
            or not np.any(np.abs(values) > WHOLE_IN_FLOAT64)
        ):
            continue
        options: dict[str, Any] = {"usecols": [name], "dtype": str, "index_col": False, "chunksize": 1 << 16}
        with pd.read_csv(path, sep=separator, encoding=encoding, **options) as frames:
            for frame in frames:
                if frame[name].str.fullmatch(r"[+-]?\d{16,}").any():
                    raise DataError(f"{path}: column '{name}' has gaps, and whole numbers over 2^53: fill the gaps")
