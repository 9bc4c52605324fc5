"""From an architecture to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from tabstar_lit.config.registry import Registry
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.flat import MLPArchitecture
from tabstar_lit.families.hep.architecture.jagged import ObjectsArchitecture
from tabstar_lit.families.hep.architecture.sections import NetworkArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.families.hep.networks.deepsets_flat import FlatDeepSets
from tabstar_lit.families.hep.networks.deepsets_jagged import DeepSets
from tabstar_lit.families.hep.networks.event_transformer import EventTransformer
from tabstar_lit.families.hep.networks.mlp import MLP
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer
from tabstar_lit.families.hep.networks.resnet import ResNet
from tabstar_lit.families.hep.networks.set_transformer import SetTransformer
from tabstar_lit.families.hep.networks.tabstar import TabSTAR
from tabstar_lit.nn.compiling import compile_in_place
from tabstar_lit.nn.fusion import OutputFusion

FLAT_NETWORKS: Registry[type[nn.Module]] = Registry(
    "network",
    {
        "MLP": MLP,
        "ResNet": ResNet,
        "DeepSets": FlatDeepSets,
        "EventTransformer": EventTransformer,
        "TabSTAR": TabSTAR,
    },
)
"""Networks of event features by the name in ``architecture_config.model``."""
JAGGED_NETWORKS: Registry[type[nn.Module]] = Registry(
    "network", {"DeepSets": DeepSets, "SetTransformer": SetTransformer, "ParticleTransformer": ParticleTransformer}
)
"""Networks of objects, which may read event features beside them."""


class WithFlatNetwork(nn.Module):
    """A network of objects and one of event features, whose logits are fused.

    Parameters
    ----------
    jagged, flat : nn.Module
        The networks, each to logits ``[B, K]``.
    fusion : OutputFusion
        Makes one of the two.
    """

    def __init__(self, jagged: nn.Module, flat: nn.Module, fusion: OutputFusion) -> None:
        super().__init__()
        self.jagged, self.flat, self.fusion = jagged, flat, fusion

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        logits: Tensor = self.fusion(self.flat(features), self.jagged(features))
        return logits


def build_network(
    architecture: NetworkArchitecture, inputs: Inputs, output_dim: int, *, state: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Build the network of a configuration.

    Parameters
    ----------
    architecture : NetworkArchitecture
        One of those in ``SignalArchitecture``.
    inputs : Inputs
        The features.
    output_dim : int
        Number of logits ``K`` the classes need.
    state : mapping of str to Tensor, optional
        Weights of a checkpoint that will be loaded. What a network would otherwise take from elsewhere, such as texts
        from their encoder, it takes from here.

    Returns
    -------
    nn.Module
        From ``Features`` to logits ``[B, K]``; an ensemble in training to ``[B, M, K]``.

    Raises
    ------
    ConfigError
        When network and features do not fit together, or ``output_dim`` contradicts the classes.
    """
    if architecture.output_dim not in (None, output_dim):
        raise ConfigError(
            f"architecture_config.output_dim is {architecture.output_dim}, but dataset_config.classes needs "
            f"{output_dim}; leave it out."
        )
    network = _network(architecture, inputs, output_dim, state or {})
    if isinstance(architecture, ObjectsArchitecture) and architecture.flat_model is not None:
        network = _with_flat_network(network, architecture, inputs, output_dim)
    if architecture.compile:
        compile_in_place(network, **(architecture.compile_kwargs or {}))
    return network


def network_type(model: str, inputs: Inputs) -> type[nn.Module]:
    """Return the network called `model` that reads these features.

    Raises
    ------
    ConfigError
        When it reads objects and there are none, or there are objects and it reads none.
    """
    networks = JAGGED_NETWORKS if inputs.objects else FLAT_NETWORKS
    if model in networks:
        return networks[model]
    kind = "reads event features only" if model in FLAT_NETWORKS else "needs objects, such as jets"
    chosen = f"has objects ({', '.join(inputs.objects)})" if inputs.objects else "has event features only"
    shipped = "set_transformer" if inputs.objects else "mlp"
    raise ConfigError(
        f"architecture_config.model {model} {kind}, but dataset_config.features {chosen}. "
        f"Networks for these features: {', '.join(networks)}. Choose one by its file: model_config=signal/{shipped}"
    )


def _network(
    architecture: NetworkArchitecture, inputs: Inputs, output_dim: int, state: Mapping[str, Tensor]
) -> nn.Module:
    network = network_type(_model(architecture), inputs)
    known = {"texts": state["texts"]} if network is TabSTAR and "texts" in state else {}
    return network(architecture, inputs, output_dim, **known)


def _with_flat_network(
    jagged: nn.Module, architecture: ObjectsArchitecture, inputs: Inputs, output_dim: int
) -> WithFlatNetwork:
    flat = architecture.flat_model
    if flat is None or not inputs.objects:
        raise ConfigError("architecture_config.flat_model stands beside a network of objects, and there are none.")
    if isinstance(flat, MLPArchitecture) and flat.members > 1:
        raise ConfigError("architecture_config.flat_model.ensemble: an ensemble cannot be fused; leave it out.")
    network = build_network(flat, replace(inputs, objects={}), output_dim)
    return WithFlatNetwork(jagged, network, OutputFusion(architecture.flat_model_fuse.mode, output_dim))


def _model(architecture: NetworkArchitecture) -> str:
    return str(cast(Any, architecture).model)
