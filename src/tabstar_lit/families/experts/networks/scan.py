"""The selective scan of a state space (S6, arXiv 2312.00752): in chunks, with a gradient that remembers no states.

``h_t = keep_t exp(delta_t A) h_{t-1} + delta_t B_t u_t`` and ``y_t = C_t h_t``. Shapes: ``B`` rows, ``T`` tokens, ``C``
channels, each with a state of ``N`` numbers.

A chunk is computed by operations on all its tokens but for one multiplication and addition a token, and its states stay
in the processor's cache. Between the passes only the state at the start of each chunk is kept; the backward pass makes
the others again. States are laid out as ``[T, B, N, C]``, so that every operation runs along the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_NUMBERS = 2**18
"""Numbers in the states of a chunk, about: a few arrays of so many stay in the cache of a processor."""

CHUNK_NUMBERS_ACCELERATOR = 2**25


DIFFERENTIABLE = ("u", "delta", "rates", "write", "read")


class Recurrence(NamedTuple):
    """A :class:`Selection` with time first and in one precision.

    Attributes
    ----------
    u, delta : Tensor
        ``[T, B, C]`` inputs, and step sizes.
    rates : Tensor
        ``[N, C]``: ``A``, negative.
    write, read : Tensor
        ``[T, B, N]``: ``B`` and ``C``.
    keep : Tensor or None
        ``[T, B]``, 0 where a state begins anew; None: nowhere.
    """

    u: Tensor
    delta: Tensor
    rates: Tensor
    write: Tensor
    read: Tensor
    keep: Tensor | None

    def part(self, at: slice) -> Recurrence:
        """Return some tokens of it."""
        return Recurrence(
            self.u[at],
            self.delta[at],
            self.rates,
            self.write[at],
            self.read[at],
            None if self.keep is None else self.keep[at],
        )

    def decay(self) -> Tensor:
        """Return what is left of a state a token later, ``[T, B, N, C]``."""
        left = torch.mul(self.delta[:, :, None], self.rates).exp_()
        return left if self.keep is None else left.mul_(self.keep[:, :, None, None])

    def chunks(self) -> Iterator[slice]:
        """Give the tokens of one chunk after the other."""
        _, rows, channels = self.u.shape
        numbers = CHUNK_NUMBERS if self.u.device.type == "cpu" else CHUNK_NUMBERS_ACCELERATOR
        size = max(1, numbers // (rows * channels * self.write.shape[-1]))
        return (slice(start, start + size) for start in range(0, len(self.u), size))


class Selection(NamedTuple):
    """What a scan follows from, as a block has it.

    Attributes
    ----------
    u, delta : Tensor
        ``[B, T, C]`` inputs, and step sizes.
    rates : Tensor
        ``[C, N]``: ``A``, negative.
    write, read : Tensor
        ``[B, T, N]``: ``B`` and ``C``.
    keep : Tensor or None
        ``[B, T]`` bool, False where a state begins anew; None: nowhere.
    """

    u: Tensor
    delta: Tensor
    rates: Tensor
    write: Tensor
    read: Tensor
    keep: Tensor | None = None

    def time_first(self) -> Recurrence:
        """Return it as a scan reads it, in float32 or better."""
        dtype = torch.promote_types(self.u.dtype, torch.float32)
        u, delta, write, read = (
            x.to(dtype).transpose(0, 1).contiguous() for x in (self.u, self.delta, self.write, self.read)
        )
        keep = None if self.keep is None else self.keep.to(dtype).T.contiguous()
        return Recurrence(u, delta, self.rates.to(dtype).T.contiguous(), write, read, keep)


class _Scan(torch.autograd.Function):
    """The scan from an empty state, and its gradient."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        given = Recurrence(*inputs)
        state = given.u.new_zeros(given.u.shape[1], *given.rates.shape)
        parts, starts = [], []
        with _full_precision(given.u):
            for at in given.chunks():
                starts.append(state)
                states, _ = _states(given.part(at), state)
                parts.append(_read(given.read[at], states))
                state = states[-1].clone()
        ctx.save_for_backward(*given, torch.stack(starts))
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, starts = ctx.saved_tensors
        given = Recurrence(*inputs)
        found = given._replace(**{name: torch.zeros_like(getattr(given, name)) for name in DIFFERENTIABLE}, keep=None)
        later: Tensor | None = None
        with _full_precision(given.u):
            for at, start in reversed(list(zip(given.chunks(), starts, strict=True))):
                later = _chunk_gradient(given.part(at), start, gradient[at], later, found.part(at))
        return (*found[:-1], None)


def _states(given: Recurrence, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states after each token of a chunk, and the decay before it, ``[T, B, N, C]``."""
    decay = given.decay()
    states = given.write[..., None] * (given.delta * given.u)[:, :, None]
    before = start
    for left, state in zip(decay.unbind(), states.unbind(), strict=True):
        before = state.addcmul_(left, before)
    return states, decay


def _chunk_gradient(
    given: Recurrence, start: Tensor, gradient: Tensor, later: Tensor | None, found: Recurrence
) -> Tensor:
    """Write the gradients of a chunk's inputs into ``found``; return that of the state it starts from.

    ``gradient`` is that of its outputs ``[T, B, C]``, ``later`` that of its last state through the chunks after it.
    """
    states, decay = _states(given, start)
    torch.matmul(states, gradient[..., None], out=found.read[..., None])
    of_states = given.read[..., None] * gradient[:, :, None]
    if later is not None:
        of_states[-1] += later
    lefts, each = decay.unbind(), of_states.unbind()
    for place in range(len(each) - 1, 0, -1):
        each[place - 1].addcmul_(lefts[place], each[place])
    later = lefts[0] * each[0]
    moved = given.delta * given.u
    torch.matmul(of_states, moved[..., None], out=found.write[..., None])
    of_moved = _read(given.write, of_states)
    # What is left of the state before: nothing is divided by the decay, which may be 0.
    before = torch.cat([start[None], states[:-1]])
    of_exponent = before.mul_(decay).mul_(of_states)
    found.rates.add_(torch.mul(of_exponent, given.delta[:, :, None], out=states).sum((0, 1)))
    torch.mul(of_moved, given.delta, out=found.u)
    found.delta.copy_(of_exponent.mul_(given.rates).sum(2).addcmul_(of_moved, given.u))
    return later


def _read(weights: Tensor, states: Tensor) -> Tensor:
    """Return ``[T, B, C]``, the sums over ``N`` of states ``[T, B, N, C]`` with weights ``[T, B, N]``."""
    return torch.matmul(weights[:, :, None], states)[:, :, 0]


def _full_precision(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)


def selective_scan(given: Selection) -> Tensor:
    """Run the scan over whole texts, from empty states: outputs ``[B, T, C]``, in float32 at least."""
    scanned: Tensor = _Scan.apply(*given.time_first())  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return scanned.transpose(0, 1)


def continue_scan(state: Tensor, given: Selection) -> tuple[Tensor, Tensor]:
    """Run the scan from a state ``[B, N, C]``, without a gradient; also returns the last state."""
    inputs, parts = given.time_first(), []
    with torch.no_grad(), _full_precision(given.u):
        for at in inputs.chunks():
            states, _ = _states(inputs.part(at), state)
            parts.append(_read(inputs.read[at], states))
            state = states[-1].clone()
    return torch.cat(parts).transpose(0, 1), state


def sequential_scan(given: Selection) -> Tensor:
    """Run the scan token by token as it is written down, the oracle of :func:`selective_scan`."""
    left = torch.exp(given.delta[..., None] * given.rates)
    if given.keep is not None:
        left = left * given.keep[..., None, None]
    added = (given.delta * given.u)[..., None] * given.write[:, :, None]
    state, outputs = torch.zeros_like(added[:, 0]), []
    for kept, new, weights in zip(left.unbind(1), added.unbind(1), given.read.unbind(1), strict=True):
        state = kept * state + new
        outputs.append((state * weights[:, None]).sum(-1))
    return torch.stack(outputs, dim=1)
