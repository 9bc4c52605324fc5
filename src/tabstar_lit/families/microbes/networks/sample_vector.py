"""From the ASVs and the lineages of a sample to one vector, which learns UniFrac and is read by predictors."""

from __future__ import annotations

from torch import Tensor, nn

from tabstar_lit.families.microbes.networks.layers import Pooling

REACH = 2.0
"""Size of differences at first: those of samples that have half of their lineages in common are near 1."""


class SampleVector(nn.Module):
    """The pooled states of a sample's ASVs, and a projection of the lineages that it has.

    A projection at random keeps distances roughly (Johnson and Lindenstrauss 1984), so that they are near those of
    lineages before any training; pooled states differ little between samples then.

    Parameters
    ----------
    width : int
        Length ``D`` of the state of an ASV, and of the vector.
    n_lineages : int
        Number of lineages ``K``.
    """

    def __init__(self, width: int, n_lineages: int) -> None:
        super().__init__()
        self.pooling = Pooling(width)
        self.project = nn.Linear(n_lineages, width, bias=False)
        nn.init.normal_(self.project.weight)
        # Weights of size 1 and a factor behind them: a step of Adam is then a small share of what a weight is.
        self.factor = REACH / (width * n_lineages) ** 0.5

    def forward(self, states: Tensor, mask: Tensor, lineages: Tensor) -> Tensor:
        """Return ``[B, D]`` of states ``[B, S, D]`` where ``mask`` ``[B, S]`` is True, and of lineages ``[B, K]``."""
        vector: Tensor = self.pooling(states, mask).vector + self.factor * self.project(lineages)
        return vector
