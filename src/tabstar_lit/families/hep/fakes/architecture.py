"""Architectures of density-ratio models: any network of event features, and an ensemble of heads on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

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
Average = Literal["log", "ratio"]
Spread = Literal["std", "student"]


class Heads(Section):
    """Networks each of which learns a ratio of its own, on one trunk or each on its own (arXiv 1612.01474)."""

    trunk: Literal["shared", "own"] = Field(
        "shared",
        description="own: each head has a trunk of its own, so that heads share no weight and their spread is all that "
        "samples differ in; shared: heads share the trunk, which is faster, and their spread is too small.",
    )
    heads: PositiveInt = Field(16, description="Number of heads.")
    hidden_dims: tuple[PositiveInt, ...] = Field((32,), description="Hidden layers of a head; [] makes it linear.")
    act: str = Field("ReLU", description="Name of a torch.nn activation, or GeGLU, ELUPlus, Abs, Softabs, ...")
    act_kwargs: dict[str, Any] | None = Field(None, description="Arguments of the activation.")
    average: Average = Field(
        "log",
        description="What heads are averaged in. ratio: their ratios, as yields add up, so that where few events are "
        "left single heads close to 0 do not decide; log: the logarithms of these.",
    )
    spread: Spread = Field(
        "std",
        description="How uncertain a ratio is. std: the standard deviation of the logarithms of all heads, which "
        "covers too little where heads are few; student: that of Student's t for so many samples, without twins, and "
        "for a mean that scatters as well.",
    )
    spread_radius: float = Field(
        0.0,
        ge=0,
        description="How far around an event its uncertainty is averaged, in standard deviations of the features: "
        "heads cross where their samples happen to agree, and tell of too little there; 0: at the event alone.",
    )
    dropout: Dropout = Field(0.0, description="Dropout after each activation.")
    layernorm: bool = Field(False, description="LayerNorm before each activation.")


class FakesNetworkArchitecture(NetworkArchitecture):
    """What every density-ratio model has."""

    output_dim: PositiveInt | None = Field(
        None, description="Width of what the heads of an ensemble read of the trunk; null: that of their first layer."
    )
    ensemble: Heads | None = Field(
        None, description="Several networks, each with a ratio of its own; null: one ratio, without uncertainty."
    )

    @property
    def n_heads(self) -> int:
        """Number of ratios ``C`` that are learned."""
        return 1 if self.ensemble is None else self.ensemble.heads

    @property
    def has_heads(self) -> bool:
        """Whether layers follow the trunk."""
        return self.ensemble is not None and (self.ensemble.trunk == "shared" or bool(self.ensemble.hidden_dims))

    @property
    def trunk_width(self) -> int:
        """Outputs of the trunk: the ratio itself where there is no ensemble, or where heads are their trunks."""
        if not self.has_heads:
            return 1
        hidden = () if self.ensemble is None else self.ensemble.hidden_dims
        return self.output_dim or next(iter(hidden), TRUNK_WIDTH)

    def problems(self) -> Iterable[Problem]:
        """Refuse a width that nothing reads."""
        yield from super().problems()
        if not self.has_heads and self.output_dim not in (None, 1):
            yield Problem(
                ("output_dim",),
                "output_dim is the width between trunk and heads: set ensemble, with hidden_dims if the trunk is their "
                "own, or leave it out",
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
