"""Batches of tables in few shapes, so that steps can be recorded: strings and tokens padded to the next of some sizes.

A batch has a number of strings and tokens of its own. Strings that no element names are put behind its own, and tokens
in these; nothing reads their vectors, so they have no part in the loss, and their gradients are zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.arrays import Int64
from tabstar_lit.engine.devices.replays import Pieces
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.network import TabStarNetwork


class Room(NamedTuple):
    """Sizes of a padded batch: unique strings, their tokens, and the tokens of the longest one."""

    strings: int
    tokens: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Room:
        """Return room for strings of these lengths and one more at least."""
        own, tokens = len(lengths), sum(lengths)
        longest = _next_size(max(lengths))
        strings = _next_size(own + 1)
        while True:
            room = cls(strings, _next_size(tokens + strings - own), longest)
            if room.tokens - tokens <= (strings - own) * longest:
                return room
            strings = _next_size(strings + 1)

    def lengths(self) -> tuple[int, ...]:
        """Return lengths of as many strings with as many tokens: those that a recording is made with."""
        rest = _shares(self.tokens - self.longest, self.strings - 1)
        return (*rest.tolist(), self.longest)


def pieces_of(batch: TableBatch, network: TabStarNetwork) -> Pieces | None:
    """Return a batch in the shape that its step is recorded in; None for one of a window, and without a ragged kernel.

    Parameters
    ----------
    batch : TableBatch
        On the device.
    network : TabStarNetwork
        Whose frozen layers are asked, outside the recording, what they make of the strings.
    """
    encoder = network.text_encoder
    known = network.known(batch) if batch.window is None else None
    whole = known is not None and encoder.is_frozen  # vectors of strings, not of tokens
    if batch.window is not None or not (whole or encoder.is_ragged(batch.index.device, known)):
        return None
    room = Room.of((1,) * len(batch.string_ids) if whole else batch.lengths)
    more = room.tokens - len(batch.token_ids)
    read = {"index": batch.index, "numbers": batch.numbers, "targets": batch.targets, "weights": batch.weights}
    if known is not None:
        read["known"] = F.pad(known, (0, 0, 0, room.strings - len(known) if whole else more))
    else:
        read["token_ids"] = F.pad(batch.token_ids, (0, more))
    if not whole:
        behind = _shares(more, room.strings - len(batch.lengths)).tolist()
        starts = np.cumsum((0, *batch.lengths, *behind), dtype=np.int32)
        read["starts"] = _sent(torch.from_numpy(starts), batch.index.device)
    there = {name: tensor for name, tensor in read.items() if tensor is not None}
    like = replace(
        batch,
        source="",
        string_ids=batch.string_ids[:0],
        lengths=room.lengths(),
        token_ids=batch.token_ids[:0],
        starts=None,
        places=None,
        n_pairs=0,
        weights=None,
        offsets=None,
    )

    def rebuild(tensors: Sequence[Tensor]) -> TableBatch:
        made: dict[str, Any] = dict(zip(there, tensors, strict=True))
        return replace(like, **made)

    return Pieces(tuple(there.values()), (batch.task, batch.n_targets, room, *there), rebuild)


def _next_size(count: int) -> int:
    """Return the next power of two, or one and a half times one."""
    power = 1 << (count - 1).bit_length()
    return 3 * power // 4 if count <= 3 * power // 4 else power


def _shares(total: int, count: int) -> Int64:
    """Return ``count`` numbers, as even as may be, that sum to ``total``."""
    return np.diff(np.arange(count + 1) * total // count)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a card does not have to be waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
