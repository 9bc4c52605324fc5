"""What one training step of the tabstar family gets: rows of one table, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


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
    string_ids : Tensor of int64
        ``[U]`` number of each unique string in the corpus. Stays on the CPU: it is a key to cached vectors.
    lengths : tuple of int
        ``[U]`` tokens of each unique string, ascending.
    token_ids : Tensor of int64
        ``[U, L]`` tokens, padded with zeros.
    index : Tensor of int64
        ``[B, S]`` which unique string stands at each element.
    numbers : Tensor of float32
        ``[B, S]`` z-scores; 0 for targets, text and missing values.
    targets : Tensor
        ``[B]`` class numbers (int64) or z-scored values (float32).
    n_targets : int
        ``C``: the number of classes, or 1 for regression.
    """

    source: str
    task: str
    string_ids: Tensor
    lengths: tuple[int, ...]
    token_ids: Tensor
    index: Tensor
    numbers: Tensor
    targets: Tensor
    n_targets: int

    def __len__(self) -> int:
        """Return the number of rows ``B``."""
        return len(self.targets)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TableBatch:
        """Return the batch with its tensors on ``device``."""
        return replace(
            self,
            token_ids=self.token_ids.to(device, non_blocking=non_blocking),
            index=self.index.to(device, non_blocking=non_blocking),
            numbers=self.numbers.to(device, non_blocking=non_blocking),
            targets=self.targets.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> TableBatch:
        """Return the batch in page-locked memory; called by the loader under ``pin_memory: true``."""
        return replace(
            self,
            token_ids=self.token_ids.pin_memory(),
            index=self.index.pin_memory(),
            numbers=self.numbers.pin_memory(),
            targets=self.targets.pin_memory(),
        )
