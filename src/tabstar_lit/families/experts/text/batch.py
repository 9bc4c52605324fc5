"""What one training step of the experts family gets: rows of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

NO_TARGET = -100
"""Stands in ``targets`` where nothing is to be predicted; what ``cross_entropy`` ignores by default."""


@dataclass(slots=True)  # not frozen: Lightning sets the fields of a copy when it casts a batch to double precision
class TokenBatch:
    """``B`` rows of ``T`` tokens each; a row holds text of one domain.

    Attributes
    ----------
    tokens : Tensor of int64
        ``[B, T]`` token ids, padded on the right.
    targets : Tensor of int64
        ``[B, T]`` the token that follows; :data:`NO_TARGET` for padding and after the last token of a document.
    documents : Tensor of int32, or None
        ``[B, T]`` which document of its row a position is of, counted from 0; -1 for padding. None where every row is
        one document: attention has then nothing to keep apart.
    positions : Tensor of int64
        ``[B, T]`` place within the document, counted from where it begins in this row; 0 for padding.
    domains : Tensor of int64
        ``[B]`` number of each row's domain.
    n_bytes : Tensor of int64
        ``[B]`` bytes of text that the targets of each row spell; special tokens spell none.
    n_targets : int
        Number of targets in the batch, known here so that no step asks the device for it.
    source : str
        The domain where all rows are of one, ``mixed`` otherwise.
    """

    tokens: Tensor
    targets: Tensor
    documents: Tensor | None
    positions: Tensor
    domains: Tensor
    n_bytes: Tensor
    n_targets: int
    source: str

    def __len__(self) -> int:
        """Return the number of rows ``B``."""
        return len(self.tokens)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TokenBatch:
        """Return the batch with its tensors on ``device``."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TokenBatch:
        """Return the batch in page-locked memory; called by the loader under ``pin_memory: true``."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> TokenBatch:
        return replace(
            self,
            tokens=change(self.tokens),
            targets=change(self.targets),
            documents=None if self.documents is None else change(self.documents),
            positions=change(self.positions),
            domains=change(self.domains),
            n_bytes=change(self.n_bytes),
        )
