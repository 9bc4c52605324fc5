"""Operations that a training step asks for, from what a network is made of: those of matrix products, without padding.

A multiplication and an addition are two operations. Everything else that a step does, such as norms, activations and
recurrences, is left out, so these are lower bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tabstar_lit.nn.ensemble import HeadLinear
from tabstar_lit.nn.feed_forward import EnsembleLinear
from tabstar_lit.nn.pooling import ReshapeReduction

FORWARD, THROUGH, TRAINED = 1, 2, 3
"""Passes over a layer: forward; and back to what it read; and to its weights."""

Number = float | Tensor
"""A count that the host knows, or one that stays on the device until it is read."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs.

    Attributes
    ----------
    token, pair, row : float
        Operations for each token, for each pair of a query and a key, and for each row.
    """

    token: float = 0.0
    pair: float = 0.0
    row: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.token + other.token, self.pair + other.pair, self.row + other.row)

    def __mul__(self, times: float) -> Cost:
        """Return the cost of doing it so many times."""
        return Cost(self.token * times, self.pair * times, self.row * times)

    def of(self, tokens: Number, pairs: Number = 0.0, rows: Number = 0.0) -> Number:
        """Return the operations of a batch."""
        return self.token * tokens + self.pair * pairs + self.row * rows


def may_have_peak(tensor: Tensor) -> bool:
    """Tell whether a tensor is on a device whose peak may be known: on a processor nothing need be counted."""
    return tensor.device.type != "cpu"


def weights_met(*modules: nn.Module) -> int:
    """Return how many weights each vector meets that is read by modules: of linear maps, convolutions and LSTMs.

    Members that share weights meet each of them; tables that vectors are looked up in are no product.
    """
    return sum(_own_weights(part) for module in modules for part in module.modules())


def linear_cost(*modules: nn.Module) -> Cost:
    """Return the cost of a forward pass through all linear maps of modules, which every token meets."""
    return Cost(token=2 * weights_met(*modules))


def attention_cost(width: int, layers: int = 1) -> Cost:
    """Return the cost of a forward pass through layers of attention: scores, and what is summed by them.

    Parameters
    ----------
    width : int
        Of all heads together.
    layers : int
        How many.
    """
    return Cost(pair=4 * width * layers)


def passes(*modules: nn.Module) -> int:
    """Return how many passes a step makes over modules that are trained as a whole, or frozen and read no gradient."""
    trained = any(weight.requires_grad for module in modules for weight in module.parameters())
    return TRAINED if trained else FORWARD


def causal_pairs(lengths: Tensor) -> Tensor:
    """Return the pairs in texts of these lengths ``[...]`` whose tokens see themselves and those before: a scalar."""
    return (lengths * (lengths + 1) // 2).sum()


def _own_weights(module: nn.Module) -> int:
    if isinstance(module, EnsembleLinear):
        return len(module.scale_in) * module.weight.numel()
    if isinstance(module, nn.Linear | nn.Conv1d | HeadLinear | ReshapeReduction):
        return module.weight.numel()
    if isinstance(module, nn.LSTM):
        return sum(own.numel() for name, own in module.named_parameters() if name.startswith("weight"))
    return 0
