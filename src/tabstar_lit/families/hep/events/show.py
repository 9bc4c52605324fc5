"""What is in an event file: tables of counts, weights and ranges, and a histogram of each column by class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.families.hep.events.file import ColumnInfo, EventFile
from tabstar_lit.plots.histograms import Bins, binned, draw_band
from tabstar_lit.plots.style import new_figure, palette_color, save_figure

N_BINS = 40
MAX_CATEGORIES = 20
CENTRAL = (0.005, 0.995)
"""Quantiles between which a histogram is drawn: a few extreme values must not squeeze everything into one bin."""


def describe(file: EventFile) -> str:
    """Return tables of classes, columns and objects, as text.

    Parameters
    ----------
    file : EventFile
        The file; its columns are read one at a time, under a progress bar.

    Returns
    -------
    str
        Several lines; with several classes each column has one for all events and one for each class. The effective
        count is (sum w)^2 / sum w^2. Means, and shares of categories, have the signed weights of the events.
    """
    weighted = "weighted" if file.has_weights else "without weights"
    lines = [f"{file.path}: {file.n_events} events, {weighted}, fingerprint {file.fingerprint[:12]}", ""]
    header = ["class", "events", "sum of weights", "effective count", "negative share"]
    lines += _table(header, list(_class_rows(file)))
    header = ["column", "kind", "unit", "min", "weighted mean" if file.has_weights else "mean", "max", "missing"]
    samples = {objects: _sample(file, objects) for objects in ("", *file.objects)}
    rows: dict[str, list[list[str]]] = {objects: [] for objects in samples}
    for objects, info, values in _columns(file, "reading"):
        rows[objects] += _column_rows(info, values, samples[objects], file.classes)
    if file.columns:
        lines += ["", *_table(header, rows[""])]
    for objects in file.objects:
        lines += ["", _objects_line(file, objects), *_table(header, rows[objects])]
    return "\n".join(lines)


def draw(file: EventFile, folder: Path) -> list[Path]:
    """Write a histogram of each column and of the number of objects, one line a class, weighted and normalised.

    Parameters
    ----------
    file : EventFile
        The file; its columns are read one at a time, under a progress bar.
    folder : Path
        Where the figures go; made when missing.

    Returns
    -------
    list of Path
        The figures, each with a file of its own.
    """
    samples = {objects: _sample(file, objects) for objects in ("", *file.objects)}
    taken: set[str] = set()
    written = []
    for objects, info, values in _columns(file, "drawing"):
        path = _figure_path(folder, f"{objects}.{info.name}" if objects else info.name, taken)
        written.append(_histogram(path, info, values, samples[objects], file.classes, objects))
    for objects in file.objects:
        counts = np.diff(file.offsets(objects)).astype(np.float32)
        path = _figure_path(folder, objects, taken)
        written.append(_histogram(path, ColumnInfo(f"number of {objects}"), counts, samples[""], file.classes))
    return written


class _Sample(NamedTuple):
    """Class numbers and weights ``[n]`` of events, or of the events that objects are in."""

    labels: Array
    weights: Array

    def of(self, chosen: Array) -> _Sample:
        """Return a part of it."""
        return _Sample(self.labels[chosen], self.weights[chosen])


def _sample(file: EventFile, objects: str) -> _Sample:
    sample = _Sample(file.labels(), file.weights())
    return sample.of(np.repeat(np.arange(file.n_events), np.diff(file.offsets(objects)))) if objects else sample


def _columns(file: EventFile, what: str) -> Iterator[tuple[str, ColumnInfo, Array]]:
    """Read each column in turn, those of the events first, with the type of its objects: ``""`` for the events."""
    blocks = {"": file.columns, **{objects: info.columns for objects, info in file.objects.items()}}
    places = [(objects, info) for objects, infos in blocks.items() for info in infos.values()]
    with progress_bar(what)(file.n_events) as advance:
        for number, (objects, info) in enumerate(places):
            yield objects, info, file.object_column(objects, info.name) if objects else file.column(info.name)
            # The bar counts events, and each column is as large a part of the work on them.
            done, before = (file.n_events * n // len(places) for n in (number + 1, number))
            advance(done - before)


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
        yield [name, str(len(w)), _number(w.sum(), 6), _number(effective, 6), f"{negative:.2%}"]


def _objects_line(file: EventFile, objects: str) -> str:
    info, lengths = file.objects[objects], np.diff(file.offsets(objects))
    mean = lengths.mean() if file.n_events else 0.0
    return (
        f"{objects}: {info.n_objects} objects, {lengths.min(initial=info.max_length)} to {info.max_length} an event, "
        f"{mean:.3g} on average, {int((lengths == 0).sum())} events without any"
    )


def _column_rows(info: ColumnInfo, values: Array, sample: _Sample, classes: Sequence[str]) -> list[list[str]]:
    """Describe a column over all events, and below that over those of each class where there are several."""
    kind = f"{len(info.categories)} categories" if info.kind == "categorical" else info.kind
    rows = [[info.name, kind, info.unit or "", *_summary(info, values, sample.weights)]]
    for number, name in enumerate(classes if len(classes) > 1 else ()):
        chosen = sample.labels == number
        rows.append([f"  {name}", "", "", *_summary(info, values[chosen], sample.weights[chosen])])
    return rows


def _summary(info: ColumnInfo, values: Array, weights: Array) -> list[str]:
    """Return least, mean, greatest and missing share; of categories the one of most weight, and its share of that."""
    known = values >= 0 if info.kind == "categorical" else ~np.isnan(values)
    missing = f"{1 - known.mean() if len(values) else 0.0:.2%}"
    w = weights[known]
    if info.kind == "categorical":
        sums = np.bincount(values[known], weights=w, minlength=len(info.categories))
        share = sums.max() / weights.sum() if weights.sum() > 0 and len(sums) else 0.0
        most = f"{info.categories[int(sums.argmax())]} ({share:.0%})" if share > 0 else ""
        return ["", most, "", missing]
    x = values[known].astype(np.float64)
    mean = _number((w * x).sum() / w.sum()) if w.sum() else ""  # without weight there is no mean
    return [_number(x.min()), mean, _number(x.max()), missing] if len(x) else ["", "", "", missing]


def _number(value: float, digits: int = 5) -> str:
    return f"{value + 0.0:.{digits}g}"  # adding 0 takes the sign off a zero


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
    sample: _Sample,
    classes: Sequence[str],
    objects: str = "",
) -> Path:
    """Draw one line a class, normalised to its sum of weights, with the band of its statistical uncertainty."""
    figure, (axes,) = new_figure()
    known = values >= 0 if info.kind == "categorical" else ~np.isnan(values)
    labels, weights = sample
    edges = _edges(info, values[known])
    for number, name in enumerate(classes or ("all events",)):
        chosen = known & (labels == number) if classes else known
        draw_band(axes, _shares(values[chosen], weights[chosen], edges), color=palette_color(number), label=name)
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


def _shares(values: Array, weights: Array, edges: Array) -> Bins:
    """Return the share of the weight in each bin; what lies beyond the bins is in none, but belongs to the whole."""
    inside = (values >= edges[0]) & (values <= edges[-1])
    bins = binned(values[inside], weights[inside], edges)
    total = abs(float(weights.sum())) or 1.0
    return Bins(bins.heights / total, bins.errors / total, edges)


def _figure_path(folder: Path, name: str, taken: set[str]) -> Path:
    """Return a file of its own for a column: names may differ in case, or in characters that not all systems allow."""
    stem = free = re.sub(r"[^\w.+-]+", "_", name)
    number = 1
    while free.casefold() in taken:
        number += 1
        free = f"{stem}_{number}"
    taken.add(free.casefold())
    return folder / f"{free}.png"
