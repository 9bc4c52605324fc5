"""Putting flat and jagged parts together: embedded event features with embedded objects, and two networks' logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.config.tree import Path_, Problem
from tabstar_lit.nn.attention import MultiHeadAttention

EMBEDDING_MODES = ("sum", "mean", "add", "cat", "cat_proj", "learn", "gate", "attn", "res_attn")
"""Ways to join an event's vector and its objects' vectors."""
OUTPUT_MODES = ("add", "cat", "learn", "gate", "attn")
"""Ways to make one vector of logits of two."""
ATTENTION_OPTIONS = {"heads": 4, "dropout": 0.0}


class EmbeddingFusion(nn.Module):
    """Join the event's vector ``[B, E]`` and its objects' ``[B, P, E]``.

    ``cat`` puts the event in front as one more object. The others keep ``P``: ``add`` and ``sum`` add the event's
    vector to every object, ``mean`` takes half of that, ``cat_proj`` maps both side by side back to ``E``, ``learn``
    mixes them by one trained share, ``gate`` by a share computed from both for each entry, ``attn`` lets objects attend
    to the event and themselves, ``res_attn`` does so beside a skip.

    Parameters
    ----------
    mode : str
        One of :data:`EMBEDDING_MODES`.
    width : int
        Length ``E`` of the vectors.
    options : mapping or None
        ``heads`` and ``dropout`` for ``attn`` and ``res_attn``.
    """

    def __init__(self, mode: str, width: int, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.mode = mode
        if mode == "cat_proj":
            self.project = nn.Linear(2 * width, width)
        elif mode == "learn":
            self.share = nn.Parameter(torch.zeros(()))
        elif mode == "gate":
            self.gate = nn.Linear(2 * width, width)
        elif mode in ("attn", "res_attn"):
            self.attention = MultiHeadAttention(width, **{**ATTENTION_OPTIONS, **(options or {})})
            self.norm = nn.LayerNorm(width)

    def forward(self, event: Tensor, objects: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Join them.

        Parameters
        ----------
        event : Tensor
            ``[B, E]``.
        objects : Tensor
            ``[B, P, E]``.
        mask : Tensor
            ``[B, P]`` bool, True where there is an object; ``P`` at least 1.

        Returns
        -------
        objects, mask : Tensor
            ``[B, P, E]`` and ``[B, P]``; with ``cat``, one more in front.
        """
        token = event[:, None]
        there = torch.ones_like(mask[:, :1])
        if self.mode == "cat":
            return torch.cat([token, objects], dim=1), torch.cat([there, mask], dim=1)
        if self.mode in ("attn", "res_attn"):
            context = self.norm(torch.cat([token, objects], dim=1))
            attended = self.attention(context[:, 1:], context, mask=torch.cat([there, mask], dim=1))
            return (objects + attended if self.mode == "res_attn" else attended), mask
        return self._mixed(token.expand_as(objects), objects), mask

    def _mixed(self, event: Tensor, objects: Tensor) -> Tensor:
        if self.mode in ("sum", "add", "mean"):
            return (event + objects) * (0.5 if self.mode == "mean" else 1.0)
        if self.mode == "learn":
            return _mix(objects, event, self.share.sigmoid())
        both = torch.cat([event, objects], dim=-1)
        if self.mode == "cat_proj":
            projected: Tensor = self.project(both)
            return projected
        return _mix(objects, event, self.gate(both).sigmoid())


class OutputFusion(nn.Module):
    """Make one vector of logits ``[B, K]`` of a flat and a jagged network's.

    ``add`` sums, ``cat`` maps both side by side to ``K``, ``learn`` mixes by one trained share, ``gate`` by a share
    computed from both for each logit, ``attn`` by a softmax over one learned score for each network.

    Parameters
    ----------
    mode : str
        One of :data:`OUTPUT_MODES`.
    n_outputs : int
        Number of logits ``K``.
    """

    def __init__(self, mode: str, n_outputs: int) -> None:
        super().__init__()
        self.mode = mode
        if mode == "learn":
            self.share = nn.Parameter(torch.zeros(()))
        elif mode in ("cat", "gate"):
            self.combine = nn.Linear(2 * n_outputs, n_outputs)
        elif mode == "attn":
            self.score = nn.Linear(n_outputs, 1)

    def forward(self, flat: Tensor, jagged: Tensor) -> Tensor:
        """Combine ``[B, K]`` and ``[B, K]``."""
        if self.mode == "add":
            return flat + jagged
        if self.mode == "learn":
            return _mix(jagged, flat, self.share.sigmoid())
        if self.mode == "attn":
            both = torch.stack([flat, jagged], dim=1)
            shares: Tensor = self.score(both).softmax(dim=1)
            return (both * shares).sum(1)
        combined: Tensor = self.combine(torch.cat([flat, jagged], dim=-1))
        return combined if self.mode == "cat" else _mix(jagged, flat, combined.sigmoid())


def fusion_problems(mode: str, options: Mapping[str, Any], path: Path_) -> list[Problem]:
    """Give the options of a fusion that its mode does not have."""
    allowed = tuple(ATTENTION_OPTIONS) if mode in ("attn", "res_attn") else ()
    return [
        Problem((*path, key), f"unknown parameter '{key}' of fusion {mode}.", allowed)
        for key in options
        if key not in allowed
    ]


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Go from `a` to `b` by a share; ``torch.lerp`` would want one dtype, which autocast does not give."""
    return a + share * (b - a)
