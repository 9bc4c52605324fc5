"""A trained network whose logits pass an affine map, so that its probabilities are frequencies (arXiv 1706.04599)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tabstar_lit.families.hep.batch import Features


class Calibrated(nn.Module):
    """Logits ``z`` of a network become ``z W^T + b``.

    Temperature scaling has ``W = 1 / T`` on the diagonal and no ``b``; vector scaling any diagonal; matrix scaling any
    ``W``.

    Parameters
    ----------
    network : nn.Module
        From features to logits ``[B, K]``.
    weight, bias : Tensor
        ``W`` ``[K, K]`` and ``b`` ``[K]``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, network: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())

    def forward(self, features: Features) -> Tensor:
        """Return calibrated logits ``[B, K]``."""
        logits: Tensor = self.network(features)
        return nn.functional.linear(logits, self.weight, self.bias)


def calibrated(network: nn.Module, payload: Mapping[str, Any]) -> nn.Module:
    """Return ``network`` with the calibration that a checkpoint's payload holds, itself where there is none."""
    calibration = payload.get("calibration")
    return network if calibration is None else Calibrated(network, calibration["weight"], calibration["bias"])
