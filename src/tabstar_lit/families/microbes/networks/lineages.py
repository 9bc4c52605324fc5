"""Lineages that are learned from letters: what UniFrac sees in a tree, without the tree.

Unweighted UniFrac of two samples is the length of the branches that one of them has, in units of that of the branches
that any has, and a sample has a branch as soon as one of its sequences lies below. With vectors ``a`` and ``b`` that
hold the root of a branch's length where it is there, and 0 elsewhere, this is ``2 u / (|a|^2 + |b|^2 + u)``, where
``u = |a - b|^2``. Here branches are half-spaces of sequences instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.microbes.networks.layers import Pooled

SHARPNESS = 8.0
"""Logits in a standard deviation over sequences."""
RAREST, WIDEST = -5.0, -1.5
"""Thresholds at first, in standard deviations: most lineages have few sequences."""
PACE = 5.0
"""Thresholds and lengths are stored divided by it, and so learn as many times faster than the rest of a network."""
STD = 0.2
"""Of the initial points of letters; only their size beside the learning rate matters, as sums are standardised."""


class Lineages(nn.Module):
    """Tell how surely a sequence lies in each lineage, from a sum of points for its letters.

    Parameters
    ----------
    n_letters : int
        Letters ``L`` of the longest sequence, times those of the alphabet ``A``.
    n_lineages : int
        Number of lineages ``K``.
    given : bool
        They are to be given by :meth:`take`: sums keep the scale that they have at first, whatever sequences a batch
        has.
    """

    def __init__(self, n_letters: int, n_lineages: int, *, given: bool = False) -> None:
        super().__init__()
        self.given = given
        self.points = nn.Linear(n_letters, n_lineages, bias=False)
        self.norm = nn.BatchNorm1d(n_lineages, affine=False)
        self.thresholds = nn.Parameter(torch.linspace(RAREST, WIDEST, n_lineages) / PACE)
        nn.init.normal_(self.points.weight, std=STD)

    def forward(self, letters: Tensor) -> Tensor:
        """Map letters ``[U, L, A]`` of different sequences, 1 where a letter is, to logits ``[U, K]``."""
        flat = letters.flatten(1)
        sums = functional.linear(flat, self.points.weight[:, : flat.shape[1]])
        if self.given or (self.training and len(sums) == 1):  # one sequence has no deviation
            standard = functional.batch_norm(sums, self.norm.running_mean, self.norm.running_var)
        else:
            standard = self.norm(sums)
        return SHARPNESS * (standard + PACE * self.thresholds)

    @torch.no_grad()
    def take(self, points: Tensor, added: Tensor) -> None:
        """Begin with logits that are sums of ``points`` ``[k, F]`` of the first letters, and ``added`` ``[k]``.

        The first ``k`` lineages are these; others, where there are more, stay as they are.
        """
        given, known = points.shape
        self.points.weight[:given, :known] = points
        self.points.weight[:given, known:] = 0.0
        self.thresholds[:given] = added / (SHARPNESS * PACE)
        self.norm.get_buffer("running_mean")[:given] = 0.0
        self.norm.get_buffer("running_var")[:given] = SHARPNESS**2 - self.norm.eps


class LineagePooling(nn.Module):
    """Tell which lineages a sample has: those that any of its sequences lies in.

    Parameters
    ----------
    width : int
        Length ``D`` of the state of an ASV in its sample.
    n_lineages : int
        Number of lineages ``K``.
    given : bool
        Letters alone tell of them; else the states of ASVs have a say.
    """

    def __init__(self, width: int, n_lineages: int, *, given: bool = False) -> None:
        super().__init__()
        self.context = None if given else nn.Linear(width, n_lineages, bias=False)
        self.log_lengths = nn.Parameter(torch.zeros(n_lineages))
        if self.context is not None:
            nn.init.zeros_(self.context.weight)  # letters alone tell at first

    @torch.no_grad()
    def take(self, lengths: Tensor) -> None:
        """Begin with ``lengths`` ``[k]`` of the first lineages, in units of their mean."""
        self.log_lengths[: len(lengths)] = (lengths / lengths.mean()).log() / (2 * PACE)

    def forward(self, states: Tensor, lineages: Tensor, asvs: Tensor, mask: Tensor) -> Pooled:
        """Pool.

        Parameters
        ----------
        states : Tensor
            ``[B, S, D]``.
        lineages : Tensor
            ``[U, K]`` logits of the sequences.
        asvs : Tensor
            ``[B, S]`` row of ``lineages`` for each ASV.
        mask : Tensor
            ``[B, S]`` bool, True where there is an ASV.

        Returns
        -------
        Pooled
            ``[B, K]`` root of the length of each lineage that the sample has; weights are the shares ``[B, S]`` of the
            total length that ASVs stand for, where those of one lineage share it.
        """
        places = asvs.clamp(min=0)
        # 1 - product of (1 - p), in logarithms: -ln(1 - sigmoid(z)) is softplus(z).
        if self.context is None:
            of_sequences = functional.softplus(lineages)
            there = of_sequences.new_zeros(len(asvs), len(lineages)).scatter_add(1, places, mask.to(of_sequences))
            total = there @ of_sequences
            vector = self._vector(total)
            with torch.no_grad():
                shares = (self._each(vector, total) @ of_sequences.T).gather(1, places)
        else:
            placed = functional.embedding(places, lineages)
            surely = torch.where(mask[..., None], functional.softplus(placed + self.context(states)), 0.0)
            total = surely.sum(1)
            vector = self._vector(total)
            with torch.no_grad():
                shares = torch.einsum("bsk,bk->bs", surely, self._each(vector, total))
        shares = torch.where(mask, shares, 0.0)
        return Pooled(vector, shares / shares.sum(1, keepdim=True).clamp(min=1e-12))

    def _vector(self, total: Tensor) -> Tensor:
        return -torch.expm1(-total) * (PACE * self.log_lengths).exp()

    def _each(self, vector: Tensor, total: Tensor) -> Tensor:
        """Return what one unit of ``total`` stands for of the length of a lineage, ``[B, K]``."""
        return vector.square() / total.clamp(min=1e-12)
