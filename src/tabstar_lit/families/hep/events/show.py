"""What is in an event file: tables of counts, weights and ranges, and a histogram of each column by class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabstar_lit.families.hep.events.file import ColumnInfo, EventFile
from tabstar_lit.plots.style import new_figure, save_figure

Array = npt.NDArray[Any]
N_BINS = 40
MAX_CATEGORIES = 20
CENTRAL = (0.005, 0.995)
"""Quantiles between which a histogram is drawn: a few extreme values must not squeeze everything into one bin."""


def describe(file: EventFile) -> str:
    """Return tables of classes, columns and objects, as text.

    Parameters
    ----------
    file : EventFile
        The file; its columns are read one at a time.

    Returns
    -------
    str
        Several lines. The effective count is (sum w)^2 / sum w^2.
    """
    weighted = "weighted" if file.has_weights else "without weights"
    lines = [f"{file.path}: {file.n_events} events, {weighted}, fingerprint {file.fingerprint[:12]}", ""]
    header = ["class", "events", "sum of weights", "effective count", "negative share"]
    lines += _table(header, list(_class_rows(file)))
    header = ["column", "kind", "unit", "min", "mean", "max", "missing"]
    if file.columns:
        lines += ["", *_table(header, [_column_row(name, info, values) for name, info, values in _columns(file)])]
    for objects, info in file.objects.items():
        lengths = np.diff(file.offsets(objects))
        mean = lengths.mean() if file.n_events else 0.0
        lines += ["", f"{objects}: {info.n_objects} objects, {lengths.min(initial=info.max_length)} to"]
        lines[-1] += (
            f" {info.max_length} an event, {mean:.3g} on average, {int((lengths == 0).sum())} events without any"
        )
        rows = [_column_row(name, column, file.object_column(objects, name)) for name, column in info.columns.items()]
        lines += _table(header, rows)
    return "\n".join(lines)


def draw(file: EventFile, folder: Path) -> list[Path]:
    """Write a histogram of each column and of the number of objects, one line a class, weighted and normalised.

    Parameters
    ----------
    file : EventFile
        The file.
    folder : Path
        Where the figures go; made when missing.

    Returns
    -------
    list of Path
        The figures.
    """
    labels, weights = file.labels(), file.weights()
    written = []
    for name, info, values in _columns(file):
        written.append(_histogram(folder / f"{_file_name(name)}.png", info, values, labels, weights, file.classes))
    for objects, described in file.objects.items():
        counts = np.diff(file.offsets(objects))
        number = ColumnInfo(f"number of {objects}")
        path = folder / f"{_file_name(objects)}.png"
        written.append(_histogram(path, number, counts.astype(np.float32), labels, weights, file.classes))
        of_object = np.repeat(np.arange(file.n_events), counts)
        for name, info in described.columns.items():
            path = folder / f"{_file_name(objects)}.{_file_name(name)}.png"
            values = file.object_column(objects, name)
            written.append(_histogram(path, info, values, labels[of_object], weights[of_object], file.classes, objects))
    return written


def _columns(file: EventFile) -> Iterator[tuple[str, ColumnInfo, Array]]:
    for name, info in file.columns.items():
        yield name, info, file.column(name)


def _class_rows(file: EventFile) -> Iterator[list[str]]:
    labels, weights = file.labels(), file.weights()
    groups = [(name, labels == number) for number, name in enumerate(file.classes)]
    if len(groups) != 1:
        groups.append(("all", np.ones(len(labels), dtype=bool)))
    for name, chosen in groups:
        w = weights[chosen]
        squares = float((w**2).sum())
        effective = float(w.sum()) ** 2 / squares if squares else 0.0
        negative = float((w < 0).mean()) if len(w) else 0.0
        yield [name, str(len(w)), f"{w.sum():.6g}", f"{effective:.6g}", f"{negative:.2%}"]


def _column_row(name: str, info: ColumnInfo, values: Array) -> list[str]:
    """Describe a column; of categories the number, the most common one and its share."""
    unit = info.unit or ""
    if info.kind == "categorical":
        known = values[values >= 0]
        missing = 1 - len(known) / len(values) if len(values) else 0.0
        counts = np.bincount(known, minlength=len(info.categories))
        most = f"{info.categories[int(counts.argmax())]} ({counts.max() / len(values):.0%})" if len(known) else ""
        return [name, f"{len(info.categories)} categories", unit, "", most, "", f"{missing:.2%}"]
    known = values[~np.isnan(values)].astype(np.float64)
    missing = 1 - len(known) / len(values) if len(values) else 0.0
    numbers = [f"{f(known):.5g}" for f in (np.min, np.mean, np.max)] if len(known) else ["", "", ""]
    return [name, info.kind, unit, *numbers, f"{missing:.2%}"]


def _table(header: list[str], rows: Sequence[list[str]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _histogram(
    path: Path,
    info: ColumnInfo,
    values: Array,
    labels: Array,
    weights: Array,
    classes: Sequence[str],
    objects: str = "",
) -> Path:
    """Draw one line a class, normalised to its sum of weights, with the band of its statistical uncertainty."""
    figure, (axes,) = new_figure()
    known = values >= 0 if info.kind == "categorical" else ~np.isnan(values)
    edges = _edges(info, values[known])
    for number, name in enumerate(classes or ("all events",)):
        chosen = known & (labels == number) if classes else known
        sums, band = _normalised(values[chosen], weights[chosen], edges)
        (line,) = axes.step(edges, np.append(sums, sums[-1:]), where="post", label=name)
        low, high = (np.append(y, y[-1:]) for y in (sums - band, sums + band))
        axes.fill_between(edges, low, high, step="post", alpha=0.25, color=line.get_color(), linewidth=0)
    if info.kind == "categorical":
        shown = info.categories[:MAX_CATEGORIES]
        axes.set_xticks(np.arange(len(shown)), shown, rotation=45 if len(shown) > 6 else 0)
    axes.set_xlabel(f"{objects} {info.name}".strip() + (f" [{info.unit}]" if info.unit else ""))
    axes.set_ylabel("share of the class")
    axes.legend()
    return save_figure(figure, path)


def _edges(info: ColumnInfo, values: Array) -> Array:
    if info.kind == "categorical":
        return np.arange(min(max(len(info.categories), 1), MAX_CATEGORIES) + 1) - 0.5  # one bin for none
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = np.quantile(values.astype(np.float64), CENTRAL)
    whole = np.array_equal(values, np.round(values))
    if whole and high - low < N_BINS:
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5  # quantiles may lie between whole numbers
    margin = 0.5 * (high == low)  # a constant still gets a bin of some width
    return np.linspace(low - margin, high + margin, N_BINS + 1)


def _normalised(values: Array, weights: Array, edges: Array) -> tuple[Array, Array]:
    """Return the share of the weight in each bin and its standard error, sqrt(sum w^2)."""
    sums, _ = np.histogram(values, edges, weights=weights)
    squares, _ = np.histogram(values, edges, weights=weights**2)
    total = abs(float(weights.sum())) or 1.0
    return sums / total, np.sqrt(squares) / total


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
