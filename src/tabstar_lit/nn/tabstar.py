"""Blocks of TabSTAR (arXiv 2505.18125) with the weights' official names: texts and numbers become scores of targets."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn, stack

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.element_layer import ElementLayer
from tabstar_lit.nn.tabstar_config import TabstarSizes


class NumericalFusion(nn.Module):
    """Merge the text and the number of each element: attention between the two, then their mean."""

    def __init__(self, architecture: TabstarSizes, width: int) -> None:
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
        return fused.mean(dim=1).view_as(text)  # type: ignore[no-any-return]  # nn.Module calls are untyped


class InteractionEncoder(nn.Module):
    """Let the elements of a row attend to each other; they have no order, so there are no positions."""

    def __init__(self, architecture: TabstarSizes, width: int) -> None:
        super().__init__()
        layers = [
            _transformer_layer(architecture, width, architecture.interaction_heads)
            for _ in range(architecture.interaction_layers)
        ]
        # The container gives the weights their official names, encoder.layers.K.
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    @property
    def layers(self) -> list[ElementLayer]:
        """The layers in order."""
        return cast(list[ElementLayer], list(self.encoder["layers"].children()))

    def forward(self, elements: Tensor, n_targets: int) -> Tensor:
        """Return the first ``C`` of the ``[B, S, D]`` elements after all layers: ``[B, C, D]``.

        The last layer is computed for these only: nobody reads the others any more.
        """
        *lower, last = self.layers
        for layer in lower:
            elements = layer(elements)
        return last(elements, n_targets)  # type: ignore[no-any-return]  # as above


class PredictionHead(nn.Module):
    """One score per target element."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, targets: Tensor) -> Tensor:
        """Score ``[B, C, D]`` target elements: ``[B, C, 1]``."""
        return self.layers(targets)  # type: ignore[no-any-return]  # as above


def require_heads(architecture: TabstarSizes, width: int) -> None:
    """Refuse attention heads that do not divide the width of an element.

    Raises
    ------
    ConfigError
        They do not; the message names the key.
    """
    for key in ("fusion_heads", "interaction_heads"):
        heads = getattr(architecture, key)
        if width % heads:
            raise ConfigError(
                f"architecture_config.{key}: {heads} does not divide the width of an element, {width}. "
                f"Give a divisor of {width}, or another d_model."
            )


def _transformer_layer(architecture: TabstarSizes, width: int, heads: int) -> ElementLayer:
    return ElementLayer(
        d_model=width,
        nhead=heads,
        dim_feedforward=architecture.ffn_hidden or 4 * width,
        dropout=architecture.dropout,
        activation=architecture.activation,
        batch_first=True,
        norm_first=True,
    )
