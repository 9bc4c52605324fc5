"""The continuous diffusion expert: takes noise off a transformer's states (DDPM, arXiv 2006.11239; DDIM, 2010.02502).

A frozen transformer's states of a text are noised to a step of the schedule and denoised from that same step. The
denoiser is causal, and the noise of a place follows from its position alone, so that the expert is a function of the
text: the same in training and evaluation, packed or not, at once or token by token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tabstar_lit.families.experts.architecture import ExpertsArchitecture
from tabstar_lit.families.experts.networks.expert import Expert, attention_mask, initialise, places
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.decoders import State
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import Rotation, rotation, sinusoids

COSINE_OFFSET = 0.008
LARGEST_BETA = 0.999
LINEAR_BETAS = (1e-4, 0.02)
NOISE_SEED = 0


def signal_shares(steps: int, schedule: str = "cosine") -> Tensor:
    """Return what is left of the variance of a signal after each step, ``[steps]``: alpha-bar.

    ``cosine`` is that of arXiv 2102.09672, ``linear`` that of DDPM with its betas spread over ``steps``.
    """
    if schedule == "linear":
        betas = torch.linspace(*LINEAR_BETAS, steps, dtype=torch.float64)
    else:
        times = torch.arange(steps + 1, dtype=torch.float64) / steps
        shares = ((times + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).cos().square()
        betas = (1 - shares[1:] / shares[:-1]).clamp(0, LARGEST_BETA)
    return (1 - betas).cumprod(0).float()


class Sight(NamedTuple):
    """Which places see which.

    Attributes
    ----------
    positions : Tensor
        ``[T]`` or ``[B, T]``, in the document.
    mask : Tensor or None
        ``[B, P]`` or ``[B, T, P]`` bool, True where a place may be seen; None: all.
    causal : bool
        Whether a place sees none after it, whatever the mask says.
    """

    positions: Tensor
    mask: Tensor | None
    causal: bool


Pass = tuple[Sight, DecoderCache | None]
"""What a pass of the denoiser sees, and remembers."""


class DenoiserBlock(nn.Module):
    """Attention, whose norm is scaled and shifted by the step, and a feed-forward part.

    Parameters
    ----------
    width, heads : int
        Length ``D`` of a state, and attention heads.
    dropout : float
        Probability, at the end of both branches.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = RMSNorm(width), RMSNorm(width)
        self.modulation = nn.Linear(width, 2 * width)
        self.attention = MultiHeadAttention(width, heads, dropout=dropout, projection_bias=False)
        self.feed_forward = PointwiseFeedForward(width, 4 * width, act="SiLU", dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        step: Tensor,
        *,
        mask: Tensor | None,
        causal: bool,
        turned: Rotation,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map ``[B, T, D]`` to the same shape; ``step`` is ``[B, 1, D]``, the embedded step of the noise."""
        scale, shift = self.modulation(step).chunk(2, dim=-1)
        normed = self.attention_norm(x) * (1 + scale) + shift
        x = x + self.dropout(self.attention(normed, mask=mask, causal=causal, rotation=turned, cache=cache))
        changed: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return changed


class DenoisingCache:
    """What the passes of a denoiser remember, one cache for each.

    Attributes
    ----------
    seen : int
        Tokens so far, padding included.
    following : Tensor or None
        ``[B, 1]`` position of each row's next token; None before the first.
    """

    def __init__(self, passes: Sequence[DecoderCache], seen: int = 0, following: Tensor | None = None) -> None:
        self.passes, self.seen, self.following = list(passes), seen, following

    def advance(self, states: Tensor, documents: Tensor | None) -> Tensor:
        """Take note of the next states ``[B, T, D]`` and return their positions ``[B, T]``."""
        positions = places(states, documents).expand(states.shape[:2])
        if self.following is not None:
            positions = self.following + torch.arange(states.shape[1], device=states.device)
        self.seen, self.following = self.seen + states.shape[1], positions[:, -1:] + 1
        return positions

    def select(self, rows: Tensor) -> Self:
        """Return what is remembered of these rows, in this order; a row may be taken more than once."""
        following = None if self.following is None else self.following[rows]
        return type(self)([one.select(rows) for one in self.passes], self.seen, following)


class DiffuserExpert(Expert):
    """States with noise on them to the noise, and from there to states.

    Parameters
    ----------
    config : ExpertsArchitecture
        Resolved: width, heads, dropout and its ``diffuser``.
    """

    shares: Tensor
    noise: Tensor

    def __init__(self, config: ExpertsArchitecture) -> None:
        super().__init__()
        own, width, heads = config.diffuser, cast(int, config.width), cast(int, config.heads)
        self.width, self.dim_head, self.rope_base = width, width // heads, config.rope_base
        self.steps = [round(step) for step in np.linspace(own.noise_step, 0, own.denoising_steps, endpoint=False)]
        self.time = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.blocks = nn.ModuleList(
            DenoiserBlock(width, heads, dropout=config.dropout) for _ in range(cast(int, own.layers))
        )
        self.norm = RMSNorm(width)
        self.out = nn.Linear(width, width)
        initialise(self)
        self.register_buffer("shares", signal_shares(own.training_steps, own.schedule), persistent=False)
        self.register_buffer("noise", torch.empty(0, width), persistent=False)

    def noised(self, states: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Mix states and noise ``[B, T, D]`` as after ``steps`` ``[B]`` of the schedule."""
        share = self.shares[steps][:, None, None]
        return share.sqrt() * states + (1 - share).sqrt() * noise

    def sight(self, states: Tensor, documents: Tensor | None = None, generator: Generator | None = None) -> Sight:
        """Return what places see when noise is learned: those before them, in their document.

        Parameters
        ----------
        states : Tensor
            ``[B, T, D]``.
        documents : Tensor or None
            ``[B, T]``, as of :meth:`Expert.forward`.
        generator : torch.Generator or None
            Where draws come from, if there are any.
        """
        return Sight(places(states, documents), attention_mask(documents), causal=True)

    def predicted_noise(
        self, noised: Tensor, steps: Tensor, sight: Sight | None = None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Return the noise ``[B, T, D]`` in states that were noised for ``steps`` ``[B]``."""
        positions, mask, causal = sight or self.sight(noised)
        turned = rotation(positions, self.dim_head, self.rope_base)
        step = self.time(sinusoids(steps, self.width).to(noised.dtype))[:, None]
        layers = [None] * len(self.blocks) if cache is None else cache.layers
        for block, layer in zip(self.blocks, layers, strict=True):
            noised = block(noised, step, mask=mask, causal=causal, turned=turned, cache=layer)
        found: Tensor = self.out(self.norm(noised))
        return found

    def forward(self, states: Tensor, documents: Tensor | None = None, cache: Any = None) -> Tensor:
        """Noise states ``[B, T, D]`` of the transformer and denoise them; see :meth:`Expert.forward`."""
        noise = self._noise_at(states, documents, cache)
        if cache is None:
            return self.denoised(states, noise, [(self.sight(states, documents), None)] * len(self.steps))
        there = None if documents is None else documents >= 0
        admitted = (one.admit(states[..., 0], there) for one in cache.passes)
        sights = [Sight(positions, mask, causal=True) for positions, mask in admitted]
        return self.denoised(states, noise, list(zip(sights, cache.passes, strict=True)))

    def denoised(self, states: Tensor, noise: Tensor, passes: Sequence[Pass]) -> Tensor:
        """Mix states ``[B, T, D]`` with noise, and take it off again in as many passes as there are steps."""
        x = self.noised(states, self._steps(self.steps[0], states), noise)
        for place, (step, (sight, cache)) in enumerate(zip(self.steps, passes, strict=True)):
            found = self.predicted_noise(x, self._steps(step, states), sight, cache)
            share = self.shares[step]
            clean = (x - (1 - share).sqrt() * found) / share.sqrt()
            last = place + 1 == len(self.steps)
            x = clean if last else self.noised(clean, self._steps(self.steps[place + 1], states), found)
        return x

    def start(self) -> State:
        """Return empty caches, one for each pass."""
        return DenoisingCache([DecoderCache([KeyValueCache() for _ in self.blocks]) for _ in self.steps])

    def _steps(self, step: int, states: Tensor) -> Tensor:
        return torch.full((len(states),), step, device=states.device)

    def _noise_at(self, states: Tensor, documents: Tensor | None, cache: DenoisingCache | None) -> Tensor:
        """Return the noise of each place of a text, ``[T, D]`` or ``[B, T, D]``."""
        longest = states.shape[1] + (0 if cache is None else cache.seen)
        if longest > len(self.noise):
            drawn = np.random.default_rng(NOISE_SEED).standard_normal((2 * longest, self.width))
            with torch.inference_mode(False):
                self.noise = torch.from_numpy(drawn).to(self.noise)
        return self.noise[places(states, documents) if cache is None else cache.advance(states, documents)]
