"""Values by epoch: curves of metrics or of sources, and maps of sources and epochs. A curve maps epochs to values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tabstar_lit.plots.style import PALETTE, new_figure, palette_color

Curve = Mapping[int, float]

NAMED_SOURCES = len(PALETTE)
"""So many sources get a colour and a name; of more, all are drawn in grey around their mean."""
LINES = ("-", "--", ":", "-.")
"""Further curves have the colours of the first ones, and another line."""
MARKED_EPOCHS = 30
"""A curve of at most so many values has a mark at each."""
LABELLED_EPOCHS = 12
FEW_EPOCHS = 6
"""Scores of fewer epochs are all shown."""
FINER = 2.0
LEAST_RANGE = 0.05
"""Scores that stay this near to each other do not shrink the view further."""


def series(history: Iterable[Mapping[str, float]], name: str) -> dict[str, Curve]:
    """Return curves from a tracker's history.

    Parameters
    ----------
    history : iterable of mappings
        One per validated epoch, with ``epoch`` among the values.
    name : str
        A metric, or a prefix that ends with ``/`` for one curve per source.

    Returns
    -------
    dict
        Curves by source; under the metric's own name when ``name`` is no prefix. Empty where the history has none.
    """
    curves: dict[str, dict[int, float]] = {}
    for entry in history:
        for key, value in entry.items():
            if key == name or (name.endswith("/") and key.startswith(name)):
                curves.setdefault(key.removeprefix(name) or name, {})[int(entry["epoch"])] = value
    return dict(curves)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean at every epoch over the curves that have a value there."""
    epochs = sorted({epoch for curve in curves for epoch in curve})
    return {epoch: float(np.mean([curve[epoch] for curve in curves if epoch in curve])) for epoch in epochs}


def draw_curve(axes: Axes, curve: Curve, **style: object) -> None:
    """Draw a curve over an axis of epochs, with marks where they are few."""
    epochs = sorted(curve)
    marker = "o" if len(epochs) <= MARKED_EPOCHS else None
    axes.plot(epochs, [curve[epoch] for epoch in epochs], marker=marker, markersize=3.5, **style)  # type: ignore[arg-type]  # matplotlib's own keywords
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)


def keep_in_view(axes: Axes, curves: Iterable[Curve]) -> None:
    """Scale the vertical axis to the later half of the epochs, where the earlier one would squash it.

    That is so where the axis then is twice as fine; a score without a bound below, such as R², often begins far
    from where it comes to. A corner tells how many values are out of view.
    """
    points = [(epoch, value) for curve in curves for epoch, value in curve.items() if math.isfinite(value)]
    if len({epoch for epoch, _ in points}) < FEW_EPOCHS:
        return
    epochs, values = np.array(points).T
    late = values[epochs >= np.median(epochs)]
    room = max(np.ptp(late), LEAST_RANGE)
    low, high = late.min() - room / 2, late.max() + room / 2
    out = values[(values < low) | (values > high)]
    if len(out) and np.ptp(values) > FINER * (high - low):
        axes.set_ylim(low, high)
        text = f"{len(out)} earlier values out of view, from {out.min():.3g} to {out.max():.3g}"
        axes.text(0.99, 0.02, text, transform=axes.transAxes, ha="right", fontsize=7, color="0.45")


def epoch_figure(
    history: Sequence[Mapping[str, float]],
    names: Sequence[str],
    *,
    title: str,
    ylabel: str,
    log: bool = False,
    late: bool = False,
) -> Figure | None:
    """Draw metrics by epoch, or return None where the history has none of them.

    Parameters
    ----------
    history : sequence of mappings
        As in :func:`series`.
    names : sequence of str
        Names of the metrics, as they are logged; they name the curves.
    title, ylabel : str
        What the metrics are, and their unit.
    log : bool
        Logarithmic vertical axis.
    late : bool
        Keep the later epochs in view, see :func:`keep_in_view`: for scores, not for losses.
    """
    curves = {name: curve for name in names for curve in series(history, name).values()}
    if not curves:
        return None
    figure, (axes,) = new_figure(width=6.8)
    for number, (name, curve) in enumerate(curves.items()):
        line = LINES[number // len(PALETTE) % len(LINES)]
        draw_curve(axes, curve, color=palette_color(number), linestyle=line, label=name)
    axes.set(xlabel="epoch", ylabel=ylabel, title=title)
    if log:
        _make_logarithmic(axes, [value for curve in curves.values() for value in curve.values()])
    if late:
        keep_in_view(axes, curves.values())
    beside(axes)
    return figure


def _make_logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic, with plain numbers where it spans little."""
    axes.set_yscale("log")
    positive = [value for value in values if value > 0]
    if positive and max(positive) < 100 * min(positive):
        axes.yaxis.set_major_formatter("{x:g}")
    if positive and max(positive) < 10 * min(positive):
        axes.yaxis.set_minor_formatter("{x:g}")


def source_curves(
    curves: Mapping[str, Curve], mean: Curve, *, title: str, ylabel: str, sources: str, late: bool = False
) -> Figure:
    """Draw a metric of every source by epoch, around their mean.

    Parameters
    ----------
    curves : mapping of str to Curve
        By source. Of more than :data:`NAMED_SOURCES` none has a name.
    mean : Curve
        What is logged for all sources together; may be empty.
    title, ylabel : str
        What the metric is.
    sources : str
        What the sources are, as in "mean of 8 tables".
    late : bool
        As in :func:`epoch_figure`.
    """
    figure, (axes,) = new_figure(width=7.2)
    few = len(curves) <= NAMED_SOURCES
    for number, (source, curve) in enumerate(curves.items()):
        style = {"color": palette_color(number), "label": source} if few else {"color": "0.75"}
        draw_curve(axes, curve, linewidth=1.2, **style)
    if mean:
        draw_curve(axes, mean, color="black", linewidth=2.4, label=f"mean of {len(curves)} {sources}")
    axes.set(xlabel="epoch", ylabel=ylabel, title=title)
    if late:
        keep_in_view(axes, curves.values())
    beside(axes)
    return figure


def source_map(curves: Mapping[str, Curve], *, title: str, label: str, rows: str) -> Figure:
    """Draw source × epoch as colours from 0 to 1, sources sorted by their last value; those below 0 are the darkest."""
    sources = sorted(curves, key=lambda source: list(curves[source].values())[-1], reverse=True)
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    values = np.array([[curves[source].get(epoch, math.nan) for epoch in epochs] for source in sources])
    figure, (axes,) = new_figure(width=7.2, height=1.6 + 0.26 * len(sources), grid=False)
    image = axes.imshow(values, aspect="auto", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set(xlabel="epoch", ylabel=rows, title=title)
    axes.set_yticks(range(len(sources)), sources)
    shown = np.unique(np.linspace(0, len(epochs) - 1, num=min(len(epochs), LABELLED_EPOCHS)).astype(int))
    axes.set_xticks(shown, [str(epochs[i]) for i in shown])
    figure.colorbar(image, ax=axes, label=label, extend="min")
    return figure


def loss_panels(losses: Mapping[str, Mapping[str, Curve]], labels: Mapping[str, str]) -> Figure:
    """Draw losses by epoch in one panel for each kind of loss.

    Parameters
    ----------
    losses : mapping of str to mapping of str to Curve
        Split -> kind -> curve.
    labels : mapping of str to str
        Kind -> what the loss is, with its unit.
    """
    kinds = sorted({kind for curves in losses.values() for kind in curves})
    count = max(1, len(kinds))
    figure, panels = new_figure(1, count, width=4.6 * count, height=3.6)
    for axes, kind in zip(panels, kinds, strict=False):
        for number, (split, curves) in enumerate(losses.items()):
            if kind in curves:
                draw_curve(axes, curves[kind], color=palette_color(number), label=split)
        axes.set(xlabel="epoch", ylabel=labels[kind], title=f"Loss, {kind}")
        axes.legend(frameon=False)
    return figure


def beside(axes: Axes) -> None:
    """Put the legend to the right of the axes, where it hides nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
