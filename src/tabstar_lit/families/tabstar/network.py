"""The TabSTAR network (arXiv 2505.18125): cells become elements, and so do the targets.

Weights carry the names and shapes of the official package's v1 model, so that either loads the other's.
Shapes: ``B`` rows, ``C`` targets, ``S`` elements (targets, then features), ``U`` unique strings, ``D`` width.

    strings [U] - text encoder - [U, D] - gather - [B, S, D] -+
                                                              +- fusion - interaction - head - [B, C]
    numbers [B, S] - number embedding ----------- [B, S, D] --+
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn, stack

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.text_encoder import TextEncoder

TextLookup = Callable[[Tensor], Tensor]
"""String numbers ``[U]`` in, their vectors ``[U, D]`` out, as ``text_cache.TextCache`` does."""


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
    """

    def __init__(self, architecture: TabstarArchitecture, text_encoder: TextEncoder) -> None:
        super().__init__()
        width = architecture.d_model or text_encoder.width
        _check_heads(architecture, width)
        self.text_encoder = text_encoder
        self.text_projection = nn.Identity() if width == text_encoder.width else nn.Linear(text_encoder.width, width)
        self.numerical_fusion = NumericalFusion(architecture, width)
        self.tabular_encoder = InteractionEncoder(architecture, width)
        self.cls_head = PredictionHead(width, architecture.head_hidden or 4 * width)
        self.reg_head = PredictionHead(width, architecture.head_hidden or 4 * width)
        self.text_lookup: TextLookup | None = None

    def forward(self, batch: TableBatch) -> Tensor:
        """Return one logit per class ``[B, C]``, or the z-score of the regression target ``[B, 1]``."""
        text = F.embedding(batch.index, self.encode_strings(batch))
        elements = self.numerical_fusion(text, batch.numbers)
        targets = self.tabular_encoder(elements, batch.n_targets)
        head = self.reg_head if batch.n_targets == 1 else self.cls_head
        return head(targets).squeeze(-1)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def encode_strings(self, batch: TableBatch) -> Tensor:
        """Return the vectors of the batch's unique strings, ``[U, D]``."""
        if self.text_lookup is not None and self.text_encoder.is_frozen:
            vectors = self.text_lookup(batch.string_ids)
        else:
            vectors = self.text_encoder(batch.token_ids, batch.lengths)
        return self.text_projection(vectors)  # type: ignore[no-any-return]  # as above


class NumericalFusion(nn.Module):
    """Merge the text and the number of each element: attention between the two, then their mean."""

    def __init__(self, architecture: TabstarArchitecture, width: int) -> None:
        super().__init__()
        hidden = architecture.number_hidden or 2 * width
        self.scalar_embedder = nn.Sequential(
            nn.Linear(1, hidden), nn.ReLU(), nn.Dropout(architecture.dropout), nn.Linear(hidden, width)
        )
        self.fusion_block = _transformer_layer(architecture, width, architecture.fusion_heads)

    def forward(self, text: Tensor, numbers: Tensor) -> Tensor:
        """Fuse ``[B, S, D]`` text with ``[B, S]`` numbers to ``[B, S, D]``."""
        pairs = stack([text, self.scalar_embedder(numbers.unsqueeze(-1))], dim=2)
        fused = self.fusion_block(pairs.flatten(0, 1))
        return fused.mean(dim=1).view_as(text)  # type: ignore[no-any-return]  # as above


class InteractionEncoder(nn.Module):
    """Let the elements of a row attend to each other; they have no order, so there are no positions."""

    def __init__(self, architecture: TabstarArchitecture, width: int) -> None:
        super().__init__()
        layers = [
            _transformer_layer(architecture, width, architecture.interaction_heads)
            for _ in range(architecture.interaction_layers)
        ]
        # The container gives the weights their official names, encoder.layers.K.
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    @property
    def layers(self) -> list[nn.TransformerEncoderLayer]:
        """The layers in order."""
        return cast(list[nn.TransformerEncoderLayer], list(self.encoder["layers"].children()))

    def forward(self, elements: Tensor, n_targets: int) -> Tensor:
        """Return the first ``C`` of the ``[B, S, D]`` elements after all layers: ``[B, C, D]``."""
        *lower, last = self.layers
        for layer in lower:
            elements = layer(elements)
        return _first_elements(last, elements, n_targets)


class PredictionHead(nn.Module):
    """One score per target element."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, targets: Tensor) -> Tensor:
        """Score ``[B, C, D]`` target elements: ``[B, C, 1]``."""
        return self.layers(targets)  # type: ignore[no-any-return]  # as above


def _transformer_layer(architecture: TabstarArchitecture, width: int, heads: int) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        d_model=width,
        nhead=heads,
        dim_feedforward=architecture.ffn_hidden or 4 * width,
        dropout=architecture.dropout,
        activation=architecture.activation,
        batch_first=True,
        norm_first=True,
    )


def _first_elements(layer: nn.TransformerEncoderLayer, elements: Tensor, count: int) -> Tensor:
    """Compute a pre-norm layer for the first ``count`` elements only: nobody reads the others any more."""
    normed = layer.norm1(elements)
    attended, _ = layer.self_attn(normed[:, :count], normed, normed, need_weights=False)
    first = elements[:, :count] + layer.dropout1(attended)
    hidden = layer.dropout(layer.activation(layer.linear1(layer.norm2(first))))
    return first + layer.dropout2(layer.linear2(hidden))  # type: ignore[no-any-return]  # as above


def _check_heads(architecture: TabstarArchitecture, width: int) -> None:
    for key in ("fusion_heads", "interaction_heads"):
        heads = getattr(architecture, key)
        if width % heads:
            raise ConfigError(
                f"architecture_config.{key}: {heads} does not divide the width of an element, {width}. "
                f"Give a divisor of {width}, or another d_model."
            )
