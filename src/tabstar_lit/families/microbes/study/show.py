"""What is in a study, for people: ``tabstar_lit data show``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
import numpy as np

from tabstar_lit.arrays import Array, Float64, Int64
from tabstar_lit.families.microbes.study.study import Classes, Study, read_study
from tabstar_lit.plots.style import new_figure, save_figure

MOST_LABELS = 6
"""Labels of a column that are printed, the most common ones."""


def show_study(path: Path, figures: Path | None) -> None:
    """Print what is in a study.

    Parameters
    ----------
    path : Path
        The file.
    figures : Path, optional
        Folder for histograms of depths, richness and distances.

    Raises
    ------
    DataError
        It is no study, or damaged.
    """
    study = read_study(path)
    click.echo(describe(study))
    if figures is not None:
        click.echo(f"wrote {len(draw(study, figures))} figures to {figures}")


def describe(study: Study) -> str:
    """Return a text about samples, sequences, distances and columns."""
    depths, richness = depths_of(study), study.members.lengths
    lines = [
        f"study '{study.name}': {len(study)} samples, {len(study.asv_ids)} ASVs, {len(set(study.groups()))} groups"
        + (f" ({study.group})" if study.group else ", which are the samples"),
        f"reads a sample: {_spread(depths)}; ASVs a sample: {_spread(richness)}",
        _sequences(study),
        _distances(study),
        *(f"- {line}" for line in study.made_from.get("left_out", ())),
        "columns:",
        *(f"  {name}: numbers, {_numbers(values)}" for name, values in study.numbers.items()),
        *(f"  {name}: classes, {_labels(own)}" for name, own in study.classes.items()),
    ]
    return "\n".join(lines)


def draw(study: Study, folder: Path) -> list[Path]:
    """Draw histograms into a folder, and return their files."""
    shown: dict[str, Array] = {"reads a sample": depths_of(study), "ASVs a sample": study.members.lengths}
    if study.distances is not None:
        shown["UniFrac of pairs"] = study.distances[np.triu_indices(len(study), 1)]
    paths = []
    for name, values in shown.items():
        figure, (axes,) = new_figure()
        axes.hist(values, bins=40)
        axes.set(xlabel=name, ylabel="pairs" if name.startswith("UniFrac") else "samples")
        paths.append(folder / f"{name.replace(' ', '_').lower()}.png")
        save_figure(figure, paths[-1])
    return paths


def depths_of(study: Study) -> Int64:
    """Return the reads of each sample, ``[N]``."""
    rows = np.repeat(np.arange(len(study)), study.members.lengths)
    sums = np.zeros(len(study), dtype=np.int64)
    np.add.at(sums, rows, study.counts)
    return sums


def _spread(values: Int64) -> str:
    return f"{values.min()} to {values.max()}, median {np.median(values):g}"


def _sequences(study: Study) -> str:
    if not study.sequences:
        return "sequences: none, only ids; no network can be trained"
    lengths = [len(own) for own in study.sequences]
    return f"sequences: {min(lengths)} to {max(lengths)} bases"


def _distances(study: Study) -> str:
    if study.distances is None:
        return "distances: none"
    pairs = study.distances[np.triu_indices(len(study), 1)].astype(np.float64)
    low, middle, high = np.quantile(pairs, [0.25, 0.5, 0.75]) if len(pairs) else (np.nan,) * 3
    metric = study.made_from.get("unifrac") or "of others"
    return f"distances: {metric}, quartiles {low:.3f}, {middle:.3f}, {high:.3f}, variance {pairs.var():.4f}"


def _numbers(values: Float64) -> str:
    known = values[~np.isnan(values)]
    return f"{known.min():g} to {known.max():g}, mean {known.mean():g}, {len(values) - len(known)} missing"


def _labels(own: Classes) -> str:
    counts = Counter(own.codes.tolist())
    missing = counts.pop(-1, 0)
    shown = ", ".join(f"{own.labels[code]} {n}" for code, n in counts.most_common(MOST_LABELS))
    more = f", and {len(counts) - MOST_LABELS} more" if len(counts) > MOST_LABELS else ""
    return f"{shown}{more}, {missing} missing"
