"""What one training step of the tabstar family gets: rows of one table, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tabstar_lit.arrays import Int64


class WindowPlace(NamedTuple):
    """Where a batch stands among those of one table whose strings are encoded together."""

    is_first: bool
    is_last: bool


@dataclass(slots=True)  # not frozen: Lightning sets the fields of a copy when it casts a batch to double precision
class TableBatch:
    """``B`` rows of one table with ``S`` elements each: its ``C`` targets first, then its features.

    The strings of all elements are stated once each, shortest first, so that the text encoder neither repeats
    a string nor pads much, and needs nothing back from the accelerator to know the lengths.

    Attributes
    ----------
    source : str
        Name of the table.
    task : str
        ``"classification"`` or ``"regression"``.
    string_ids : NDArray of int64
        ``[U]`` number of each unique string in the corpus, rising. On the host: a key to what is remembered of it.
    lengths : tuple of int
        ``[U]`` tokens of each unique string, ascending.
    token_ids : Tensor of int64
        ``[T]`` tokens, string after string.
    index : Tensor of int64
        ``[B, S]`` which unique string stands at each element.
    numbers : Tensor of float32
        ``[B, S]`` z-scores, 0 for targets, text and missing values; or ``[B, S, 6]``.
    targets : Tensor
        ``[B]`` class numbers (int64) or values on the scale that is learned, less their offsets (float32).
    offsets : Tensor of float32 or None
        ``[B]`` what is to be added to values and targets of a regression; None: nothing.
    n_targets : int
        ``C``: the number of classes, or 1 for regression.
    starts : Tensor of int32 or None
        ``[U + 1]`` where each string begins among the tokens, and the end; None: the encoder works it out.
    places : Tensor of int64 or None
        ``[T]`` where the tokens are among those of the whole corpus: a key to what is remembered of them.
    n_pairs : int
        Pairs of tokens within a string, the sum of squared lengths; for counting operations.
    weights : Tensor of float32 or None
        ``[B]`` how much each row counts in the loss; None: all alike.
    window : WindowPlace or None
        Of a batch of a window: the unique strings are then those of all its batches, and only the first one has their
        lengths and tokens.
    known : Tensor or None
        What the text encoder makes of the strings without being trained, where that has been looked up: vectors
        ``[U, D]`` of a frozen encoder, else ``[T, D]`` behind its frozen layers.
    """

    source: str
    task: str
    string_ids: Int64
    lengths: tuple[int, ...]
    token_ids: Tensor
    index: Tensor
    numbers: Tensor
    targets: Tensor
    n_targets: int
    starts: Tensor | None = None
    places: Tensor | None = None
    n_pairs: int = 0
    weights: Tensor | None = None
    offsets: Tensor | None = None
    window: WindowPlace | None = None
    known: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows ``B``."""
        return len(self.targets)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> TableBatch:
        """Return the batch with its tensors on ``device``; the copies do not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TableBatch:
        """Return the batch in page-locked memory; called by the loader under ``pin_memory: true``."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> TableBatch:
        return replace(
            self,
            token_ids=change(self.token_ids),
            index=change(self.index),
            numbers=change(self.numbers),
            targets=change(self.targets),
            starts=None if self.starts is None else change(self.starts),
            places=None if self.places is None else change(self.places),
            weights=None if self.weights is None else change(self.weights),
            offsets=None if self.offsets is None else change(self.offsets),
            known=None if self.known is None else change(self.known),
        )
