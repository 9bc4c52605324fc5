"""From an architecture to a network."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture_sections import EventsArchitecture
from tabstar_lit.families.hep.batch import Inputs
from tabstar_lit.families.hep.networks.deepsets_flat import FlatDeepSets
from tabstar_lit.families.hep.networks.event_transformer import EventTransformer
from tabstar_lit.families.hep.networks.mlp import MLP
from tabstar_lit.families.hep.networks.resnet import ResNet

FLAT_NETWORKS: dict[str, type[nn.Module]] = {
    "MLP": MLP,
    "ResNet": ResNet,
    "DeepSets": FlatDeepSets,
    "EventTransformer": EventTransformer,
}
"""Networks of event features by the name in ``architecture_config.model``."""
JAGGED_NETWORKS: dict[str, type[nn.Module]] = {}
"""Networks of objects, which may read event features beside them."""


def build_network(architecture: EventsArchitecture, inputs: Inputs, output_dim: int) -> nn.Module:
    """Build the network of a configuration.

    Parameters
    ----------
    architecture : EventsArchitecture
        One of those in ``SignalArchitecture``.
    inputs : Inputs
        The features.
    output_dim : int
        Number of logits the classes need.

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
    network = network_type(str(cast(Any, architecture).model), inputs)(architecture, inputs, output_dim)
    if architecture.compile:
        network.compile(**(architecture.compile_kwargs or {}))
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
    chosen = (
        f"dataset_config.features has objects ({', '.join(inputs.objects)})"
        if inputs.objects
        else ("dataset_config.features has event features only")
    )
    kind = "reads event features only" if model in FLAT_NETWORKS else "needs objects, such as jets"
    raise ConfigError(
        f"architecture_config.model {model} {kind}, but {chosen}. Networks for these features: {', '.join(networks)}."
    )
