"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are made of one short latent each."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from tabstar_lit.nn.attention import masked_attention
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import Rotation


class LatentCache:
    """The latents of all tokens so far, each with the one rotated key that all heads share: ``[B, P, L + R]``."""

    def __init__(self, seen: Tensor | None = None) -> None:
        self.seen = seen

    def extend(self, new: Tensor) -> Tensor:
        """Add ``T`` tokens and return all, the new ones last."""
        self.seen = new if self.seen is None else torch.cat([self.seen, new], dim=1)
        return self.seen

    def select(self, rows: Tensor) -> Self:
        """Return a cache of these rows, in this order; a row may be taken more than once."""
        return type(self)(None if self.seen is None else self.seen.index_select(0, rows))


class LatentAttention(nn.Module):
    """Causal attention of tokens to themselves, through latents.

    Half of each head's query meets keys made of the latents; the other half, which is turned by its position, meets a
    key that all heads share. So the latents need no positions, and what is made of them can be left out: with a cache,
    queries are brought into the space of the latents, which are keys and values at once.

    Parameters
    ----------
    width, heads : int
        Length ``D`` of a token, and number of heads ``H``.
    latent : int
        Length ``L`` of a latent.
    dropout : float
        Probability that an attention weight is dropped.
    """

    def __init__(self, width: int, heads: int, latent: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dim_head, self.dropout = heads, width // heads, dropout
        self.dim_rotated = self.dim_head // 4 * 2
        self.dim_plain = self.dim_head - self.dim_rotated
        self.query = nn.Linear(width, width, bias=False)
        self.down = nn.Linear(width, latent, bias=False)
        self.latent_norm = RMSNorm(latent)
        self.rotated_key = nn.Linear(width, self.dim_rotated, bias=False)
        self.key = nn.Linear(latent, heads * self.dim_plain, bias=False)
        self.value = nn.Linear(latent, heads * self.dim_head, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = True,
        rotation: Rotation,
        cache: LatentCache | None = None,
    ) -> Tensor:
        """Map ``[B, T, D]`` to the same shape; see :meth:`tabstar_lit.nn.attention.MultiHeadAttention.forward`.

        The rotation is one of :attr:`dim_rotated` numbers.
        """
        plain, turned = torch.split(self._split(self.query(x)), [self.dim_plain, self.dim_rotated], dim=-1)
        turned = rotation(turned)
        latents, shared = self.latent_norm(self.down(x)), rotation(self.rotated_key(x)[:, None])
        options: dict[str, Any] = {"mask": mask, "causal": causal}
        if cache is None:
            keys = torch.cat([self._split(self.key(latents)), shared.expand(-1, self.heads, -1, -1)], dim=-1)
            queries, values = torch.cat([plain, turned], dim=-1), self._split(self.value(latents))
            options["dropout"] = self.dropout if self.training else 0.0
            heads = masked_attention(queries, keys, values, **options)
        else:
            seen = cache.extend(torch.cat([latents, shared[:, 0]], dim=-1))[:, None].expand(-1, self.heads, -1, -1)
            into, back = (part.weight.view(self.heads, -1, latents.shape[-1]) for part in (self.key, self.value))
            queries = torch.cat([plain @ into.type_as(plain), turned], dim=-1)
            queries = queries * (queries.shape[-1] / self.dim_head) ** 0.5  # the scores are those of whole heads
            heads = masked_attention(queries, seen, seen, **options)[..., : latents.shape[-1]]
            heads = heads @ back.type_as(heads).transpose(1, 2)
        out: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """Turn ``[B, T, H K]`` into ``[B, H, T, K]``."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
