"""Density-ratio networks: trunk and heads (arXiv 2511.06972), one network for each slice of pt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.fakes.architecture import FakesNetworkArchitecture
from tabstar_lit.families.hep.fakes.config import CrackVeto, FakesDataset
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.families.hep.preparation.recipes import NumberRecipe
from tabstar_lit.nn.ensemble import EnsembleHeads

AFFINE = ("minmax", "maxabs", "standard", "robust")
"""Scalers under which a gap of a variable can be closed: they keep distances in proportion."""


class RatioNetwork(nn.Module):
    """A network of event features whose outputs, through the link of the loss, are ratios.

    Parameters
    ----------
    architecture : FakesNetworkArchitecture
        The trunk, and the heads on it; without them the trunk has the one output.
    inputs : Inputs
        The features.
    heads : int
        Number of heads ``C`` on this trunk.
    """

    def __init__(self, architecture: FakesNetworkArchitecture, inputs: Inputs, heads: int) -> None:
        super().__init__()
        own = architecture.ensemble
        self.trunk = build_network(architecture, inputs, architecture.trunk_width)
        self.heads: nn.Module = nn.Identity()
        if own is not None and architecture.has_heads:
            self.heads = EnsembleHeads(
                architecture.trunk_width,
                heads,
                own.hidden_dims,
                act=own.act,
                act_kwargs=own.act_kwargs,
                dropout=own.dropout,
                layernorm=own.layernorm,
            )

    def forward(self, features: Features) -> Tensor:
        """Return outputs ``[B, C]``."""
        outputs: Tensor = self.heads(self.trunk(features))
        return outputs


class SeparateNetworks(nn.Module):
    """An ensemble whose heads have a trunk each, and so no weight in common.

    Parameters
    ----------
    architecture : FakesNetworkArchitecture
        Of the trunk, and of the layers of a head on it, where there are any.
    inputs : Inputs
        The features.
    """

    def __init__(self, architecture: FakesNetworkArchitecture, inputs: Inputs) -> None:
        super().__init__()
        self.members = nn.ModuleList(RatioNetwork(architecture, inputs, 1) for _ in range(architecture.n_heads))

    def forward(self, features: Features) -> Tensor:
        """Return outputs ``[B, C]``."""
        return torch.cat([member(features) for member in self.members], dim=1)


class FakesNetwork(nn.Module):
    """What a stage trains: a ratio network, or one for each slice of pt that sees its events alone.

    Parameters
    ----------
    architecture : FakesNetworkArchitecture
        Of each of the networks.
    preprocessor : Preprocessor
        Says how features are scaled, so that the network finds pt and the gap among them.
    pt_variable : str
        The feature that slices are cut in.
    boundaries : sequence of float
        Values of pt between neighbouring slices, rising; none for a single network.
    crack_veto : CrackVeto, optional
        The gap that is closed; nothing happens when its variable is no feature.

    Raises
    ------
    ConfigError
        The architecture does not fit, pt is no feature, or the variable of the gap has a scaler that is not linear.
    """

    def __init__(
        self,
        architecture: FakesNetworkArchitecture,
        preprocessor: Preprocessor,
        *,
        pt_variable: str = "pt",
        boundaries: Sequence[float] = (),
        crack_veto: CrackVeto | None = None,
    ) -> None:
        super().__init__()
        self.slices = nn.ModuleList(
            ratio_network(architecture, preprocessor.inputs) for _ in range(len(boundaries) + 1)
        )
        numbers = {recipe.name: column for column, recipe in enumerate(preprocessor.events.numbers)}
        self.pt_column = numbers.get(pt_variable, -1)
        thresholds = torch.empty(0)
        if boundaries:
            if pt_variable not in numbers:
                raise ConfigError(
                    f"dataset_config.pt_slices: '{pt_variable}' is no numerical feature, so that the network cannot "
                    "tell the slices apart. Add it to dataset_config.features."
                )
            thresholds = _scaled(preprocessor.events.numbers[self.pt_column], boundaries)
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.gap: ClosedGap | None = None
        if crack_veto is not None and crack_veto.variable in numbers:
            column = numbers[crack_veto.variable]
            self.gap = ClosedGap.of(preprocessor.events.numbers[column], column, crack_veto)

    def forward(self, features: Features) -> Tensor:
        """Return outputs ``[B, C]``."""
        seen = features if self.gap is None else features._replace(numerical=self.gap.close(features.numerical))
        if len(self.slices) == 1:
            outputs: Tensor = self.slices[0](seen)
            return outputs
        pt = features.numerical[:, self.pt_column].contiguous()
        numbers = torch.bucketize(pt, self.get_buffer("thresholds"), right=True)
        if torch.compiler.is_exporting():
            return _chosen([network(seen) for network in self.slices], numbers)
        rows = [torch.nonzero(numbers == number).squeeze(1) for number in range(len(self.slices))]
        parts = [network(_rows(seen, own)) for network, own in zip(self.slices, rows, strict=True)]
        return torch.cat(parts).index_select(0, torch.cat(rows).argsort())


def ratio_network(architecture: FakesNetworkArchitecture, inputs: Inputs) -> nn.Module:
    """Build one network from :class:`Features` to outputs ``[B, C]``."""
    if architecture.ensemble is not None and architecture.ensemble.trunk == "own":
        return SeparateNetworks(architecture, inputs)
    return RatioNetwork(architecture, inputs, architecture.n_heads)


def network_of(
    architecture: FakesNetworkArchitecture, preprocessor: Preprocessor, dataset: FakesDataset
) -> FakesNetwork:
    """Build the network of a stage for the events of a data set."""
    return FakesNetwork(
        architecture,
        preprocessor,
        pt_variable=dataset.pt_variable,
        boundaries=dataset.boundaries,
        crack_veto=dataset.crack_veto,
    )


@dataclass(frozen=True)
class ClosedGap:
    """Joins the two sides of a gap of a variable: values beyond it move towards zero by its width.

    Attributes
    ----------
    column : int
        Of the variable among the numerical features.
    origin, unit : float
        A scaled value ``x`` is ``(value - origin) / unit``.
    low, high : float
        Ends of the gap, for either sign of the value.
    """

    column: int
    origin: float
    unit: float
    low: float
    high: float

    @classmethod
    def of(cls, recipe: NumberRecipe, column: int, veto: CrackVeto) -> ClosedGap:
        """Return what closes ``veto`` in a feature.

        Raises
        ------
        ConfigError
            Its scaler is not linear.
        """
        kind = None if recipe.scaler is None else recipe.scaler.kind
        if kind not in (None, *AFFINE):
            raise ConfigError(
                f"dataset_config.crack_veto: '{recipe.name}' is scaled by '{kind}', under which the sides of a gap "
                f"cannot be joined. Give it another: dataset_config.feature_scaling.per_feature: {{{recipe.name}: "
                "standard}."
            )
        zero, one = (0.0, 1.0) if recipe.scaler is None else recipe.scaler.transform(np.array([0.0, 1.0])).tolist()
        unit = 1.0 / (one - zero)
        return cls(column, -zero * unit, unit, veto.low, veto.high)

    def close(self, numerical: Tensor) -> Tensor:
        """Return the scaled features ``[B, F]`` with the gap closed; values inside it stand at its lower end."""
        values = numerical[:, self.column] * self.unit + self.origin
        size = values.abs()
        closed = torch.where(size >= self.high, size - (self.high - self.low), size.clamp(max=self.low))
        joined = (values.sign() * closed - self.origin) / self.unit
        return numerical.index_copy(1, torch.tensor([self.column], device=numerical.device), joined.unsqueeze(1))


def _scaled(recipe: NumberRecipe, values: Sequence[float]) -> Tensor:
    """Return values of a column as they stand in batches."""
    numbers = np.asarray(values, dtype=np.float64)
    return torch.from_numpy((numbers if recipe.scaler is None else recipe.scaler.transform(numbers)).astype(np.float32))


def _chosen(outputs: Sequence[Tensor], numbers: Tensor) -> Tensor:
    """Return of each event the output ``[B, C]`` of its slice: a graph cannot know how many events a slice has."""
    chosen = outputs[0]
    for number, own in enumerate(outputs[1:], start=1):
        chosen = torch.where((numbers >= number).unsqueeze(1), own, chosen)
    return chosen


def _rows(features: Features, rows: Tensor) -> Features:
    return Features(features.numerical.index_select(0, rows), features.categorical.index_select(0, rows), {})
