"""Curves that physicists judge a classifier by: background rejection, and the significance of a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.metrics.importance import Importance
from tabstar_lit.metrics.significance import Scan
from tabstar_lit.metrics.weighted import Roc
from tabstar_lit.plots.bars import MOST_BARS, draw_bars
from tabstar_lit.plots.classification import thinned
from tabstar_lit.plots.style import PALETTE, new_figure, palette_color


def rejection_figure(curves: Mapping[str, Roc], efficiencies: Sequence[float]) -> Figure:
    """Draw 1 / background efficiency against signal efficiency, with the first curve's values as they are logged."""
    figure, (axes,) = new_figure(width=5.6)
    for number, (name, curve) in enumerate(curves.items()):
        kept = thinned(len(curve.fpr))
        tpr, fpr = curve.tpr[kept], curve.fpr[kept]
        axes.plot(tpr[fpr > 0], 1 / fpr[fpr > 0], color=palette_color(number), label=name)
    first = next(iter(curves.values()))
    for share, value in ((share, first.rejection(share)) for share in efficiencies):
        if np.isfinite(value):
            axes.plot(share, value, "o", color=palette_color(0), markersize=4)
            axes.annotate(f"{value:.3g}", (share, value), textcoords="offset points", xytext=(5, 5), fontsize=8)
    axes.set(xlabel="signal efficiency", ylabel="1 / background efficiency", title="Background rejection")
    axes.set(yscale="log", xlim=(-0.01, 1.01))
    axes.legend(frameon=False)
    return figure


def significance_figure(scan: Scan, name: str) -> Figure:
    """Draw significance and efficiencies against the cut on the log-odds, with the numbers of the best one above."""
    figure, (axes, below) = new_figure(2, 1, width=5.8, height=5.9, sharex=True, height_ratios=[3, 2])
    best = scan.best
    kept = np.union1d(thinned(len(scan.cuts)), [best])
    axes.plot(scan.cuts[kept], scan.significance[kept], color=PALETTE[0])
    axes.plot(scan.cuts[best], scan.maximum, "o", color=PALETTE[1])
    lines = (
        f"Significance {name}".rstrip(),
        f"best cut {scan.maximum:.3g} σ at {scan.cuts[best]:.3g}: "
        f"s = {scan.signal[best]:.4g}{_share(scan.signal, best)}, "
        f"b = {scan.background[best]:.4g}{_share(scan.background, best)}",
        f"bins of the score {scan.integrated:.3g} σ",
    )
    axes.set_title("\n".join(lines), fontsize=9)
    axes.set(ylabel="Asimov significance (σ)")
    for color, label, yields in ((PALETTE[1], "signal", scan.signal), (PALETTE[0], "background", scan.background)):
        if yields[-1] > 0:
            below.plot(scan.cuts[kept], yields[kept] / yields[-1], color=color, label=label)
            below.legend(frameon=False)
    below.axvline(scan.cuts[best], color="0.6", linewidth=1, linestyle=":")
    below.set(xlabel="cut on log(p signal / p background)", ylabel="efficiency")
    return figure


def importance_figure(found: Mapping[str, Importance], events: int) -> Figure:
    """Draw how much the loss rises when a feature is shuffled among events, the features that matter most on top."""
    figure, (axes,) = new_figure(height=1.4 + 0.24 * min(len(found), MOST_BARS))
    draw_bars(axes, found, xlabel="rise of the cross-entropy when shuffled (nats)")
    axes.set_title(f"Importance of features, {events} events")
    return figure


def _share(yields: Float64, index: int) -> str:
    """Return which share of all passes a cut, where negative weights leave a whole to take a share of."""
    return f" ({100 * yields[index] / yields[-1]:.3g} %)" if yields[-1] > 0 else ""
