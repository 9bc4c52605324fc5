"""Events of Parquet files: flat columns, lists, and records and lists of records, whose members are columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabstar_lit.arrays import Array
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.arithmetic import with_gaps
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported


class _Leaf(NamedTuple):
    """A column: the members that lead to it, and what Parquet calls it, where that is another name."""

    top: str
    members: tuple[str, ...]
    stored: str


def parquet_reader(path: Path) -> Reader:
    """Open a Parquet file; ``part.pt`` is the member ``pt`` of the column ``part``, a record or a list of records."""
    with pq.ParquetFile(path) as file:
        schema, n_events = file.schema_arrow, file.metadata.num_rows
        stored = [file.schema.column(index).path for index in range(len(file.schema))]
    leaves = _leaves(schema, stored)

    def read(names: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        start, wanted = 0, sorted({leaves[name].stored for name in names})
        with reported(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=wanted):
                columns = {name: _column(batch, leaves[name], name, name in texts) for name in names}
                yield Chunk(start, len(batch), columns)
                start += len(batch)

    return Reader(tuple(leaves), n_events, read)


def _leaves(schema: pa.Schema, stored: list[str]) -> dict[str, _Leaf]:
    """Return all columns by name; a column of its own goes before the member of another one."""
    found = [(field.name, _Leaf(field.name, (), field.name)) for field in schema if not _members(field.type)]
    for field in schema:
        own = [place for place in stored if place == field.name or place.startswith(f"{field.name}.")]
        paths = list(_paths(field.type)) if _members(field.type) else []
        if len(paths) != len(own):  # a member is itself a map: the column is read whole
            own = [field.name] * len(paths)
        found += [
            (".".join((field.name, *members)), _Leaf(field.name, members, place))
            for members, place in zip(paths, own, strict=True)
        ]
    return dict(reversed(found)) if len({name for name, _ in found}) < len(found) else dict(found)


def _members(kind: pa.DataType) -> pa.StructType | None:
    """Return the record that a type is, or is a list of."""
    if _is_list(kind):
        kind = kind.value_type
    return kind if pa.types.is_struct(kind) else None


def _paths(kind: pa.DataType) -> Iterator[tuple[str, ...]]:
    """Yield the members of a record, those of records in it included, in the order in which Parquet stores them."""
    record = _members(kind)
    if record is None:
        yield ()
        return
    for member in record.fields:
        yield from ((member.name, *rest) for rest in _paths(member.type))


def _column(batch: pa.RecordBatch, leaf: _Leaf, name: str, as_text: bool) -> Value:
    column, counts = batch.column(leaf.top), None
    for member in (*leaf.members, None):
        if _is_list(column.type):
            if counts is not None:
                raise DataError(f"column '{name}' holds lists in lists; one list an event can be used")
            column, counts = _flattened(column)
        if member is not None:
            column = pc.struct_field(column, member)
    values = _numbers_or_texts(column, name, as_text)
    return values if counts is None else Jagged(values, counts)


def _flattened(column: pa.Array) -> tuple[pa.Array, Array]:
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    filled = column.fill_null([]) if column.null_count else column
    return filled.flatten(), filled.value_lengths().to_numpy(zero_copy_only=False)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _numbers_or_texts(column: pa.Array, name: str, as_text: bool) -> Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if as_text or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        absent = column.is_null().to_numpy(zero_copy_only=False)
        filled = column.fill_null(False if pa.types.is_boolean(kind) else 0)
        return with_gaps(np.asarray(filled.to_numpy(zero_copy_only=False)), absent, name)
    raise DataError(f"column '{name}' holds {kind}; only numbers, texts, truth values and lists of them can be used")
