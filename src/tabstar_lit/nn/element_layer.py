"""A pre-norm transformer layer of torch whose linear parts may be replaced, as adapters do.

torch reads the weights of these parts past the modules: always of the projection behind attention, and in evaluation of
all of them, on its fast path. A module in the place of one, such as an adapter of ``peft``, would never be asked. Here
the modules are, where one of them is not torch's own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ElementLayer(nn.TransformerEncoderLayer):
    """A :class:`torch.nn.TransformerEncoderLayer` with ``norm_first`` and ``batch_first``, and its names of weights."""

    def forward(  # type: ignore[override]  # there is no mask
        self, elements: Tensor, asking: int | None = None
    ) -> Tensor:
        """Return the first ``asking`` of the ``[B, S, D]`` elements after this layer, or all of them."""
        if asking is None and not self.is_adapted:
            return super().forward(elements)
        normed = self.norm1(elements)
        first = elements[:, :asking] + self.dropout1(self._attend(normed[:, :asking], normed))
        hidden = self.dropout(self.activation(self.linear1(self.norm2(first))))
        return first + self.dropout2(self.linear2(hidden))  # type: ignore[no-any-return]  # nn.Module calls are untyped

    @property
    def is_adapted(self) -> bool:
        """Whether a linear part is not torch's own."""
        parts = (self.self_attn.out_proj, self.linear1, self.linear2)
        return not all(isinstance(part, nn.Linear) for part in parts)

    def _attend(self, asking: Tensor, normed: Tensor) -> Tensor:
        attention = self.self_attn
        if isinstance(attention.out_proj, nn.Linear):
            attended, _ = attention(asking, normed, normed, need_weights=False)
            return attended  # type: ignore[no-any-return]  # as above
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(own, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for own, weight, bias in zip((asking, normed, normed), weights, biases, strict=True)
        )
        dropout = attention.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return attention.out_proj(context.transpose(1, 2).flatten(2))
