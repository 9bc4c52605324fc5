"""The state-space expert: blocks of S6 (Mamba, arXiv 2312.00752), whose memory of a text has a fixed size."""

from __future__ import annotations

import math
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.experts.architecture import ExpertsArchitecture
from tabstar_lit.families.experts.networks.expert import Expert
from tabstar_lit.families.experts.networks.scan import Selection, continue_scan, selective_scan
from tabstar_lit.losses.classification import at_least_single
from tabstar_lit.nn.norms import RMSNorm

SHORTEST_STEP, LONGEST_STEP = 1e-3, 0.1
"""Range of the step sizes that a block starts with."""


class Remembered(NamedTuple):
    """What a block remembers of a text.

    Attributes
    ----------
    inputs : Tensor
        ``[B, K - 1, C]``, the last inputs of its convolution.
    state : Tensor
        ``[B, N, C]``, the state of its recurrence.
    """

    inputs: Tensor
    state: Tensor


class StateCache:
    """What a stack of blocks remembers of a text; nothing before its first tokens."""

    def __init__(self, layers: list[Remembered | None]) -> None:
        self.layers = layers

    def select(self, rows: Tensor) -> Self:
        """Return what is remembered of these rows, in this order; a row may be taken more than once."""
        kept = [
            None if layer is None else Remembered(*(part.index_select(0, rows) for part in layer))
            for layer in self.layers
        ]
        return type(self)(kept)


class StateSpaceBlock(nn.Module):
    """``x + out(scan(silu(convolution(a))) * silu(z))``, where ``a`` and ``z`` are linear in the normed ``x``.

    Parameters
    ----------
    width : int
        Length ``D`` of a state.
    channels : int
        Channels ``C`` of the recurrence.
    d_state, d_conv, dt_rank : int
        Numbers ``N`` in a channel's state, tokens ``K`` of the convolution, and rank of the map to the step sizes.
    dropout : float
        Probability, at the end.
    """

    def __init__(
        self, width: int, channels: int, *, d_state: int, d_conv: int, dt_rank: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.sizes = (d_state, d_state, dt_rank)
        self.norm = RMSNorm(width)
        self.into = nn.Linear(width, 2 * channels, bias=False)
        self.convolution = nn.Conv1d(channels, channels, d_conv, groups=channels)
        self.select = nn.Linear(channels, sum(self.sizes), bias=False)
        self.step = nn.Linear(dt_rank, channels)
        self.log_rates = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        self.out = nn.Linear(channels, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self._start_steps()

    @torch.no_grad()
    def _start_steps(self) -> None:
        """Let the step sizes start anywhere in their range, evenly in their logarithm."""
        low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
        steps = torch.empty_like(self.step.bias).uniform_(low, high).exp()
        self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus, inverted

    def forward(
        self, x: Tensor, documents: Tensor | None = None, before: Remembered | None = None, *, remember: bool = False
    ) -> tuple[Tensor, Remembered | None]:
        """Map a text.

        Parameters
        ----------
        x : Tensor
            ``[B, T, D]``.
        documents : Tensor or None
            ``[B, T]`` which document each token is of; None: all of one.
        before : Remembered or None
            What is remembered of the tokens before.
        remember : bool
            Whether to return what is remembered now, without gradients.
        """
        inputs, gate = self.into(self.norm(x)).chunk(2, dim=-1)
        taps = self.convolution.kernel_size[0] - 1
        past = inputs.new_zeros(len(inputs), taps, inputs.shape[-1]) if before is None else before.inputs
        seen = torch.cat([past, inputs], dim=1)
        same = None if documents is None else documents == _earlier(documents, 1, before)
        u = functional.silu(self._convolve(seen, documents, before))
        write, read, step = self.select(u).split(self.sizes, dim=-1)
        rates = -at_least_single(self.log_rates).exp()
        given = Selection(u, functional.softplus(at_least_single(self.step(step))), rates, write, read, same)
        if remember:
            state = u.new_zeros(len(u), *rates.T.shape, dtype=rates.dtype) if before is None else before.state
            scanned, state = continue_scan(state, given)
            now = Remembered(_of_last(seen, documents, taps), state)
        else:
            scanned, now = selective_scan(given), None
        mixed = torch.addcmul(scanned, self.skip, u) * functional.silu(gate)
        return x + self.dropout(self.out(mixed.type_as(x))), now

    def _convolve(self, seen: Tensor, documents: Tensor | None, before: Remembered | None) -> Tensor:
        """Convolve ``[B, K - 1 + T, C]`` to ``[B, T, C]``, within documents."""
        weights, bias = (
            part.type_as(seen) for part in (self.convolution.weight[:, 0], cast(Tensor, self.convolution.bias))
        )
        taps = weights.shape[1] - 1
        length = seen.shape[1] - taps
        convolved = torch.addcmul(bias, seen[:, taps:], weights[:, -1])
        for back in range(1, taps + 1):
            reached = seen[:, taps - back : taps - back + length]
            if documents is not None:
                reached = reached * (documents == _earlier(documents, back, before))[..., None]
            convolved = torch.addcmul(convolved, reached, weights[:, -1 - back])
        return convolved


def _earlier(documents: Tensor, back: int, before: Remembered | None) -> Tensor:
    """Return the documents ``[B, T]`` of the tokens ``back`` places before; what is remembered is of the first one."""
    first = documents[:, :1] if before is not None else torch.full_like(documents[:, :1], -1)
    return torch.cat([first.expand(-1, back), documents], dim=1)[:, : documents.shape[1]]


def _of_last(seen: Tensor, documents: Tensor | None, taps: int) -> Tensor:
    """Return the last ``taps`` inputs ``[B, K - 1, C]``, zero where they are of an earlier document than the last."""
    last = seen[:, seen.shape[1] - taps :]
    if documents is None:
        return last
    padded = functional.pad(documents, (taps, 0), value=-1)
    return last * (padded[:, padded.shape[1] - taps :] == documents[:, -1:])[..., None]


class StateSpaceExpert(Expert):
    """Blocks of S6, then a norm.

    Parameters
    ----------
    config : ExpertsArchitecture
        Resolved: width, dropout and its ``state_space``.
    """

    def __init__(self, config: ExpertsArchitecture) -> None:
        super().__init__()
        own, width = config.state_space, cast(int, config.width)
        sizes = {"d_state": own.d_state, "d_conv": own.d_conv, "dt_rank": own.dt_rank}
        self.blocks = nn.ModuleList(
            StateSpaceBlock(width, own.expand * width, **sizes, dropout=config.dropout)
            for _ in range(cast(int, own.layers))
        )
        self.norm = RMSNorm(width)

    def forward(self, states: Tensor, documents: Tensor | None = None, cache: StateCache | None = None) -> Tensor:
        """Map ``[B, T, D]`` to the same shape; see :meth:`Expert.forward`."""
        for place, block in enumerate(self.blocks):
            before = None if cache is None else cache.layers[place]
            states, now = block(states, documents, before, remember=cache is not None)
            if cache is not None:
                cache.layers[place] = now
        normed: Tensor = self.norm(states)
        return normed

    def start(self) -> StateCache:
        """Return a cache of a text of which nothing is read."""
        return StateCache([None] * len(self.blocks))
