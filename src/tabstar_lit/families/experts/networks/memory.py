"""What a mixture recalls while it reads: remembered texts that are like what it has read so far."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.experts.architecture import Search
from tabstar_lit.families.experts.networks.prefixes import Seen
from tabstar_lit.families.experts.networks.vector_store import FaissStore, VectorStore, marks
from tabstar_lit.nn.masking import masked_softmax

STRIDE = 32
"""Positions from one question to the next."""


class Memory(nn.Module):
    """Ask a store every so many positions for the texts nearest to the mean of what stands before, and add them up.

    Parameters
    ----------
    room, width : int
        Vectors that are remembered, and their length ``D``.
    top_k : int
        How many are added up, with weights that follow from how near they are.
    search : str
        ``torch`` or ``faiss``: what finds them.
    """

    def __init__(self, room: int, width: int, top_k: int, *, search: Search = "torch") -> None:
        super().__init__()
        self.store = FaissStore(room, width) if search == "faiss" else VectorStore(room, width)
        self.top_k = top_k
        self.add = nn.Linear(width, width, bias=False)

    def forward(self, seen: Seen, tokens: Tensor) -> Tensor:
        """Return what is added at tokens ``[B, T]``, the last that are seen: ``[B, T, D]``.

        In training a text does not find itself again.
        """
        asked = functional.normalize(seen.means(tokens.shape[1], stride=STRIDE), dim=-1)
        vectors, found = self.store.nearest(asked, self.top_k, marks(tokens) if self.training else None)
        known = found & (asked != 0).any(-1, keepdim=True)
        scores = (vectors @ asked[..., None].to(vectors))[..., 0] * vectors.shape[-1] ** 0.5
        shares = masked_softmax(scores, known)
        added: Tensor = self.add((shares[..., None] * vectors).sum(-2))
        return added
