"""The network of each role, from a configuration or from what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from tabstar_lit.engine.trained import stored_architecture
from tabstar_lit.families.experts.architecture import ExpertsArchitecture, Role
from tabstar_lit.families.experts.networks.block_denoiser import BlockDiffuser
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert
from tabstar_lit.families.experts.networks.diffusion_model import DiffusionModel
from tabstar_lit.families.experts.networks.expert import Expert
from tabstar_lit.families.experts.networks.masked_diffusion import MaskedExpert
from tabstar_lit.families.experts.networks.mixture import Mixture
from tabstar_lit.families.experts.networks.state_space import StateSpaceExpert
from tabstar_lit.families.experts.networks.text_model import TextModel
from tabstar_lit.families.experts.networks.transformer import TransformerExpert


def _diffuser(config: ExpertsArchitecture) -> Expert:
    if config.diffuser.kind == "masked":
        return MaskedExpert(config)
    return BlockDiffuser(config) if config.diffuser.attention == "block" else DiffuserExpert(config)


MAKERS: Mapping[Role, Callable[[ExpertsArchitecture], Expert]] = {
    "transformer": TransformerExpert,
    "state_space": StateSpaceExpert,
    "diffuser": _diffuser,
}
"""What makes each expert."""


def build(role: Role, config: ExpertsArchitecture, vocabulary: int) -> nn.Module:
    """Return the network of a role with fresh weights.

    Parameters
    ----------
    role : str
        What it is.
    config : ExpertsArchitecture
        Sizes and options, resolved.
    vocabulary : int
        Number of tokens ``V``.
    """
    width = cast(int, config.width)
    if role == "mixture":
        return Mixture(vocabulary, config, {name: make(config) for name, make in MAKERS.items()})
    expert = MAKERS[role](config)
    if isinstance(expert, DiffuserExpert):
        return DiffusionModel(vocabulary, width, TransformerExpert(config), expert)
    return TextModel(vocabulary, width, expert, dropout=config.dropout)


def network_from(payload: Mapping[str, Any], path: Path) -> nn.Module:
    """Return the network that a checkpoint is of, with fresh weights.

    Parameters
    ----------
    payload : Mapping
        What the checkpoint keeps beside the weights.
    path : Path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        This release does not know its architecture.
    """
    config = stored_architecture(ExpertsArchitecture, payload["architecture_config"], path)
    return build(payload["role"], config, payload["vocabulary"])
