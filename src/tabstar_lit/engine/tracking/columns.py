"""What validation hands on row by row: named columns, of which those that were asked for are stacked on the CPU."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

Columns = Mapping[str, Tensor]
"""Columns ``[N, ...]`` of one source by name: rows in the order of the validation plan, ranks one after the other."""


class Kept:
    """The columns of every source that are asked for, batch by batch; nothing else of a batch is held."""

    def __init__(self) -> None:
        self._parts: dict[str, list[dict[str, Tensor]]] = {}

    def add(self, source: str, columns: Columns, names: Collection[str]) -> None:
        """Keep the columns of a batch that are among ``names``; a source with none of them is left out."""
        chosen = {name: _on_cpu(column) for name, column in columns.items() if name in names}
        if chosen:
            self._parts.setdefault(source, []).append(chosen)

    def stacked(self) -> dict[str, dict[str, Tensor]]:
        """Return the columns by source; see :func:`stack`."""
        return {source: stack(parts) for source, parts in self._parts.items()}


def stack(parts: Iterable[Columns]) -> dict[str, Tensor]:
    """Return columns of several batches, ranks or sources, one below the other.

    Raises
    ------
    ValueError
        One part lacks a column that another has.
    """
    parts = list(parts)
    names = list(dict.fromkeys(name for part in parts for name in part))
    for part in parts:
        missing = [name for name in names if name not in part]
        if missing:
            raise ValueError(
                f"column {missing[0]!r} is missing from some batches: steps have to return the same columns for all, "
                "or rows would no longer belong together."
            )
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def stack_ranks(ranks: Iterable[Mapping[str, Columns]]) -> dict[str, dict[str, Tensor]]:
    """Return the columns by source, in alphabetical order, of what the ranks have of each."""
    ranks = list(ranks)
    sources = sorted({source for rank in ranks for source in rank})
    return {source: stack(rank[source] for rank in ranks if source in rank) for source in sources}


def _on_cpu(column: Tensor) -> Tensor:
    """Return a column for keeps: its numbers as they are, half precision as single, and no larger storage behind it."""
    half = column.is_floating_point() and column.element_size() < 4
    kept = column.detach().to("cpu", torch.float32 if half else column.dtype)
    # A few columns of large logits would otherwise hold all of them.
    return kept.clone() if kept.untyped_storage().nbytes() > kept.nbytes else kept
