"""The TabSTAR network (arXiv 2505.18125): cells become elements, and so do the targets.

Weights carry the names and shapes of the official package's v1 model, so that either loads the other's.
Shapes: ``B`` rows, ``C`` targets, ``S`` elements (targets, then features), ``U`` unique strings, ``D`` width.

    strings [U] - text encoder - [U, D] - gather - [B, S, D] -+
                                                              +- fusion - interaction - head - [B, C]
    numbers [B, S] - number embedding ----------- [B, S, D] --+
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tabstar_lit.arrays import Int64
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.nn.tabstar import InteractionEncoder, NumericalFusion, PredictionHead, require_heads
from tabstar_lit.nn.text_encoder import TextEncoder

TextLookup = Callable[[Int64], Tensor]
"""String numbers ``[U]`` in, their vectors ``[U, D]`` out, as ``text_cache.TextCache`` does."""

FrozenLookup = Callable[[Int64], Tensor | None]
"""String numbers ``[U]`` in, what the frozen layers make of their tokens ``[T, D]`` out, as
``layer_cache.LayerCache`` does; None where that is not remembered."""


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
    """

    def __init__(self, architecture: TabstarArchitecture, text_encoder: TextEncoder) -> None:
        super().__init__()
        width = architecture.d_model or text_encoder.width
        require_heads(architecture, width)
        self.text_encoder = text_encoder
        self.text_projection = nn.Identity() if width == text_encoder.width else nn.Linear(text_encoder.width, width)
        self.numerical_fusion = NumericalFusion(architecture, width)
        self.tabular_encoder = InteractionEncoder(architecture, width)
        self.cls_head = PredictionHead(width, architecture.head_hidden or 4 * width)
        self.reg_head = PredictionHead(width, architecture.head_hidden or 4 * width)
        self.text_lookup: TextLookup | None = None
        self.frozen_lookup: FrozenLookup | None = None

    def forward(self, batch: TableBatch) -> Tensor:
        """Return one logit per class ``[B, C]``, or the z-score of the regression target ``[B, 1]``."""
        text = F.embedding(batch.index, self.encode_strings(batch))
        elements = self.numerical_fusion(text, batch.numbers)
        targets = self.tabular_encoder(elements, batch.n_targets)
        head = self.reg_head if batch.n_targets == 1 else self.cls_head
        return head(targets).squeeze(-1)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def encode_strings(self, batch: TableBatch) -> Tensor:
        """Return the vectors of the batch's unique strings, ``[U, D]``."""
        encoder = self.text_encoder
        if self.text_lookup is not None and encoder.is_frozen:
            vectors = self.text_lookup(batch.string_ids)
        else:
            looks_up = self.frozen_lookup is not None and 0 < encoder.frozen_layers < len(encoder.encoder.layer)
            frozen = self.frozen_lookup(batch.string_ids) if looks_up and self.frozen_lookup else None
            vectors = encoder(batch.token_ids, batch.lengths, batch.starts, frozen)
        return self.text_projection(vectors)  # type: ignore[no-any-return]  # as above
