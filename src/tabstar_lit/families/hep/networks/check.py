"""What only torch knows to be wrong with an architecture: names of activations and arguments."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tabstar_lit.config.arguments import check_arguments, parameters_of
from tabstar_lit.config.schema import Section
from tabstar_lit.config.tree import Path_, Problem
from tabstar_lit.families.hep.architecture.flat import DeepSetsKeys, MLPKeys
from tabstar_lit.families.hep.architecture.sections import Fuse, NetworkArchitecture
from tabstar_lit.nn.activations import activation_problems
from tabstar_lit.nn.fusion import fusion_problems


def network_problems(section: Section, path: Path_ = ()) -> Iterator[Problem]:
    """Give the mistakes of an architecture and the sections in it.

    Parameters
    ----------
    section : Section
        The ``architecture_config``, or a part of it.
    path : tuple
        Where it stands; paths of problems start with it.
    """
    # Only stacks of linear layers can make the layer before a gate twice as wide.
    gated = isinstance(section, MLPKeys | DeepSetsKeys)
    for name in type(section).model_fields:
        value, place = getattr(section, name), (*path, name)
        if name == "act":
            arguments = getattr(section, "act_kwargs", None)
            yield from activation_problems(
                value, arguments, path=place, arguments_path=(*path, "act_kwargs"), gated=gated
            )
        elif name == "act_out":
            yield from activation_problems(value, path=place, gated=False)
        elif isinstance(value, Section):
            yield from network_problems(value, place)
    if isinstance(section, Fuse):
        yield from fusion_problems(str(getattr(section, "mode", "")), section.fuse_kwargs, (*path, "fuse_kwargs"))
    if isinstance(section, NetworkArchitecture) and section.compile_kwargs:
        known = parameters_of(torch.compile, without=("model", "disable"))
        place = (*path, "compile_kwargs")
        yield from check_arguments(known, section.compile_kwargs, owner="torch.compile", path=place)[1]
