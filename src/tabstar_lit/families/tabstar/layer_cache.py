"""What the frozen layers of a text encoder make of each string, once per run while the upper ones are trained."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Int64
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.nn.text_encoder import TextEncoder, compute_dtype

GROUP_SIZE = 256
"""Strings encoded together on first use of any of them."""

CPU_BYTES = 1 << 30
DEVICE_SHARE = 0.25


class LayerCache:
    """Remember the token vectors behind the frozen layers, for as many strings as the budget holds.

    Which strings those are depends on the budget alone: the first ones of the corpus. They are encoded in fixed groups
    of :data:`GROUP_SIZE` consecutive numbers, as :class:`~tabstar_lit.families.tabstar.text_cache.TextCache` does and
    for its reason: a run that is resumed computes the same bits as one that was never stopped.

    Parameters
    ----------
    encoder : TextEncoder
        Some of its lower layers are frozen. Loading other weights into it empties the cache.
    tokens : StringTokens
        Token ids of all strings.
    budget_bytes : int or None
        Memory it may take, on the encoder's device. None: :data:`CPU_BYTES`, or :data:`DEVICE_SHARE` of a card's.
    """

    def __init__(self, encoder: TextEncoder, tokens: StringTokens, budget_bytes: int | None = None) -> None:
        self._encoder, self._tokens, self.budget_bytes = encoder, tokens, budget_bytes
        self._lengths = tokens.lengths_of(np.arange(len(tokens)))
        self._states = torch.empty(0)
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
            if not len(self._known) or self._states.device != weight.device or self._states.dtype != dtype:
                self._reset(weight.device, dtype)
            string_ids = batch.string_ids
            if string_ids[-1] >= self._n_strings:
                return None
            for group in np.unique(string_ids // GROUP_SIZE):
                if not self._known[group]:
                    self._encode(int(group))
            places = self._places(string_ids) if batch.places is None else batch.places
            return self._states.index_select(0, places)

    @property
    def known_strings(self) -> int:
        """Strings that are remembered by now."""
        return min(int(self._known.sum()) * GROUP_SIZE, self._n_strings)

    def _places(self, string_ids: Int64) -> Tensor:
        """Return where the tokens of strings are: ``[T]``."""
        return torch.from_numpy(self._tokens.places(string_ids)).to(self._states.device, non_blocking=True)

    def _encode(self, group: int) -> None:
        strings = np.arange(group * GROUP_SIZE, min((group + 1) * GROUP_SIZE, self._n_strings))
        strings = strings[np.argsort(self._lengths[strings], kind="stable")]
        token_ids, lengths = self._tokens.gather(strings)
        states = self._encoder.frozen_states(torch.from_numpy(token_ids).to(self._states.device), lengths)
        self._states.index_copy_(0, self._places(strings), states)
        self._known[group] = True

    def _reset(self, device: torch.device, dtype: torch.dtype) -> None:
        width = self._encoder.width
        ends = np.cumsum(self._lengths)
        budget = default_budget(device) if self.budget_bytes is None else self.budget_bytes
        self._n_strings = int(np.searchsorted(ends * width * dtype.itemsize, budget, side="right"))
        n_tokens = int(ends[self._n_strings - 1]) if self._n_strings else 0
        self._states = torch.empty(n_tokens, width, device=device, dtype=dtype)
        self._known = np.zeros(max(1, -(-self._n_strings // GROUP_SIZE)), dtype=np.bool_)

    def _forget(self, *_: Any) -> None:
        self._known = np.zeros(0, dtype=np.bool_)


def default_budget(device: torch.device) -> int:
    """Return the bytes that may be taken on ``device``: as many on every card of its kind, whatever else is there."""
    if device.type != "cuda":
        return CPU_BYTES
    return int(DEVICE_SHARE * torch.cuda.get_device_properties(device).total_memory)
