"""Activation functions by the names configurations use: those of ``torch.nn`` and a few of physics toolkits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import activation as torch_activations

from tabstar_lit.config.registry import Registry
from tabstar_lit.config.tree import Path_, Problem, suggestion
from tabstar_lit.errors import ConfigError

# These take more than one tensor, change the shape, or act along an axis rather than on each number.
NOT_ELEMENTWISE = frozenset({"GLU", "LogSoftmax", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin"})


class GeGLU(nn.Module):
    """Gated GELU of "GLU Variants Improve Transformer" (arXiv 2002.05202): ``[..., 2 D]`` to ``[..., D]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply one half by the GELU of the other."""
        value, gate = x.chunk(2, dim=-1)
        return value * functional.gelu(gate)


class SwiGLU(nn.Module):
    """Gated SiLU of the same paper, without the scale of its Swish: ``[..., 2 D]`` to ``[..., D]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply one half by the SiLU of the other."""
        value, gate = x.chunk(2, dim=-1)
        return value * functional.silu(gate)


class SquaredReLU(nn.Module):
    """ReLU squared, from "Primer: Searching for Efficient Transformers for Language Modeling" (arXiv 2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``max(x, 0)²``, same shape."""
        return functional.relu(x).square()


class ELUPlus(nn.Module):
    """ELU raised by one, which is positive everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``elu(x) + 1``, same shape."""
        return functional.elu(x) + 1.0


class Abs(nn.Module):
    """Absolute value."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``|x|``, same shape."""
        return x.abs()


class MinusAbs(nn.Module):
    """Absolute value with a minus sign."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``-|x|``, same shape."""
        return -x.abs()


class Softabs(nn.Module):
    """Absolute value with a parabola at its tip (Huber's function): ``x²/2`` up to 1, then ``|x| - 1/2``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded ``|x|``, same shape."""
        size = x.abs()
        return torch.where(size < 1, 0.5 * x.square(), size - 0.5)


class MinusSoftabs(Softabs):
    """:class:`Softabs` with a minus sign."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rounded ``-|x|``, same shape."""
        return -super().forward(x)


_GATED: dict[str, type[nn.Module]] = {cls.__name__: cls for cls in (GeGLU, SwiGLU)}
_OWN: dict[str, type[nn.Module]] = _GATED | {
    cls.__name__: cls for cls in (SquaredReLU, ELUPlus, Abs, MinusAbs, Softabs, MinusSoftabs)
}
_TORCH: dict[str, type[nn.Module]] = {
    name: getattr(torch_activations, name) for name in torch_activations.__all__ if name not in NOT_ELEMENTWISE
}
ACTIVATIONS: Registry[type[nn.Module]] = Registry("activation", {"Identity": nn.Identity, **_TORCH, **_OWN})
"""Every activation by name, which is written as it stands here."""


def is_gated(name: str | None) -> bool:
    """Whether the activation halves the width, so that the layer before must be twice as wide."""
    return name in _GATED


def make_activation(name: str | None, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Build an activation; no name stands for the identity.

    Raises
    ------
    ConfigError
        When the name or an argument is unknown.
    """
    for problem in activation_problems(name, arguments):
        _, quoted, *_ = [*problem.message.split("'"), ""]
        raise ConfigError(problem.message + suggestion(quoted, problem.allowed))
    return ACTIVATIONS[name or "Identity"](**(arguments or {}))


def activation_problems(
    name: str | None,
    arguments: Mapping[str, Any] | None = None,
    *,
    path: Path_ = ("act",),
    arguments_path: Path_ = ("act_kwargs",),
    gated: bool = True,
) -> Iterable[Problem]:
    """Give what is wrong with an activation of a configuration.

    Parameters
    ----------
    name : str or None
        As written; None is the identity.
    arguments : mapping or None
        What to call it with.
    path, arguments_path : tuple
        Where the two stand.
    gated : bool
        Whether one that halves the width fits here.
    """
    known = [known for known in ACTIVATIONS if gated or not is_gated(known)]
    if name is None or name == "Identity":
        return
    if name not in known:
        reason = "halves the width, which does not fit here." if is_gated(name) else "is unknown."
        respelt = [other for other in known if other.lower() == name.lower()]
        yield Problem(path, f"activation '{name}' {reason}", tuple(respelt or known))
        return
    yield from ACTIVATIONS.arguments(name, arguments or {}, arguments_path)[1]
