"""Turn a chunk of a source into a chunk of the event file: cuts, labels, weights, ids, columns and objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Array, Bool, Float32, Float64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.arithmetic import WHOLE_IN_FLOAT64, with_gaps
from tabstar_lit.families.hep.events.conversion_config import (
    ColumnSpec,
    ConversionConfig,
    ObjectSpec,
    SourceSpec,
    source_of,
)
from tabstar_lit.families.hep.events.expressions import Expression, Jagged, truth
from tabstar_lit.families.hep.events.readers import Chunk, Value
from tabstar_lit.families.hep.events.schema import column_path, object_path
from tabstar_lit.families.hep.events.source_events import SourceEvents, as_floats
from tabstar_lit.families.hep.events.substructure import substructure_columns
from tabstar_lit.families.hep.events.writer import EventChunk, ObjectChunk

DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")
"""A text that is a number with a decimal point."""
WHOLE_IN_FLOAT32 = 1 << 24
"""Whole numbers up to here are exact in float32."""


@dataclass
class ChunkMaker:
    """Makes chunks of the event file; remembers the categories it has met.

    Attributes
    ----------
    config : ConversionConfig
        The conversion, its patterns of columns replaced by columns.
    categories : dict of str to dict of str to int
        For each categorical dataset the code of each category, in the order they were met.
    """

    config: ConversionConfig
    categories: dict[str, dict[str, int]] = field(default_factory=dict)

    def __call__(self, source: SourceSpec, chunk: Chunk) -> EventChunk:
        """Convert a chunk.

        Parameters
        ----------
        source : SourceSpec
            Where it comes from.
        chunk : Chunk
            Its columns.

        Returns
        -------
        EventChunk
            The events that passed all cuts, perhaps none.

        Raises
        ------
        DataError
            If values do not have the form they must have; names the column and its first rows.
        """
        tags: dict[str, Value] = {
            name: np.full(chunk.n, value, dtype=_kind(value)) for name, value in source.tag.items()
        }
        rows = np.arange(chunk.start, chunk.start + chunk.n)
        events = SourceEvents({**chunk.columns, **tags}, rows, self.config)
        if self.config.substructure:
            more = substructure_columns(events, self.config.substructure)
            events = events._replace(columns={**events.columns, **more})
        passing = np.ones(chunk.n, dtype=bool)
        for cut in (*self.config.cuts, *source.cuts):
            passing &= events.condition(cut, "the cut")
        events = events.selected(np.flatnonzero(passing))
        text = source.weight or self.config.weight
        weights = _weights(events, text, "weight") if text else np.ones(len(events.rows))
        variations = {name: _weights(events, own, name) for name, own in self.config.variations.items()}
        hashes: list[UInt64] = []
        flat: dict[str, Array] = {}
        for name, spec in self.config.columns.items():
            value = self._column(events, column_path(name), name, spec, hashes)
            if isinstance(value, Jagged):
                raise DataError(f"column '{name}' has one value an object: give it under 'objects', or use sum(...)")
            flat[name] = value
        objects = {name: self._objects(events, name, spec, hashes) for name, spec in self.config.objects.items()}
        ids = _ids(events, self.config.event_id) if self.config.event_id else _combined(hashes, len(events.rows))
        groups = _ids(events, self.config.group_id) if self.config.group_id else None
        return EventChunk(flat, self._labels(source, events), weights, ids, objects, groups, variations)

    def _labels(self, source: SourceSpec, events: SourceEvents) -> Array:
        names = self.config.class_names()
        if not isinstance(source.label, dict):
            return np.full(len(events.rows), -1 if source.label is None else names.index(source.label))
        met = [events.condition(rule, f"the rule of class '{name}'") for name, rule in source.label.items()]
        matches, rules = np.sum(met, axis=0), ", ".join(f"{name}: {rule}" for name, rule in source.label.items())
        events.require(matches > 0, "label", f"missing, as no rule holds; add one, or a cut. Rules: {rules}")
        events.require(matches < 2, "label", f"ambiguous, as more than one rule holds. Rules: {rules}")
        return np.asarray(np.select(met, [names.index(name) for name in source.label], -1))

    def _column(self, events: SourceEvents, path: str, name: str, spec: ColumnSpec, hashes: list[UInt64]) -> Value:
        """Compute one column, and add a hash for each event."""
        value, absent = _evaluated(events, spec, name)
        flat, counts = (value.values, value.counts) if isinstance(value, Jagged) else (value, None)
        if spec.kind == "numerical":
            result: Array = _checked(events, as_floats(flat, name), absent, counts, name=name, spec=spec)
            hashed = _hash(np.where(np.isnan(result), np.float32(np.nan), result + np.float32(0)))  # -0.0 is 0.0
        else:
            result, hashed = self._codes(events, path, name, spec, flat, counts=counts)
        hashes.append(hashed if counts is None else _per_event(hashed, counts))
        return result if counts is None else Jagged(result, counts)

    def _codes(
        self, events: SourceEvents, path: str, name: str, spec: ColumnSpec, values: Array, *, counts: Array | None
    ) -> tuple[Array, UInt64]:
        """Give every category its code, and every value the hash of its text."""
        positions, uniques = pd.factorize(values)
        texts = [_as_text(unique) for unique in uniques]
        fixed = spec.categories
        known = self.categories.setdefault(path, {text: code for code, text in enumerate(fixed or ())})
        for position, text in enumerate(texts if fixed is not None else ()):
            if text not in known:
                problem = f"'{text}', which is none of its categories.{suggestion(text, fixed or ())}"
                events.require(positions != position, f"column '{name}'", problem, counts)
        events.require((positions >= 0) | _may_miss(spec), f"column '{name}'", _missing_problem(), counts)
        table = np.array([*(known.setdefault(text, len(known)) for text in texts), -1], dtype=np.int32)
        hashed = np.append(_hash(np.array(texts, dtype=object)), np.uint64(0)).astype(np.uint64)
        return table[positions], hashed[positions]

    def _objects(self, events: SourceEvents, objects: str, spec: ObjectSpec, hashes: list[UInt64]) -> ObjectChunk:
        """Select, order and truncate the objects of one type, and compute their columns."""
        values = {name: _evaluated(events, column, name)[0] for name, column in spec.columns.items()}
        for name, value in values.items():
            if not isinstance(value, Jagged):
                raise DataError(f"column '{objects}.{name}' has one value an event, but objects need one an object")
        lengths = {name: value.counts for name, value in values.items() if isinstance(value, Jagged)}
        first, counts = next(iter(lengths.items()))
        for name, other in lengths.items():
            if not np.array_equal(other, counts):
                raise DataError(f"columns '{first}' and '{name}' of '{objects}' differ in length within an event")
        keep, kept = _kept(events, spec, counts)
        columns = {
            name: Jagged(value.values[keep], kept)
            if isinstance(value, Jagged) and np.array_equal(value.counts, counts)
            else value
            for name, value in events.columns.items()
        }
        chosen = events._replace(columns=columns)
        computed = {
            name: self._column(
                chosen, object_path(objects, name), f"{objects}.{name}", self._named(name, column), hashes
            )
            for name, column in spec.columns.items()
        }
        return ObjectChunk(kept, {name: v.values for name, v in computed.items() if isinstance(v, Jagged)})

    @staticmethod
    def _named(name: str, spec: ColumnSpec) -> ColumnSpec:
        return spec if spec.from_ else spec.model_copy(update={"from_": source_of(name, spec)})


def _weights(events: SourceEvents, text: str, name: str) -> Float64:
    weights = as_floats(events.flat(text, f"the {name}"), name)
    events.require(np.isfinite(weights), f"{name} '{text}'", "not finite")
    return weights


def _evaluated(events: SourceEvents, spec: ColumnSpec, name: str) -> tuple[Value, Value | None]:
    """Return the values of a column, codes for missing taken into account, and where one of its inputs is missing.

    The latter is None where that cannot be told: there are no inputs, or the expression says itself what is missing.
    """
    expression = events.config.expression(source_of(name, spec))
    inputs = {
        column.name: _without_codes(
            events.columns[column.name], spec, column.name, spec.kind == "numerical" and not column.is_text
        )
        for column in expression.names
    }
    n = len(events.rows)
    value = expression(inputs, n)  # first: its mistakes are the user's, those of the next line would be ours
    if expression.says_missing:
        return value, None
    numbers = [column for column, value in inputs.items() if _values(value).dtype != object]
    if not isinstance(value, Jagged):  # of an event that sums over objects, any of which may be missing
        inputs = {column: _any_missing(inputs[column]) for column in numbers}
    absent = Expression(" or ".join(f"isnan(`{column}`)" for column in numbers))(inputs, n) if numbers else None
    return value, absent


def _any_missing(value: Value) -> Value:
    if not isinstance(value, Jagged):
        return value
    events = np.repeat(np.arange(len(value.counts)), value.counts)
    missing = np.bincount(events, np.isnan(value.values), minlength=len(value.counts))
    return np.where(missing > 0, np.nan, 0.0)


def _without_codes(value: Value, spec: ColumnSpec, name: str, as_numbers: bool) -> Value:
    """Replace the codes that mean missing by NaN, or None among texts.

    A file of text gives numbers where all of a chunk are, and texts where one is not: both must end the same.
    """
    if not spec.missing_code:
        return value
    clean = _values(value)
    if clean.dtype == object:
        codes = [text for code in spec.missing_code for text in (str(code), _as_text(code))]
        positions, uniques = pd.factorize(clean)
        is_code = np.array([text in codes or _as_text(text) in codes for text in uniques], dtype=bool)
        clean = clean.copy()  # the source's values stay as they are
        clean[np.append(is_code, False)[positions]] = None
        clean = _parsed(clean) if as_numbers else clean
    if clean.dtype != object:
        numbers = pd.to_numeric(pd.Series(spec.missing_code, dtype=object), errors="coerce").to_numpy(np.float64)
        means_missing = _is_code(clean, numbers)
        if as_numbers or not _is_long(clean):
            clean = with_gaps(clean, means_missing, name)
        else:  # whole numbers that are categories keep their digits
            clean = clean.astype(object)
            clean[means_missing] = None
    return Jagged(clean, value.counts) if isinstance(value, Jagged) else clean


def _is_code(values: Array, codes: Float64) -> Bool:
    """Tell which numbers are codes, in the precision of the source: -99.9 is not -99.9 in float32."""
    if values.dtype.kind == "f":
        return np.isin(values, codes.astype(values.dtype))
    whole = codes[(codes == np.round(codes)) & (np.abs(codes) < 2.0**63)]
    return np.isin(values, whole.astype(np.int64))


def _is_long(values: Array) -> bool:
    return values.dtype.kind in "iu" and bool(np.any((values > WHOLE_IN_FLOAT64) | (values < -WHOLE_IN_FLOAT64)))


def _parsed(texts: Array) -> Array:
    """Read texts as numbers if all that are there can be."""
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    return numbers if np.array_equal(np.isnan(numbers), pd.isna(texts)) else texts


def _checked(
    events: SourceEvents, values: Array, absent: Value | None, counts: Array | None, *, name: str, spec: ColumnSpec
) -> Float32:
    """Enforce the type, scale, and refuse what is not finite and not declared as missing."""
    what, missing = f"column '{name}'", np.isnan(values)
    if spec.type == "int":
        events.require(missing | (values == np.round(values)), what, "not whole, but its type is int", counts)
        exact = missing | (np.abs(values * spec.scale) <= WHOLE_IN_FLOAT32)
        events.require(exact, what, f"too large to be exact in float32 (over {WHOLE_IN_FLOAT32})", counts)
    if spec.type == "bool":
        events.require(missing | (values == 0) | (values == 1), what, "neither 0 nor 1, but its type is bool", counts)
    with np.errstate(over="ignore"):
        result = (values * spec.scale).astype(np.float32)
    events.require(~np.isinf(result), what, "infinite, or beyond what float32 holds", counts)
    if missing.any() and absent is not None:
        known_inputs = np.broadcast_to(~_values(absent).astype(bool), missing.shape)
        events.require(~(missing & known_inputs), what, f"NaN although '{spec.from_}' has all its inputs", counts)
    events.require(~missing | _may_miss(spec), what, _missing_problem(), counts)
    return np.asarray(result, dtype=np.float32)


def _kept(events: SourceEvents, spec: ObjectSpec, counts: Array) -> tuple[Array, Array]:
    """Return which objects stay, in their new order, and how many of each event."""
    event = np.repeat(np.arange(len(counts)), counts)
    order = np.arange(len(event))
    if spec.select:
        order = order[np.asarray(truth(_of_objects(events, spec.select, counts, "select"), spec.select))[order]]
    if spec.order_by:
        key = -as_floats(_of_objects(events, spec.order_by, counts, "order_by"), "order_by")[order]
        order = order[np.lexsort((key, event[order]))]  # stable; NaN comes last
    kept = np.bincount(event[order], minlength=len(counts))
    if spec.max_length is not None:
        place = np.arange(len(order)) - np.repeat(np.cumsum(kept) - kept, kept)
        order, kept = order[place < spec.max_length], np.minimum(kept, spec.max_length)
    return order, kept


def _of_objects(events: SourceEvents, text: str, counts: Array, key: str) -> Array:
    value = events.value(text)
    if not isinstance(value, Jagged) or not np.array_equal(value.counts, counts):
        raise DataError(f"{key} '{text}' must have one value for each of these objects")
    return value.values


def _ids(events: SourceEvents, texts: tuple[str, ...]) -> UInt64:
    """Return ids: whole numbers as they are, anything else hashed."""
    values = [events.flat(text, "the id") for text in texts]
    for text, value in zip(texts, values, strict=True):
        events.require(~pd.isna(value), f"id '{text}'", "missing; cut them, or give them ids of their own")
    if len(values) > 1 or values[0].dtype == object:
        return _combined([_hash_id(value) for value in values], len(events.rows))
    (ids,) = values
    events.require((ids >= 0) & (ids == np.round(ids)), f"id '{texts[0]}'", "negative, missing or not whole")
    events.require(ids.astype(np.float64) <= float(2**64 - 1), f"id '{texts[0]}'", "larger than 64 bits hold")
    return ids.astype(np.uint64)


def _combined(hashes: list[UInt64], n: int) -> UInt64:
    frame = pd.DataFrame(dict(enumerate(hashes)), index=range(n))
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


def _per_event(hashes: UInt64, counts: Array) -> UInt64:
    """Combine the hashes of the objects of each event; their order and number matter."""
    place = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
    mixed = _combined([hashes, place.astype(np.uint64)], len(hashes))
    sums = np.append(np.uint64(0), np.cumsum(mixed, dtype=np.uint64))  # wraps around, and so does the difference
    ends = np.cumsum(counts)
    return np.asarray(sums[ends] - sums[ends - counts], dtype=np.uint64)


def _hash_id(values: Array) -> UInt64:
    """Hash the parts of ids: a whole number alike whether one file stores it as integer or another as float."""
    if values.dtype.kind in "iu":
        return _hash(values.astype(np.int64))
    if values.dtype.kind != "f":
        return _hash(values)
    whole = (values == np.round(values)) & (np.abs(values) < 2.0**63)
    return np.where(whole, _hash(np.where(whole, values, 0).astype(np.int64)), _hash(values))


def _hash(values: Array) -> UInt64:
    filled = np.where(pd.isna(values), "\0", values) if values.dtype == object else np.ascontiguousarray(values)
    return np.asarray(pd.util.hash_array(filled, categorize=False), dtype=np.uint64)


def _as_text(value: Any) -> str:
    """Write a category: whole numbers without a point, so that 1, 1.0 and the text "1.0" are the same; "01" is not."""
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        return value
    if isinstance(value, str) and not value.partition(".")[2].strip("0"):
        return value.partition(".")[0]  # every digit of it
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return str(int(number)) if (number := float(value)).is_integer() else repr(number)


def _kind(value: float | str) -> type:
    return object if isinstance(value, str) else type(value)


def _values(value: Value) -> Array:
    return value.values if isinstance(value, Jagged) else value


def _may_miss(spec: ColumnSpec) -> bool:
    return spec.nullable or bool(spec.missing_code)


def _missing_problem() -> str:
    return "missing (empty or NaN); say 'nullable: true' if that may be, or which missing_code means it"
