"""Training steps that a card repeats by itself: launches recorded once for each shape of batch, as CUDA graphs.

A small network on a fast card waits for the host, which launches some thousand kernels a step one by one. Here the
launches of a forward and backward pass are recorded, and a later batch of the same shape is copied into the place of
the recorded one and all of them are launched together. What happens between is the same: the same kernels on the same
numbers, dropout drawn from the generator as it is seeded for the step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from tabstar_lit.engine.lean import gradient_norm
from tabstar_lit.errors import ConfigError

MOST_SHAPES = 256
"""Shapes of batches that are recorded at most; others are computed as they come."""


class Pieces(NamedTuple):
    """A batch taken apart.

    Attributes
    ----------
    tensors : tuple of Tensor
        All it holds, on the device.
    facts : Hashable
        What else a step depends on; batches of equal facts and shapes share a recording.
    rebuild : callable
        Makes a batch of such tensors.
    """

    tensors: tuple[Tensor, ...]
    facts: Hashable
    rebuild: Callable[[Sequence[Tensor]], Any]

    @property
    def key(self) -> Hashable:
        """What tells its recording from others."""
        return self.facts, tuple((tensor.shape, tensor.dtype) for tensor in self.tensors)


def pieces_of(batch: Any) -> Pieces:
    """Return the pieces of a batch of nested tuples and dictionaries, all of one structure in a run."""
    leaves, structure = tree_flatten(batch)
    facts = tuple(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves)

    def rebuild(tensors: Sequence[Tensor]) -> Any:
        own = iter(tensors)
        return tree_unflatten([next(own) if fact is None else fact[0] for fact in facts], structure)

    return Pieces(tuple(leaf for leaf in leaves if isinstance(leaf, Tensor)), facts, rebuild)


class Recording(Protocol):
    """Launches that can be repeated."""

    def replay(self) -> None:
        """Launch them again."""


class Results(NamedTuple):
    """Where a step writes what it computes.

    Attributes
    ----------
    output : Any
        Dataclass with the loss.
    parameters, gradients : list
        The trained weights that it reaches, and their gradients.
    norm : Tensor
        Norm of the gradients.
    """

    output: Any
    parameters: list[nn.Parameter]
    gradients: list[Tensor]
    norm: Tensor


class Recorded(NamedTuple):
    """A step of one shape of batch.

    Attributes
    ----------
    tensors : tuple of Tensor
        Where it reads its batch.
    written : list of Results
        One: where it writes.
    recording : Recording
        Its launches.
    """

    tensors: tuple[Tensor, ...]
    written: list[Results]
    recording: Recording


def record_on_card(compute: Callable[[], None], pool: Any) -> Recording:
    """Record what ``compute`` launches; it is not carried out yet."""
    graph = torch.cuda.CUDAGraph()
    # Batches are made and figures uploaded by other threads meanwhile, which may allocate.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        compute()
    return graph


class Replays:
    """Compute training steps by recordings of earlier ones.

    The first batch of a shape is computed launch by launch, which readies all that is made on first use; the second one
    is recorded. All recordings share the memory of what is between, and the gradients they write.

    Parameters
    ----------
    compute : callable
        Makes of a batch a dataclass with its ``loss``. Computes the same for the same tensors and facts, but for
        dropout, and reads nothing back.
    parameters : sequence of nn.Parameter
        The trained weights.
    record : callable
        Records what a function computes, in a pool of memory.

    Attributes
    ----------
    norm : Tensor or None
        Norm of the gradients that the last :meth:`hand_over` left alone; None: compute it.
    """

    def __init__(
        self,
        compute: Callable[[Any], Any],
        parameters: Sequence[nn.Parameter],
        record: Callable[[Callable[[], None], Any], Recording] = record_on_card,
    ) -> None:
        self._compute, self._record = compute, record
        self._parameters = list(parameters)
        self._gradients: list[Tensor] = []
        self._recorded: dict[Hashable, Recorded | None] = {}
        self._pool: Any = None
        self._last: Results | None = None
        self.norm: Tensor | None = None

    @property
    def recorded(self) -> int:
        """Shapes that have been recorded."""
        return sum(one is not None for one in self._recorded.values())

    def step(self, pieces: Pieces) -> Any:
        """Compute a step: by a recording, or launch by launch where its shape is new, or too many others have been met.

        Returns
        -------
        dataclass
            As ``compute`` returns it. Of a recorded step it is without columns, and its loss without a graph: gradients
            follow with :meth:`hand_over`.

        Raises
        ------
        ConfigError
            The step cannot be recorded.
        """
        self.forget()
        key = pieces.key
        if key not in self._recorded:
            if len(self._recorded) < MOST_SHAPES:
                self._recorded[key] = None
            return self._compute(pieces.rebuild(pieces.tensors))
        recorded = self._recorded[key]
        if recorded is None:
            recorded = self._recorded[key] = self._made(pieces)
        torch._foreach_copy_(list(recorded.tensors), list(pieces.tensors))
        recorded.recording.replay()
        (self._last,) = recorded.written
        return _each(self._last.output, Tensor.clone)

    def forget(self) -> None:
        """Forget the last step; the next one is none of these."""
        self._last = self.norm = None

    @property
    def is_replayed(self) -> bool:
        """Whether the last step was."""
        return self._last is not None

    def hand_over(self, scale: float | Tensor = 1.0) -> None:
        """Give the weights the gradients of the last step, times ``scale``, added to those that they have."""
        results, self._last = self._last, None
        if results is None:
            raise RuntimeError("There is no step whose gradients could be handed over.")
        parameters, gradients = results.parameters, results.gradients
        fresh = all(parameter.grad is None for parameter in parameters)
        if fresh and isinstance(scale, float) and scale == 1.0:
            self.norm = results.norm.clone()
        else:
            gradients = list(torch._foreach_mul(gradients, scale))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def _made(self, pieces: Pieces) -> Recorded:
        """Record the step of a batch."""
        if not self._gradients:
            self._gradients = [torch.empty_like(parameter) for parameter in self._parameters]
            self._pool = torch.cuda.graph_pool_handle() if self._record is record_on_card else None
        tensors = tuple(tensor.clone() for tensor in pieces.tensors)
        batch, written = pieces.rebuild(tensors), list[Results]()

        def compute() -> None:
            output = self._compute(batch)
            with torch.autocast(output.loss.device.type, enabled=False):
                gradients = torch.autograd.grad(output.loss, self._parameters, allow_unused=True)
            reached = [number for number, gradient in enumerate(gradients) if gradient is not None]
            own = [self._gradients[number] for number in reached]
            torch._foreach_copy_(own, [gradient for gradient in gradients if gradient is not None])
            parameters = [self._parameters[number] for number in reached]
            written[:] = [Results(_each(output, Tensor.detach), parameters, own, gradient_norm(own))]

        torch.clear_autocast_cache()  # a cast that was made before would not be made again in a replay
        try:
            recording = self._record(compute, self._pool)
        except RuntimeError as error:
            raise ConfigError(
                f"training_config.cuda_graphs: a step of this network cannot be recorded: {error} Leave it out."
            ) from error
        torch.clear_autocast_cache()
        return Recorded(tensors, written, recording)


def _each(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a dataclass with its tensors changed, those in mappings too, and without columns."""

    def changed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        return {name: changed(own) for name, own in value.items()} if isinstance(value, dict) else value

    own = {field.name: changed(getattr(output, field.name)) for field in fields(output) if field.name != "columns"}
    return replace(output, **own, columns={})
