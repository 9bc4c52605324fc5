"""The TabSTAR network (arXiv 2505.18125): cells become elements, and so do the targets.

Weights carry the names and shapes of the official package's v1 model, so that either loads the other's.
Shapes: ``B`` rows, ``C`` targets, ``S`` elements (targets, then features), ``U`` unique strings, ``D`` width.

    strings [U] - text encoder - [U, D] - gather - [B, S, D] -+
                                                              +- fusion - interaction - head - [B, C]
    numbers [B, S] - number embedding ----------- [B, S, D] --+

With ``numbers: six`` there are six numbers an element, ``[B, S, 6]``, and fusion is a sum, as in the package's v1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.arrays import Int64
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.heads import regression_head
from tabstar_lit.families.tabstar.text_window import SharedVectors
from tabstar_lit.nn.half_weights import HalfWeights
from tabstar_lit.nn.tabstar import (
    InteractionEncoder,
    NumericalFusion,
    PredictionHead,
    SixNumberFusion,
    require_heads,
)
from tabstar_lit.nn.text_encoder import TextEncoder, compute_dtype

TextLookup = Callable[[Int64], Tensor]
"""String numbers ``[U]`` in, their vectors ``[U, D]`` out, as ``text_cache.TextCache`` does."""

FrozenLookup = Callable[[TableBatch], Tensor | None]
"""A batch in, what the frozen layers make of its tokens ``[T, D]`` out, as ``layer_cache.LayerCache`` does; None where
that is not remembered."""


class TabStarNetwork(nn.Module):
    """Predict the targets of a table's rows from the names and values of its features.

    Parameters
    ----------
    architecture : TabstarArchitecture
        Sizes; the defaults are the official model's.
    text_encoder : TextEncoder
        The model that reads the strings.

    Attributes
    ----------
    text_lookup : callable or None
        If set, asked instead of the text encoder while that is frozen: it remembers each string's vector.
    frozen_lookup : callable or None
        If set, asked instead of the encoder's frozen layers while others are trained.
    is_compiled : bool
        Whether the parts are compiled.
    """

    def __init__(self, architecture: TabstarArchitecture, text_encoder: TextEncoder) -> None:
        super().__init__()
        width = architecture.d_model or text_encoder.width
        require_heads(architecture, width)
        self.text_encoder = text_encoder
        self.text_projection = nn.Identity() if width == text_encoder.width else nn.Linear(text_encoder.width, width)
        self.numerical_fusion = (
            SixNumberFusion(architecture, width, architecture.number_frequencies)
            if architecture.numbers == "six"
            else NumericalFusion(architecture, width)
        )
        self.tabular_encoder = InteractionEncoder(architecture, width)
        self.cls_head = PredictionHead(width, architecture.head_hidden or 4 * width)
        self.reg_head = regression_head(architecture, width)
        self.text_lookup: TextLookup | None = None
        self.frozen_lookup: FrozenLookup | None = None
        self.is_compiled = False
        self._half: dict[int, HalfWeights] = {}
        self._shared = SharedVectors()

    def forward(self, batch: TableBatch) -> Tensor:
        """Return one logit per class ``[B, C]``, or what the regression head says, ``[B, 1]`` for a single number.

        Under autocast all weights are cast at once, unless the parts are compiled: those cast in passing.
        """
        known, dtype = self.known(batch), compute_dtype(batch.numbers)
        if dtype == batch.numbers.dtype or self.is_compiled:
            return self._predict(batch, known)
        with self._half_weights().of(dtype, batch.numbers.device.type):
            return self._predict(replace(batch, numbers=batch.numbers.to(dtype)), known)

    def known(self, batch: TableBatch) -> Tensor | None:
        """Return what the encoder makes of the strings of a batch without being trained.

        Returns
        -------
        Tensor or None
            Vectors ``[U, D]`` of an encoder that is frozen as a whole and remembers them, else what its frozen layers
            make of the tokens, ``[T, D]``; None where all layers are computed with the trained ones, or not at all.
        """
        if batch.known is not None:
            return batch.known
        if self.text_lookup is not None and self.text_encoder.is_frozen:
            return self.text_lookup(batch.string_ids)
        return self._frozen_states(batch)

    def encode_strings(self, batch: TableBatch, known: Tensor | None = None) -> Tensor:
        """Return the vectors of the batch's unique strings, ``[U, D]``; ``known`` is as :meth:`known` returns it."""
        if self.text_lookup is not None and self.text_encoder.is_frozen:
            vectors = self.text_lookup(batch.string_ids) if known is None else known
            return self.text_projection(vectors.to(batch.numbers.dtype))  # type: ignore[no-any-return]  # as above
        if batch.window is None:
            return self._read_strings(batch, known)
        return self._shared.of(batch.window, self._read_strings(batch, known) if batch.window.is_first else None)

    def elements(self, batch: TableBatch, known: Tensor | None = None) -> Tensor:
        """Return the elements before the interaction, ``[B, S, D]``; ``known`` as for :meth:`encode_strings`.

        In evaluation on a processor each pair of a string and a number is merged once: those of categories and of
        counts repeat from row to row. (In training, dropout is each cell's own.)
        """
        strings, numbers = self.encode_strings(batch, known), batch.numbers
        if self.training or self.is_compiled or numbers.ndim > 2 or numbers.device.type != "cpu":
            return self.numerical_fusion(F.embedding(batch.index, strings), numbers)  # type: ignore[no-any-return]  # as above
        values, value = torch.unique(numbers, return_inverse=True)
        pairs, pair = torch.unique(batch.index * len(values) + value, return_inverse=True)
        merged = self.numerical_fusion(strings[pairs // len(values)][None], values[pairs % len(values)][None])
        return F.embedding(pair, merged[0])

    def _read_strings(self, batch: TableBatch, frozen: Tensor | None) -> Tensor:
        vectors = self.text_encoder(batch.token_ids, batch.lengths, batch.starts, frozen)
        return self.text_projection(vectors)  # type: ignore[no-any-return]  # as above

    def _predict(self, batch: TableBatch, known: Tensor | None) -> Tensor:
        targets = self.tabular_encoder(self.elements(batch, known), batch.n_targets)
        if batch.n_targets == 1:
            return self.reg_head(targets).squeeze(1)  # type: ignore[no-any-return]  # nn.Module calls are untyped
        return self.cls_head(targets).squeeze(-1)  # type: ignore[no-any-return]  # as above

    def _frozen_states(self, batch: TableBatch) -> Tensor | None:
        """Return what the frozen layers make of the tokens ``[T, D]``; None where all layers or none are frozen."""
        encoder = self.text_encoder
        if batch.window is not None and not batch.window.is_first:
            return None
        if not 0 < encoder.frozen_layers < len(encoder.encoder.layer):
            return None
        states = None if self.frozen_lookup is None else self.frozen_lookup(batch)
        return encoder.frozen_states(batch.token_ids, batch.lengths, batch.starts) if states is None else states

    def _half_weights(self) -> HalfWeights:
        """Return the weights that are cast in a step: all but those that are frozen below the trained ones."""
        encoder = self.text_encoder
        first = encoder.frozen_layers
        if first not in self._half:
            layers = list(encoder.encoder.layer)[first:]
            own = [part for name, part in self.named_children() if name != "text_encoder"]
            text = [encoder.embeddings, *layers] if not first and not encoder.is_frozen else layers
            self._half = {first: HalfWeights([*text, *own])}
        return self._half[first]
