"""Norms of vectors one by one, and of those that are there: padding enters no statistic and receives no gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.RMSNorm):
    """Divide a vector by its root mean square (arXiv 1910.07467), in float32 inside whatever the precision.

    torch's own, but that it takes its fused kernel under mixed precision too, where the gain is float32 and the
    vector is not.

    Parameters
    ----------
    width : int
        Length ``E`` of a vector.
    eps : float
        Added to the mean square.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[..., E]`` over the last axis."""
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation whose statistics see valid entries only (arXiv 1502.03167).

    Equal to ``torch.nn.BatchNorm1d`` over the valid entries gathered into one batch, but of fixed shape. A batch
    without any valid entry leaves the running statistics alone.

    Parameters
    ----------
    width : int
        Number of channels ``C``.
    momentum : float
        Share of the running statistics that a batch replaces.
    eps : float
        Added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Normalise ``values`` ``[..., C]``, of which ``mask`` ``[...]`` says which count; padding stays finite."""
        mean, variance = (
            self._batch_statistics(values, mask) if self.training else (self.running_mean, self.running_var)
        )
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, values, scale)

    def _batch_statistics(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        rows, valid = values.flatten(0, -2), mask.flatten()
        count = valid.sum()
        share = valid.to(values.dtype) / count.clamp(min=1)
        mean = share @ rows
        variance = share @ (rows - mean).square()
        self._follow(mean.detach(), variance.detach(), count)
        return mean, variance

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics towards a batch's; the variance without bias, as PyTorch keeps it."""
        step = self.momentum * (count > 0)
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean += step * (mean.to(self.running_mean.dtype) - self.running_mean)
        self.running_var += step * (unbiased.to(self.running_var.dtype) - self.running_var)


class SetNorm(nn.Module):
    """Normalise an event by the mean and variance of all its objects' features together (arXiv 2206.11925).

    Unlike layer norm, it keeps how objects of an event differ in scale.

    Parameters
    ----------
    width : int
        Features ``E`` of an object; each has its own scale and shift.
    eps : float
        Added to the variance.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Normalise ``values`` ``[B, P, E]`` over the objects in ``mask`` ``[B, P]``; padding becomes the bias."""
        valid = mask[..., None]
        count = mask.sum(dim=1).clamp(min=1)[:, None, None] * values.shape[-1]
        mean = torch.where(valid, values, 0.0).sum(dim=(1, 2), keepdim=True) / count
        centred = torch.where(valid, values - mean, 0.0)
        variance = centred.square().sum(dim=(1, 2), keepdim=True) / count
        return torch.addcmul(self.bias, centred * torch.rsqrt(variance + self.eps), self.weight)


class PointNorm(nn.LayerNorm):
    """Layer norm of each object by itself, with the call of ``SetNorm``; the mask has no part in it."""

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise ``values`` ``[..., E]`` over the last axis."""
        return super().forward(values)
