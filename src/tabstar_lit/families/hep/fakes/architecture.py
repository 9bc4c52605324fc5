"""Architectures of density-ratio models: any network of event features, and an ensemble of heads on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import Section
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.architecture.flat import (
    Dropout,
    EventTransformerArchitecture,
    FlatDeepSetsArchitecture,
    MLPKeys,
    ResNetArchitecture,
)
from tabstar_lit.families.hep.architecture.sections import NetworkArchitecture

TRUNK_WIDTH = 32


class Heads(Section):
    """Small networks on one trunk, which share no weight: each learns a ratio of its own (arXiv 1612.01474)."""

    heads: PositiveInt = Field(16, description="Number of heads.")
    hidden_dims: tuple[PositiveInt, ...] = Field((32,), description="Hidden layers of a head; [] makes it linear.")
    act: str = Field("ReLU", description="Name of a torch.nn activation, or GeGLU, ELUPlus, Abs, Softabs, ...")
    act_kwargs: dict[str, Any] | None = Field(None, description="Arguments of the activation.")
    dropout: Dropout = Field(0.0, description="Dropout after each activation.")
    layernorm: bool = Field(False, description="LayerNorm before each activation.")


class FakesNetworkArchitecture(NetworkArchitecture):
    """What every density-ratio model has."""

    output_dim: PositiveInt | None = Field(
        None, description="Width of what the heads of an ensemble read of the trunk; null: that of their first layer."
    )
    ensemble: Heads | None = Field(None, description="Heads on a shared trunk; null: one ratio, without uncertainty.")

    @property
    def n_heads(self) -> int:
        """Number of ratios ``C`` that are learned."""
        return 1 if self.ensemble is None else self.ensemble.heads

    @property
    def trunk_width(self) -> int:
        """Outputs of the trunk: the ratio itself where there is no ensemble."""
        if self.ensemble is None:
            return 1
        return self.output_dim or next(iter(self.ensemble.hidden_dims), TRUNK_WIDTH)

    def problems(self) -> Iterable[Problem]:
        """Refuse a width that nothing reads."""
        yield from super().problems()
        if self.ensemble is None and self.output_dim not in (None, 1):
            yield Problem(
                ("output_dim",), "output_dim is the width between trunk and heads: set ensemble, or leave out"
            )


class FakesMLP(FakesNetworkArchitecture, MLPKeys):
    """Linear layers, one after the other."""


class FakesResNet(FakesNetworkArchitecture, ResNetArchitecture):
    """Residual blocks (arXiv 2106.11959)."""


class FakesDeepSets(FakesNetworkArchitecture, FlatDeepSetsArchitecture):
    """DeepSets (arXiv 1703.06114) over the set of event features."""


class FakesEventTransformer(FakesNetworkArchitecture, EventTransformerArchitecture):
    """FT-Transformer (arXiv 2106.11959): attention between features."""


FakesArchitecture = Annotated[
    FakesMLP | FakesResNet | FakesDeepSets | FakesEventTransformer, Field(discriminator="model")
]
"""Every network ``architecture_config.model`` can name."""
