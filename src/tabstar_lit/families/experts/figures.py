"""Figures of language models: losses by position, learning curves, weights of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tabstar_lit.arrays import Float64
from tabstar_lit.plots.curves import Curve, beside
from tabstar_lit.plots.style import new_figure, palette_color

LOG_FROM = 10
"""A learning curve that spans more than such a factor has a logarithmic axis."""


def position_figure(losses: Mapping[str, Float64], width: int) -> Figure:
    """Draw the loss by position within the document.

    Parameters
    ----------
    losses : mapping of str to NDArray of float64
        By domain ``[K]``, the mean in nats per token of each bin of positions; NaN where there is no token.
    width : int
        Positions in a bin.
    """
    figure, (axes,) = new_figure(width=7.2)
    for number, (domain, means) in enumerate(losses.items()):
        places = width * (np.arange(len(means)) + 0.5)
        axes.plot(places, means, color=palette_color(number), marker="o", markersize=3, label=domain)
    axes.set(xlabel="position in the document (tokens)", ylabel="loss (nats per token)", title="Loss by position")
    beside(axes)
    return figure


def learning_figure(curves: Mapping[str, Curve], tokens: Mapping[int, int]) -> Figure:
    """Draw bits per byte against the tokens that were trained on.

    Parameters
    ----------
    curves : mapping of str to Curve
        Bits per byte by epoch, by name.
    tokens : mapping of int to int
        Tokens trained on at the end of each epoch.
    """
    figure, (axes,) = new_figure(width=7.2)
    for number, (name, curve) in enumerate(curves.items()):
        epochs = [epoch for epoch in sorted(curve) if epoch in tokens]
        seen, values = [tokens[epoch] for epoch in epochs], [curve[epoch] for epoch in epochs]
        axes.plot(seen, values, color=palette_color(number), marker="o", markersize=3.5, label=name)
    axes.set(xlabel="tokens trained on", ylabel="bits per byte", title="Learning curve")
    if max(tokens.values(), default=0) > LOG_FROM * min(tokens.values(), default=1):
        axes.set_xscale("log")
    beside(axes)
    return figure


def router_figure(weights: Mapping[str, Float64], experts: Sequence[str]) -> Figure:
    """Draw the mean weight of each expert by domain, a panel for each router.

    Parameters
    ----------
    weights : mapping of str to NDArray of float64
        By domain ``[L, E]``, rows summing to 1.
    experts : sequence of str
        Names of the E experts.
    """
    layers = len(next(iter(weights.values())))
    figure, panels = new_figure(1, layers, width=max(5.0, 4.2 * layers), height=1.6 + 0.45 * len(weights), sharey=True)
    for layer, axes in enumerate(panels):
        left = np.zeros(len(weights))
        for number, expert in enumerate(experts):
            share = np.array([own[layer, number] for own in weights.values()])
            axes.barh(list(weights), share, left=left, color=palette_color(number), label=expert)
            left += share
        title = "Weights of experts" if layers == 1 else f"Weights of experts, router {layer + 1}"
        axes.set(xlim=(0, 1), xlabel="mean weight", title=title)
        axes.grid(visible=False)
    panels[0].set_ylabel("domain")
    beside(panels[-1])
    return figure
