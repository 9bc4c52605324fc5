"""The numbers of a run: metrics and costs by epoch, in as many epochs as fit a page, and by source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.engine.runs.records import COSTS

Epochs = Mapping[int, Mapping[str, float | None]]

SHOWN_EPOCHS = 8
"""A table has so many epochs: the first and the last ones, evenly spaced between, and the best."""


def numbers(files: RunFiles) -> Iterator[str]:
    """Yield a section for each stage that was trained."""
    for stage, result in files.stages.items():
        epochs = files.epochs(stage)
        if result.get("evaluated") or not epochs:
            continue
        plain = [name for name in files.names(stage) if "/" not in name and any(name in e for e in epochs.values())]
        scores = [name for name in plain if name not in COSTS and not name.startswith("test_")]
        yield from (f"## Metrics of {stage}", "")
        yield from _by_epoch(epochs, scores, result.get("best_epoch"))
        yield from _by_source(epochs)
        if costs := [name for name in plain if name in COSTS]:
            yield from ("### Time and memory", "")
            yield from _by_epoch(epochs, costs, None)
            yield from _totals(epochs)


def _by_epoch(epochs: Epochs, names: Sequence[str], best: int | None) -> Iterator[str]:
    """Yield a table of metrics and epochs."""
    numbered = [number for number in sorted(epochs) if any(name in epochs[number] for name in names)]
    places = np.linspace(0, len(numbered) - 1, min(len(numbered), SHOWN_EPOCHS)).astype(int)
    chosen = sorted({numbered[place] for place in places} | {number for number in numbered if number == best})
    header = ["epoch", *(f"{number} (best)" if number == best else str(number) for number in chosen)]
    yield from table(header, [(f"`{name}`", *(epochs[number].get(name) for number in chosen)) for name in names])
    if len(chosen) < len(numbered):
        yield from (f"{len(chosen)} of {len(numbered)} epochs; all are in `metrics.jsonl`.", "")


def _by_source(epochs: Epochs) -> Iterator[str]:
    """Yield first and last value of every metric that exists per source (``val_auc/<source>``)."""
    firsts: dict[str, float | None] = {}
    lasts: dict[str, tuple[int, float | None]] = {}
    for number, values in epochs.items():
        for name, value in values.items():
            if "/" in name and not name.startswith(("lr/", "test_")):
                firsts.setdefault(name, value)
                lasts[name] = (number, value)
    rows = [
        (*reversed(name.split("/", maxsplit=1)), firsts[name], lasts[name][1], lasts[name][0]) for name in sorted(lasts)
    ]
    if rows:
        yield from ("### By source", "", *table(("source", "metric", "first", "last", "in epoch"), rows))


def _totals(epochs: Epochs) -> Iterator[str]:
    seconds = [e["epoch_seconds"] or 0.0 for e in epochs.values() if "epoch_seconds" in e]
    if seconds:
        peak = max(e.get("rss_mib") or -math.inf for e in epochs.values())
        yield from (f"{sum(seconds):.1f} s in {len(seconds)} epochs; at most {peak:.0f} MiB of memory.", "")
