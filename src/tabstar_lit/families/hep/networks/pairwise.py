"""Pairwise physics between objects as attention bias: ΔR, k_T, z and m² of Particle Transformer (arXiv 2202.03772).

One code serves training, evaluation and export. The formulas avoid every difference of large numbers, so that float32
is enough: a pair of massless particles 0.001 apart has its m² to six digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.jagged import ParticleAttention
from tabstar_lit.families.hep.batch import Objects
from tabstar_lit.families.hep.networks.objects import refuse_unknown
from tabstar_lit.nn.norms import MaskedBatchNorm

QUANTITIES = ("delta_r", "kt", "z", "m2")
"""Names of the pairwise quantities, in the order of the paper."""

SMALLEST = 1e-8
"""Quantities are raised to this before the logarithm; the diagonal has ΔR = 0."""


class Kinematics(NamedTuple):
    """Four-momenta in variables in which pairs are well conditioned, each ``[..., P]``, in the file's units."""

    pt: Tensor
    rapidity: Tensor
    phi: Tensor
    mass2: Tensor

    def at(self, slots: Tensor) -> Kinematics:
        """Return the objects at these slots ``[N]``."""
        return Kinematics(*(values[..., slots] for values in self))


def kinematics(momenta: Tensor, mask: Tensor, rest_mass: Tensor) -> Kinematics:
    """Return transverse momentum, rapidity, azimuth and squared mass.

    Parameters
    ----------
    momenta : Tensor
        ``[B, P, 4]`` pt, eta, phi, energy.
    mask : Tensor
        ``[B, P]`` bool; elsewhere a harmless momentum is put, whatever the padding holds.
    rest_mass : Tensor
        ``[P]``, the mass of objects whose energy is missing (NaN, or not above 0).

    Returns
    -------
    Kinematics
        Finite everywhere. The squared mass is at least 0: a smaller one is rounding of the energy.
    """
    pt, eta, phi, energy = torch.where(mask[..., None], momenta, 1.0).unbind(-1)
    momentum = pt * torch.cosh(eta)
    measured = ((energy - momentum) * (energy + momentum)).clamp(min=0.0)
    mass2 = torch.where(energy > 0, measured, rest_mass.square())
    rapidity = torch.asinh(pt * torch.sinh(eta) / torch.sqrt(mass2 + pt.square()).clamp(min=SMALLEST))
    return Kinematics(pt, rapidity, phi, mass2)


def pair_logs(first: Kinematics, second: Kinematics, quantities: Sequence[str] = QUANTITIES) -> Tensor:
    """Return the logarithms of the pairwise quantities of objects a and b, which broadcast.

    - ``delta_r``: √((y_a - y_b)² + (φ_a - φ_b)²), y being the rapidity
    - ``kt``: min(pT_a, pT_b) ΔR
    - ``z``: min(pT_a, pT_b) / (pT_a + pT_b)
    - ``m2``: (E_a + E_b)² - |p_a + p_b|², the squared mass of the pair

    Returns
    -------
    Tensor
        ``[..., Q]``, in the order of ``quantities``.
    """
    delta_y, delta_phi = first.rapidity - second.rapidity, first.phi - second.phi
    delta_phi = delta_phi - 2 * math.pi * torch.round(delta_phi / (2 * math.pi))
    delta_r = torch.sqrt(delta_y.square() + delta_phi.square())
    softer = torch.minimum(first.pt, second.pt)
    values = {
        "delta_r": lambda: delta_r,
        "kt": lambda: softer * delta_r,
        "z": lambda: softer / (first.pt + second.pt).clamp(min=SMALLEST),
        "m2": lambda: _pair_mass2(first, second, delta_y, delta_phi),
    }
    return torch.stack([values[name]() for name in quantities], dim=-1).clamp(min=SMALLEST).log()


def _pair_mass2(first: Kinematics, second: Kinematics, delta_y: Tensor, delta_phi: Tensor) -> Tensor:
    """m_a² + m_b² + 2 (mT_a mT_b cosh Δy - pT_a pT_b cos Δφ) as a sum of terms that are all positive."""
    pt = first.pt * second.pt
    first_mt2, second_mt2 = first.mass2 + first.pt.square(), second.mass2 + second.pt.square()
    mt = torch.sqrt(first_mt2 * second_mt2)
    heavier = first.mass2 * second_mt2 + second.mass2 * first.pt.square()  # mt² - pt²
    apart = mt * torch.sinh(delta_y / 2).square() + pt * torch.sin(delta_phi / 2).square()
    return first.mass2 + second.mass2 + 2 * heavier / (mt + pt).clamp(min=SMALLEST) + 4 * apart


def triangle(slots: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows and columns of the lower triangle with its diagonal, and where each cell of the matrix is in it.

    Returns
    -------
    tuple of Tensor
        Two of ``[P (P + 1) / 2]`` with row >= column, and ``[P * P]`` positions among them. Plain arithmetic, since
        what lists triangles in PyTorch does not export with a number of slots that varies.
    """
    number = torch.arange(slots * (slots + 1) // 2, device=device)
    row = ((torch.sqrt(8.0 * number + 1) - 1) / 2).floor().long()
    slot = torch.arange(slots, device=device)
    high, low = torch.maximum(slot[:, None], slot), torch.minimum(slot[:, None], slot)
    return row, number - row * (row + 1) // 2, (high * (high + 1) // 2 + low).flatten()


class Spread(torch.autograd.Function):
    """From the triangle of pairs to the matrix, and back by reading: no two threads write to one place."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, columns: Tensor, cells: Tensor) -> Tensor:
        """Return ``[..., P P]`` from ``[..., P (P + 1) / 2]``; see :func:`triangle`."""
        ctx.save_for_backward(rows, columns)
        ctx.slots = math.isqrt(len(cells))
        return values.index_select(-1, cells)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Add up the gradients of a pair and of its mirror image; the diagonal has none."""
        (gradient,) = gradients
        rows, columns = ctx.saved_tensors
        below = gradient.index_select(-1, rows * ctx.slots + columns)
        above = gradient.index_select(-1, columns * ctx.slots + rows)
        return below + torch.where(rows == columns, 0.0, above), None, None, None


def spread(values: Tensor, rows: Tensor, columns: Tensor, cells: Tensor) -> Tensor:
    """Return values of pairs as a matrix, ``[..., P P]``, from its triangle ``[..., P (P + 1) / 2]``.

    Parameters
    ----------
    values : Tensor
        In the order of :func:`triangle`.
    rows, columns, cells : Tensor
        From there.
    """
    if torch.is_grad_enabled() and values.requires_grad:
        # An indexed read has an indexed sum as its gradient, which takes a tenth of a whole training step on a card.
        whole: Tensor = Spread.apply(values, rows, columns, cells)  # type: ignore[no-untyped-call]  # torch's
        return whole
    return values[..., cells]


class PairwiseEmbedding(nn.Module):
    """Turns pairwise quantities into one attention bias per head, shared by all particle blocks.

    Standardisation over the real pairs of a batch, then ``layers`` of (linear, GELU) and a linear layer to the heads,
    pair by pair. Pairs are symmetric, so only the lower triangle is computed. The authors' code has batch norms between
    the hidden layers as well; behind standardised inputs they would only double the time this takes.

    Parameters
    ----------
    heads : int
        Attention heads ``H``.
    quantities : sequence of str
        Which of ``QUANTITIES``.
    layers, width : int
        Hidden layers and their width.
    """

    def __init__(self, heads: int, quantities: Sequence[str], layers: int, width: int) -> None:
        super().__init__()
        self.quantities = tuple(quantities)
        self.standardise = MaskedBatchNorm(len(self.quantities))
        widths = [len(self.quantities), *[width] * layers]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], heads)

    def forward(self, objects: Kinematics, takes_part: Tensor) -> Tensor:
        """Return the bias.

        Parameters
        ----------
        objects : Kinematics
            Of ``[B, P]`` objects.
        takes_part : Tensor
            ``[B, P]`` bool; the bias is 0 wherever one of the two does not.

        Returns
        -------
        Tensor
            ``[B, H, P, P]``.
        """
        rows, columns, cells = triangle(takes_part.shape[1], takes_part.device)
        pairs = takes_part[:, rows] & takes_part[:, columns]
        values = self.standardise(pair_logs(objects.at(rows), objects.at(columns), self.quantities), pairs)
        for linear in self.linears:
            values = nn.functional.gelu(linear(values))
        bias = torch.where(pairs[..., None], self.head(values), 0.0).transpose(1, 2)
        return spread(bias, rows, columns, cells).view(*bias.shape[:2], *takes_part.shape[1:], -1)


class PairwiseBias(nn.Module):
    """The bias of a network of several types of object, of which some take part.

    Parameters
    ----------
    config : ParticleAttention
        Who takes part, which quantities, and the size of the network.
    types : tuple of str
        All types, in the order in which the network concatenates them.
    heads : int
        Attention heads ``H``.

    Raises
    ------
    ConfigError
        When the configuration names a type that there is not.
    """

    def __init__(self, config: ParticleAttention, types: tuple[str, ...], heads: int) -> None:
        super().__init__()
        rest_mass = (
            config.rest_mass if isinstance(config.rest_mass, Mapping) else dict.fromkeys(types, config.rest_mass)
        )
        refuse_unknown("particle_attention.objects", config.objects or (), types, "type of object")
        refuse_unknown("particle_attention.rest_mass", rest_mass, types, "type of object")
        self.takes_part = {name: config.objects is None or name in config.objects for name in types}
        self.rest_mass = {name: float(rest_mass.get(name, 0.0)) for name in types}
        self.embed = PairwiseEmbedding(heads, config.quantities, config.embedding_layers, config.embedding_dim)

    def forward(self, objects: Mapping[str, Objects], mask: Tensor) -> Tensor:
        """Return the bias ``[B, H, P, P]`` of the objects in ``mask`` ``[B, P]``, 0 for pairs that take no part.

        Raises
        ------
        ConfigError
            When the momenta of a type that takes part have not been read.
        """
        momenta, rest_mass, takes_part = [], [], []
        for name, part in self.takes_part.items():
            slots = objects[name].mask
            if part and not objects[name].momenta.shape[-1]:
                raise ConfigError(
                    f"particle_attention needs the momenta of {name}: name their columns in dataset_config.momenta, "
                    "or list the types that take part in particle_attention.objects."
                )
            momenta.append(objects[name].momenta if part else slots.new_ones((*slots.shape, 4), dtype=torch.float32))
            rest_mass.append(momenta[-1].new_full(slots.shape[1:], self.rest_mass[name]))
            takes_part.append(torch.full_like(slots, part))
        there = mask & torch.cat(takes_part, dim=1)
        bias: Tensor = self.embed(kinematics(torch.cat(momenta, dim=1), there, torch.cat(rest_mass)), there)
        return bias
