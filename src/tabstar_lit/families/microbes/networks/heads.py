"""From the vector of a sample to its targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.microbes.architecture import PredictorArchitecture
from tabstar_lit.nn.feed_forward import FeedForward

BOUNDS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda values: values,
    "sigmoid": torch.sigmoid,
    "relu": functional.relu,
    "softplus": functional.softplus,
    "exp": torch.exp,
}
"""What bounds an output, by its name in a configuration."""


class CategoryScale(nn.Module):
    """A scale and a bias of each output for each category, 1 and 0 at first, and for what is not known.

    Parameters
    ----------
    categories : int
        Known categories of the column.
    outputs : int
        Number of outputs.
    """

    def __init__(self, categories: int, outputs: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(categories + 1, outputs)
        self.bias = nn.Embedding(categories + 1, outputs)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, values: Tensor, codes: Tensor) -> Tensor:
        """Scale ``[B, O]`` by the categories ``[B]`` of the samples."""
        scaled: Tensor = values * self.scale(codes) + self.bias(codes)
        return scaled


class TargetHead(nn.Module):
    """A linear layer, hidden layers or both; then a scale for each category, one scale for all, and a bound.

    Parameters
    ----------
    config : PredictorArchitecture
        ``head``, ``hidden_dims``, ``quantiles``, ``learnable_scale`` and ``bound``.
    width : int
        Length ``D`` of the vector.
    outputs : int
        Number ``K`` of targets, or of classes.
    scaled_by : int or None
        Known categories of the column that has scales of its own; None: there is none.
    """

    def __init__(
        self, config: PredictorArchitecture, width: int, outputs: int, *, scaled_by: int | None = None
    ) -> None:
        super().__init__()
        self.n_quantiles = len(config.quantiles)
        total = outputs * max(self.n_quantiles, 1)
        self.linear = nn.Linear(width, total) if config.head in ("linear", "residual") else None
        self.hidden = None
        if config.head in ("mlp", "residual"):
            layers = FeedForward(width, config.hidden_dims)
            self.hidden = nn.Sequential(layers, nn.Linear(layers.n_out, total))
        self.n_outputs = total
        self.by_category = None if scaled_by is None else CategoryScale(scaled_by, total)
        self.scale = nn.Parameter(torch.ones(total)) if config.learnable_scale else None
        self.bound = BOUNDS[config.bound]

    def begin_at_zero(self) -> None:
        """Let what is added beside be all of the output at first."""
        ends = [self.linear] if self.hidden is None else [self.linear, self.hidden[-1]]
        for end in ends:
            if isinstance(end, nn.Linear):
                nn.init.zeros_(end.weight)
                nn.init.zeros_(end.bias)

    def forward(self, vector: Tensor, codes: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Map ``[B, D]`` to ``[B, K]``, or to ``[B, K, Q]`` of ``Q`` quantiles.

        ``codes`` ``[B]`` are categories, ``beside`` ``[B, K]`` or ``[B, K * Q]`` what another model adds.
        """
        parts = [layer(vector) for layer in (self.linear, self.hidden) if layer is not None]
        values = sum(parts[1:], parts[0]) if beside is None else sum(parts, beside)
        if self.by_category is not None and codes is not None:
            values = self.by_category(values, codes)
        if self.scale is not None:
            values = values * self.scale
        values = self.bound(values)
        return values.view(len(values), -1, self.n_quantiles) if self.n_quantiles else values
