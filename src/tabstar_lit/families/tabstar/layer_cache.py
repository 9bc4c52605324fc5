"""What the frozen layers of a text encoder make of each string, once per run while the upper ones are trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Int64
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.state_file import StateFile, StateLayout, remove_older, states_key, states_path
from tabstar_lit.nn.text_encoder import TextEncoder, compute_dtype

GROUP_SIZE = 256
"""Strings encoded together on first use of any of them."""

CPU_BYTES = 1 << 30
DEVICE_SHARE = 0.25
HOST_BYTES = 4 << 30
"""Memory of the host that is taken beside a card's own."""

log = logging.getLogger(__name__)


class Budget(NamedTuple):
    """Bytes that states of strings may take: on the device, in the memory of its host, and in a file."""

    device: int | None = None
    host: int | None = None
    disk: int = 0

    @classmethod
    def in_gb(cls, device: float | None, host: float | None, disk: float) -> Budget:
        """Return what so many times 10^9 bytes are."""
        own, beside, on_disk = (None if share is None else int(share * 1e9) for share in (device, host, disk))
        return cls(own, beside, on_disk or 0)

    def memory(self, device: torch.device) -> tuple[int, int]:
        """Return the bytes on a device and on its host, in place of None as many on every card of a kind."""
        if device.type == "cuda":
            usual = int(DEVICE_SHARE * torch.cuda.get_device_properties(device).total_memory), HOST_BYTES
        else:
            usual = CPU_BYTES, 0
        own, beside = self.device, self.host
        return usual[0] if own is None else own, usual[1] if beside is None else beside


USUAL = Budget()


class Tier(NamedTuple):
    """Rows of consecutive tokens, somewhere: ``[T, D]`` from the token ``first`` on."""

    first: int
    rows: Tensor

    @property
    def end(self) -> int:
        """The token behind the last one."""
        return self.first + len(self.rows)

    def put(self, start: int, states: Tensor) -> None:
        """Write those of the rows from ``start`` on that are kept here."""
        low, high = max(start, self.first), min(start + len(states), self.end)
        if low < high:
            self.rows[low - self.first : high - self.first].copy_(states[low - start : high - start])

    def get(self, places: Int64, device: torch.device) -> Tensor:
        """Return the rows of tokens that are kept here, on a device; a card is not waited for."""
        chosen, is_card = torch.from_numpy(places - self.first), device.type == "cuda"
        if self.rows.device == device:
            chosen = chosen.pin_memory() if is_card else chosen
            return self.rows.index_select(0, chosen.to(device, non_blocking=True))
        sent = torch.empty(len(places), self.rows.shape[1], dtype=self.rows.dtype, pin_memory=is_card)
        return torch.index_select(self.rows, 0, chosen, out=sent).to(device, non_blocking=True)


class LayerCache:
    """Remember the token vectors behind the frozen layers, for as many strings as the budget holds.

    Which strings those are depends on the budget alone: the first ones of the corpus are on the device, those behind
    them in the memory of its host, and those for which neither is left in a file, which has all that it holds for later
    runs as well. They are encoded in fixed groups of :data:`GROUP_SIZE` consecutive numbers, as
    :class:`~tabstar_lit.families.tabstar.text_cache.TextCache` does and for its reason: a run that is resumed computes
    the same bits as one that was never stopped.

    Parameters
    ----------
    encoder : TextEncoder
        Some of its lower layers are frozen. Loading other weights into it empties the cache.
    tokens : StringTokens
        Token ids of all strings.
    budget : Budget
        Bytes it may take. None: on a processor :data:`CPU_BYTES`, on a card :data:`DEVICE_SHARE` of its memory and
        :data:`HOST_BYTES` of the host's.
    corpus : Path or None
        The file is kept beside it; None: nowhere.
    """

    def __init__(
        self, encoder: TextEncoder, tokens: StringTokens, budget: Budget = USUAL, corpus: Path | None = None
    ) -> None:
        self._encoder, self._tokens, self.budget, self._corpus = encoder, tokens, budget, corpus
        self._ends = np.cumsum(tokens.lengths_of(np.arange(len(tokens))))
        self._tiers: tuple[Tier, ...] = ()
        self._file: StateFile | None = None
        self._known = np.zeros(0, dtype=np.bool_)
        self._n_strings = 0
        cast(Any, encoder).register_load_state_dict_post_hook(self._forget)

    def __call__(self, batch: TableBatch) -> Tensor | None:
        """Return the token vectors of the strings of a batch.

        Returns
        -------
        Tensor or None
            ``[T, D]`` in the precision that is computed in, without a gradient; None where the budget does not hold all
            of these strings.
        """
        weight = self._encoder.embeddings.word_embeddings.weight
        dtype = compute_dtype(weight)
        # A tensor made in inference mode could not take part in training later.
        with torch.inference_mode(False), torch.no_grad():
            if not len(self._known) or not self._is_for(weight.device, dtype):
                self._reset(weight.device, dtype)
            string_ids = batch.string_ids
            if string_ids[-1] >= self._n_strings:
                return None
            for group in np.unique(string_ids // GROUP_SIZE):
                if not self._known[group]:
                    self._learn(int(group))
            nearest = self._tiers[0].rows
            if batch.places is not None and self._tokens_up_to(string_ids[-1] + 1) <= len(nearest):
                return nearest.index_select(0, batch.places)
            return self._gathered(string_ids)

    @property
    def known_strings(self) -> int:
        """Strings that are remembered by now."""
        return min(int(self._known.sum()) * GROUP_SIZE, self._n_strings)

    def _gathered(self, string_ids: Int64) -> Tensor:
        """Return the rows of strings, from wherever they are: ``[T, D]`` on the device."""
        places = self._tokens.places(string_ids)  # rising, as strings are
        device = self._tiers[0].rows.device
        bounds = np.searchsorted(places, [tier.end for tier in self._tiers])
        parts = zip(self._tiers, np.split(places, bounds[:-1]), strict=True)
        found = [tier.get(own, device) for tier, own in parts if len(own)]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _learn(self, group: int) -> None:
        """Find the states of a group of strings in the file, or compute them."""
        strings = np.arange(group * GROUP_SIZE, min((group + 1) * GROUP_SIZE, len(self._tokens)))
        start, stop = self._tokens_up_to(strings[0]), self._tokens_up_to(strings[-1] + 1)
        file = self._file if self._file is not None and stop <= len(self._file.rows) else None
        states = None if file is None else file.find(group, start, stop)
        if states is None:
            states = self._computed(strings, start)
            if file is not None:
                file.keep(group, start, states)
        for tier in self._tiers[:2]:
            tier.put(start, states)
        self._known[group] = True

    def _computed(self, strings: Int64, start: int) -> Tensor:
        """Return the states of consecutive strings, whose tokens begin at ``start``."""
        device = self._tiers[0].rows.device
        strings = strings[np.argsort(self._tokens.lengths_of(strings), kind="stable")]
        token_ids, lengths = self._tokens.gather(strings)
        states = self._encoder.frozen_states(torch.from_numpy(token_ids).to(device), lengths)
        places = torch.from_numpy(self._tokens.places(strings) - start).to(device)
        return torch.empty_like(states).index_copy_(0, places, states)

    def _is_for(self, device: torch.device, dtype: torch.dtype) -> bool:
        nearest = self._tiers[0].rows
        return nearest.device == device and nearest.dtype == dtype

    def _tokens_up_to(self, string: int) -> int:
        """Return how many tokens the strings before one have."""
        return int(self._ends[string - 1]) if string else 0

    def _reset(self, device: torch.device, dtype: torch.dtype) -> None:
        width, (near_bytes, far_bytes) = self._encoder.width, self.budget.memory(device)

        def holds(n_bytes: int) -> int:
            """Return how many of the first strings fit."""
            return int(np.searchsorted(self._ends * (width * dtype.itemsize), n_bytes, side="right"))

        near_end, end = (self._tokens_up_to(holds(n)) for n in (near_bytes, near_bytes + far_bytes))
        self._file = self._opened(holds(self.budget.disk), dtype)
        is_card = device.type == "cuda"
        self._tiers = (
            Tier(0, torch.empty(near_end, width, device=device, dtype=dtype)),
            Tier(near_end, torch.empty(end - near_end, width, dtype=dtype, pin_memory=is_card)),
        )
        if self._file is not None and len(self._file.rows) > end:
            self._tiers += (Tier(end, self._file.rows[end:]),)
        self._n_strings = int(np.searchsorted(self._ends, self._tiers[-1].end, side="right"))
        self._known = np.zeros(max(1, -(-self._n_strings // GROUP_SIZE)), dtype=np.bool_)

    def _opened(self, strings: int, dtype: torch.dtype) -> StateFile | None:
        """Return the file with room for the whole groups among so many strings; None where there is to be none."""
        if strings < len(self._tokens):
            strings -= strings % GROUP_SIZE
        if self._corpus is None or not strings:
            return None
        layout = StateLayout(self._tokens_up_to(strings), self._encoder.width, dtype, -(-strings // GROUP_SIZE))
        path = states_path(self._corpus, states_key(self._encoder, self._tokens, dtype))
        try:
            file = StateFile(path, layout)
        except (DataError, OSError) as error:
            log.warning("What frozen layers make of strings is kept in memory only: %s", error)
            return None
        try:
            remove_older(self._corpus, path, self.budget.disk)
        except OSError as error:  # another process removed one first, or may and this one may not
            log.warning("Older files beside %s stay: %s", path, error)
        return file

    def _forget(self, *_: Any) -> None:
        self._known = np.zeros(0, dtype=np.bool_)
