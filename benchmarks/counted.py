"""The fake factor counted in cells, whose statistical errors are right: what the luck of a sample does to coverage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.families.hep.fakes.bins.estimate import BinnedFactor, binned_factor
from tabstar_lit.families.hep.fakes.bins.statistics import quantile_edges
from tabstar_lit.families.hep.fakes.toy.closed_form import ETA_MAX, PT_GEV, ClosedForm

PT_BINS = {1: 12, 2: 7}
"""Bins of pt, with equally many loose events each, by the number of variables."""
ETA_EDGES = (0.0, 0.8, 1.7, ETA_MAX)
GRID = {1: (4000,), 2: (2000, 100)}
"""Points at which densities are integrated, by the number of variables: in pt, and in abs(eta)."""


def counted_pulls(
    columns: Mapping[str, Float64], signed: Float64, tight: Bool, form: ClosedForm, at: Mapping[str, Float64]
) -> Float64:
    """Return how far the counted factor is from the true one of its cell, in units of its statistical error.

    Parameters
    ----------
    columns : mapping of str to ndarray
        ``[n]`` variables of the events that are counted.
    signed : ndarray
        ``[n]`` their weights, those of simulation with their sign turned.
    tight : ndarray of bool
        ``[n]`` tight rather than loose.
    form : ClosedForm
        The true factor.
    at : mapping of str to ndarray
        ``[N]`` variables of the events whose cells are asked for.

    Returns
    -------
    ndarray
        ``[N]``; NaN where nothing can be counted.
    """
    pt, *others = form.columns
    edges = {pt: quantile_edges(columns[pt][~tight], PT_BINS[len(form.columns)]), **dict.fromkeys(others, ETA_EDGES)}
    counted, true = binned_factor(columns, signed, tight, edges), _expected(form, edges)
    found = counted.at(at)
    return (found.factor - true.at(at).factor) / found.error


def _expected(form: ClosedForm, edges: Mapping[str, Float64 | tuple[float, ...]]) -> BinnedFactor:
    """Integrate the densities over the cells: events on a grid, with what is expected there for weights."""
    ranges = (PT_GEV["pt" if len(form.columns) == 1 else "pt_eta"], (0.0, ETA_MAX))
    axes = [
        low + (high - low) * (np.arange(n) + 0.5) / n
        for (low, high), n in zip(ranges, GRID[len(form.columns)], strict=False)
    ]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    fakes = [
        form.expected(f"{region}_data", points) - form.expected(f"{region}_mc", points) for region in ("tight", "loose")
    ]
    columns = {name: np.tile(values, 2) for name, values in zip(form.columns, points.T, strict=True)}
    return binned_factor(columns, np.concatenate(fakes), np.arange(2 * len(points)) < len(points), edges)
