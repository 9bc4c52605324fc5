"""Blocks of TabSTAR (arXiv 2505.18125) with the weights' official names: texts and numbers become scores of targets."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn, stack

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.element_layer import ElementLayer
from tabstar_lit.nn.tabstar_config import TabstarSizes


class NumericalFusion(nn.Module):
    """Merge the text and the number of each element: attention between the two, then their mean."""

    def __init__(self, architecture: TabstarSizes, width: int) -> None:
        super().__init__()
        self.scalar_embedder = _embedder(1, architecture, width)
        self.fusion_block = _transformer_layer(architecture, width, architecture.fusion_heads)

    def forward(self, text: Tensor, numbers: Tensor) -> Tensor:
        """Fuse ``[B, S, D]`` text with ``[B, S]`` numbers to ``[B, S, D]``."""
        pairs = stack([text, self.scalar_embedder(numbers.unsqueeze(-1))], dim=2)
        fused = self.fusion_block(pairs.flatten(0, 1))
        return fused.mean(dim=1).view_as(text)  # type: ignore[no-any-return]  # nn.Module calls are untyped


class PeriodicFeatures(nn.Module):
    """Sines and cosines of numbers at frequencies that are learned (Gorishniy et al., arXiv 2203.05556).

    A network of few steps bends a curve of one number slowly; waves bend from the start.

    Parameters
    ----------
    numbers : int
        Numbers ``K`` of an element.
    frequencies : int
        Waves ``P``, each of a weighted sum of the numbers; the weights begin normal, with deviation 1.
    """

    def __init__(self, numbers: int, frequencies: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(frequencies, numbers))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the waves ``[..., 2 P]`` of numbers ``[..., K]``.

        Angles are of many turns, and half precision would round them to a part of one. It is used for products of
        matrices, of which there is none here.
        """
        angles = 2 * math.pi * (numbers.unsqueeze(-2) * self.frequencies).sum(-1)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class SixNumberFusion(nn.Module):
    """Merge the text and the six numbers of each element as TabSTAR v1.1 does: a sum of norms.

    Parameters
    ----------
    architecture : TabstarSizes
        Sizes.
    width : int
        Width ``D`` of an element.
    frequencies : int, default 0
        Waves of z-score and quantile that are read beside the six; v1.1 has none.
    """

    waving = (0, 2)
    """Which of the six have waves: z-score and quantile."""

    def __init__(self, architecture: TabstarSizes, width: int, frequencies: int = 0) -> None:
        super().__init__()
        self.scalar_embedder = _embedder(6 + 2 * frequencies, architecture, width)
        self.periodic = PeriodicFeatures(len(self.waving), frequencies) if frequencies else None
        self.ln_text = nn.LayerNorm(width)
        self.ln_num = nn.LayerNorm(width)
        self.text_weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, text: Tensor, numbers: Tensor) -> Tensor:
        """Fuse ``[B, S, D]`` text with ``[B, S, 6]`` numbers, to the digits of bfloat16, to ``[B, S, D]``."""
        own = numbers.bfloat16().to(text.dtype)
        if self.periodic is not None:
            waves = self.periodic(torch.stack([numbers[..., place] for place in self.waving], dim=-1))
            own = torch.cat([own, waves.to(text.dtype)], dim=-1)
        number = self.scalar_embedder(own)
        return self.ln_text(text) * self.text_weight + self.ln_num(number)  # type: ignore[no-any-return]  # as above


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
    """One score per target element, or several."""

    def __init__(self, width: int, hidden: int, scores: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, scores))

    def forward(self, targets: Tensor) -> Tensor:
        """Score ``[B, C, D]`` target elements: ``[B, C, scores]``."""
        return self.layers(targets)  # type: ignore[no-any-return]  # as above


def _embedder(numbers: int, architecture: TabstarSizes, width: int) -> nn.Sequential:
    hidden = architecture.number_hidden or 2 * width
    return nn.Sequential(
        nn.Linear(numbers, hidden), nn.ReLU(), nn.Dropout(architecture.dropout), nn.Linear(hidden, width)
    )


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
