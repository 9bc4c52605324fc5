"""Figures of a generator: what is recovered where, whether conditions matter, and what it writes beside real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tabstar_lit.arrays import Array, Bool, Float64
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.antibody.numbering.texts import Numbered
from tabstar_lit.families.antibody.pairs.batch import CDRS, REGION_NAMES
from tabstar_lit.families.antibody.pairs.file import Pairs
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, TOKENIZER
from tabstar_lit.families.antibody.tracking.measures import loop_letters, region_text
from tabstar_lit.plots.curves import beside, draw_curve, series
from tabstar_lit.plots.histograms import range_edges
from tabstar_lit.plots.logos import draw_logo
from tabstar_lit.plots.style import new_figure, palette_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, WRITTEN = "known for these antigens", "written"
LEAST_PAIRS = 0.05
"""Places that fewer of the pairs have, as in the longest loops, are not drawn."""

THIRD = REGION_NAMES.index("h_cdr3")


def recovery_figure(pairs: Pairs, rows: Columns) -> Figure:
    """Draw the share of right letters at each place of each region."""
    hits = list(_hits(pairs, rows))
    figure, (axes,) = new_figure(width=9.0)
    start, ticks, named = 0, [], set[str]()
    for number, name in enumerate(REGION_NAMES[1:], start=1):
        means = _region_means(hits, number)
        if not len(means):
            continue
        places = np.arange(start, start + len(means))
        color, kind = (palette_color(1), "CDR") if number in CDRS else (palette_color(0), "framework")
        axes.bar(places, means, width=1.0, color=color, linewidth=0, label=kind if kind not in named else None)
        named.add(kind)
        ticks.append((places.mean(), name))
        start += len(means) + 1
    axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks], rotation=45, ha="right")
    title = "Recovery by position, after the residues before it"
    axes.set(ylim=(0, 1), xlabel="position by region", ylabel="share of right residues", title=title)
    beside(axes)
    return figure


def _hits(pairs: Pairs, rows: Columns) -> Iterator[tuple[Array, Bool]]:
    """Return regions and right letters ``[L]`` of each pair."""
    for row, predicted in zip(rows["rows"].tolist(), rows["predicted"].numpy(), strict=True):
        letters = TOKENIZER.encode([pairs.antibodies[row]])[0][1:-1]
        yield pairs.regions[row], predicted[: len(letters)] == letters


def _region_means(hits: Sequence[tuple[Array, Bool]], number: int) -> Float64:
    """Return the mean of what is right at each place of a region that enough pairs have."""
    own = [right[regions == number] for regions, right in hits]
    length = max((len(right) for right in own), default=0)
    counts = np.zeros(length)
    sums = np.zeros(length)
    for right in own:
        counts[: len(right)] += 1
        sums[: len(right)] += right
    kept = counts >= max(1, LEAST_PAIRS * len(hits))
    return np.asarray((sums / np.maximum(counts, 1))[kept])


def effect_figure(history: Sequence[Mapping[str, float]]) -> Figure | None:
    """Draw the effects of antigen and affinity by epoch with their intervals; None where there are none."""
    found = {what: series(history, f"val_{what}_effect") for what in ("antigen", "pkd")}
    if not any(found.values()):
        return None
    figure, (axes,) = new_figure()
    for number, (what, curves) in enumerate(found.items()):
        for curve in curves.values():
            color = palette_color(number)
            draw_curve(axes, curve, color=color, label=f"another {'antigen' if what == 'antigen' else 'pKd'}")
            low, high = (series(history, f"val_{what}_effect_{end}") for end in ("low", "high"))
            for bottom, top in zip(low.values(), high.values(), strict=True):
                epochs = sorted(bottom)
                axes.fill_between(epochs, [bottom[e] for e in epochs], [top[e] for e in epochs], color=color, alpha=0.2)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="epoch", ylabel="rise (nats / token)", title="Rise of the loss with the condition of another pair")
    beside(axes)
    return figure


def logo_figures(written: Sequence[Numbered], real: Sequence[Numbered]) -> Iterator[tuple[str, Figure]]:
    """Yield the logos of each CDR, written above real ones, at the length that real ones have most often."""
    for number in CDRS:
        groups = ((WRITTEN, written), (REAL, real))
        loops = {label: [region_text(own, number) for own in group] for label, group in groups}
        lengths = Counter(len(text) for text in loops[REAL] if text)
        if not lengths:
            continue
        length = lengths.most_common(1)[0][0]
        figure, panels = new_figure(2, 1, width=max(6.4, 0.4 * length + 1.6), height=5.0, grid=False, sharey=True)
        for axes, (label, texts) in zip(panels, loops.items(), strict=True):
            same = [text for text in texts if len(text) == length]
            if same:
                draw_logo(axes, same, AMINO_ACIDS)
            axes.set_title(f"{REGION_NAMES[number]}, {label}: {len(same)} of {len(texts)} have {length} residues")
            axes.set_xlabel("position in the loop")
        yield f"logos/{REGION_NAMES[number]}", figure


def length_figures(written: Sequence[Numbered], real: Sequence[Numbered]) -> Iterator[tuple[str, Figure]]:
    """Yield histograms of the length of antibodies and of CDR-H3."""
    for name in ("antibody", "h_cdr3"):
        groups = {label: _lengths(group, name) for label, group in _named(written, real)}
        values = np.concatenate(list(groups.values()))
        edges = np.arange(values.min() - 0.5, values.max() + 1.5) if name == "h_cdr3" else range_edges(values, 40)
        figure, (axes,) = new_figure()
        for number, (label, own) in enumerate(groups.items()):
            shares = np.full(len(own), 1 / len(own))
            axes.hist(own, edges.tolist(), weights=shares, histtype="step", color=palette_color(number), label=label)
        axes.set(xlabel=f"residues of {name}", ylabel="share of antibodies", title=f"Length of {name}")
        beside(axes)
        yield f"lengths/{name}", figure


def _lengths(group: Sequence[Numbered], name: str) -> Float64:
    lengths = [len(own.text) if name == "antibody" else (own.regions == THIRD).sum() for own in group]
    return np.array(lengths, dtype=np.float64)


def composition_figure(written: Sequence[Numbered], real: Sequence[Numbered]) -> Figure:
    """Draw how often each letter stands in the CDRs, written beside real."""
    figure, (axes,) = new_figure(width=7.2)
    places = np.arange(len(AMINO_ACIDS))
    for number, (label, group) in enumerate(_named(written, real)):
        letters = "".join(loop_letters(group, loop) for loop in CDRS)
        shares = np.array([letters.count(letter) for letter in AMINO_ACIDS]) / max(1, len(letters))
        axes.bar(places + 0.4 * number - 0.2, shares, width=0.4, color=palette_color(number), label=label)
    axes.set_xticks(places, list(AMINO_ACIDS))
    axes.set(xlabel="residue", ylabel="share of residues", title="Residues of all CDRs")
    beside(axes)
    return figure


def _named(written: Sequence[Numbered], real: Sequence[Numbered]) -> tuple[tuple[str, Sequence[Numbered]], ...]:
    return (f"{WRITTEN} ({len(written)})", written), (f"{REAL} ({len(real)})", real)
