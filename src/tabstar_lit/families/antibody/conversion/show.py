"""A pairs file in words and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.families.antibody.pairs.batch import CDRS, GERMLINE, MUTATED, REGION_NAMES
from tabstar_lit.families.antibody.pairs.file import Pairs
from tabstar_lit.families.antibody.pairs.tokens import BREAK
from tabstar_lit.plots.histograms import Sample, range_edges, sample_figure
from tabstar_lit.plots.style import palette_color, save_figure

BINS = 40


def summary(pairs: Pairs) -> str:
    """Return a line about the pairs."""
    known = int(np.isfinite(pairs.pkd).sum())
    clusters = len(set(pairs.clusters[pairs.antigen].tolist()))
    return f"{len(pairs)} pairs, {known} with affinity, {len(pairs.antigens)} antigens in {clusters} clusters"


def describe(pairs: Pairs) -> str:
    """Return what the file holds and what became of its sources, a line each."""
    lines = [line for source in pairs.about.get("sources", []) if "rows" in source for line in _source_lines(source)]
    lines.append(f"numbered by {pairs.about.get('numbering', 'nothing')}")
    if merged := pairs.about.get("merged"):
        lines.append(f"{merged} rows with the antigen and antibody of another became part of it, affinities averaged")
    lines += list(_number_lines(pairs))
    return "\n".join(lines)


def draw(pairs: Pairs, folder: Path) -> list[Path]:
    """Draw lengths and affinities into a folder."""
    heavy = [len(text.partition(BREAK)[0]) for text in pairs.antibodies]
    light = [len(text.partition(BREAK)[2]) for text in pairs.antibodies]
    loops = [int((own == REGION_NAMES.index("h_cdr3")).sum()) for own in _rows(pairs)]
    columns = {
        "heavy_length": ("residues of the heavy chain", np.array([n for n in heavy if n])),
        "light_length": ("residues of the light chain", np.array([n for n in light if n])),
        "h_cdr3_length": ("residues of CDR-H3", np.array([n for n in loops if n])),
        "antigen_length": ("residues of the antigen", np.array([len(text) for text in pairs.antigens])),
        "pkd": ("pKd", pairs.pkd[np.isfinite(pairs.pkd)]),
    }
    return [_histogram(folder / f"{name}.png", label, own) for name, (label, own) in columns.items() if len(own)]


def _source_lines(source: Mapping[str, Any]) -> Iterator[str]:
    forms = ", ".join(f"{count} {form}" for form, count in source["forms"].items())
    yield f"{source['file']}: {source['pairs']} of {source['rows']} rows are pairs ({forms})"
    yield from (f"  left out: {reason}: {count}" for reason, count in source["left_out"].items())
    yield from (f"  {note}: {count}" for note, count in source["notes"].items())


def _number_lines(pairs: Pairs) -> Iterator[str]:
    known = pairs.pkd[np.isfinite(pairs.pkd)]
    if len(known):
        bounds = int((pairs.censored != 0).sum())
        yield f"pKd {known.min():.2f} to {known.max():.2f}, mean {known.mean():.2f}; {bounds} are bounds"
    lengths = np.array([len(text) for text in pairs.antibodies])
    yield f"antibodies of {lengths.min()} to {lengths.max()} residues, median {int(np.median(lengths))}"
    regions, germline = pairs.regions.flat, pairs.germline.flat
    for name, where in (("CDR1 and CDR2", np.isin(regions, CDRS)), ("frameworks", ~np.isin(regions, (0, *CDRS)))):
        mutated, same = ((germline[where] == flag).sum() for flag in (MUTATED, GERMLINE))
        if mutated + same:
            share = mutated / (mutated + same)
            yield f"residues of {name} that differ from the nearest germline gene: {share:.1%}"


def _rows(pairs: Pairs) -> Iterator[Array]:
    return (pairs.regions[row] for row in range(len(pairs)))


def _histogram(path: Path, label: str, values: Array) -> Path:
    numbers = values.astype(np.float64)
    sample = Sample("pairs", palette_color(0), numbers, np.ones(len(numbers)))
    return save_figure(sample_figure([sample], range_edges(numbers, BINS), xlabel=label, title=label), path)
