"""Vectors of strings, each computed once per run, for text encoders that are frozen as a whole."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.nn.text_encoder import TextEncoder

GROUP_SIZE = 64
"""Strings encoded together on first use of any of them."""


class TextCache:
    """Remember the vector of every string of a corpus.

    Strings are encoded in fixed groups of :data:`GROUP_SIZE` consecutive numbers, whichever of them is asked
    for first. The rounding of a matrix product may depend on which strings share it, so this makes a string's
    vector independent of the batch it came in: a run that is resumed computes the same bits as one that was
    never stopped. Consecutive strings of a table are of like length, so groups need little padding.

    Parameters
    ----------
    encoder : TextEncoder
        Frozen. Loading other weights into it empties the cache.
    tokens : StringTokens
        Token ids of all strings.
    """

    def __init__(self, encoder: TextEncoder, tokens: StringTokens) -> None:
        self._encoder = encoder
        self._tokens = tokens
        self._vectors = torch.empty(0)
        self._known = np.zeros(0, dtype=np.bool_)
        cast(Any, encoder).register_load_state_dict_post_hook(self._forget)

    def __call__(self, string_ids: Int64) -> Tensor:
        """Return the vectors of strings.

        Parameters
        ----------
        string_ids : NDArray of int64
            ``[U]`` string numbers.

        Returns
        -------
        Tensor
            ``[U, D]`` float32 on the encoder's device, without gradient.
        """
        # A tensor made in inference mode could not take part in training later.
        with torch.inference_mode(False), torch.no_grad():
            device = self._encoder.embeddings.word_embeddings.weight.device
            if self._vectors.device != device or not len(self._known):
                self._reset(device)
            groups = np.unique(string_ids // GROUP_SIZE)
            for group in groups[~self._known[groups]]:
                self._encode(int(group))
        return self._vectors[torch.from_numpy(string_ids).to(device, non_blocking=True)]

    @property
    def known(self) -> Bool:
        """Which groups of strings have been encoded: ``[ceil(strings / GROUP_SIZE)]``."""
        return self._known

    def _encode(self, group: int) -> None:
        strings = np.arange(group * GROUP_SIZE, min((group + 1) * GROUP_SIZE, len(self._tokens)))
        token_ids, lengths = self._tokens.gather(strings)
        vectors = self._encoder(torch.from_numpy(token_ids).to(self._vectors.device), lengths)
        self._vectors[strings[0] : strings[-1] + 1] = vectors.float()
        self._known[group] = True

    def _reset(self, device: torch.device) -> None:
        self._vectors = torch.empty(len(self._tokens), self._encoder.width, device=device)
        self._known = np.zeros(-(-len(self._tokens) // GROUP_SIZE), dtype=np.bool_)

    def _forget(self, *_: Any) -> None:
        self._known = np.zeros(0, dtype=np.bool_)
