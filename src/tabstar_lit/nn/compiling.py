"""``torch.compile`` in place, with the messages that the same network has when it is not compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.attention import NO_KERNEL, no_kernel_message

REPLAYED = ("reduce-overhead", "max-autotune")
"""Modes of ``torch.compile`` whose launches a card replays as one, a CUDA graph: the next replay overwrites outputs."""


def compile_in_place(network: nn.Module, **options: Any) -> None:
    """Compile a network when it is first called; the names of its weights stay.

    Parameters
    ----------
    network : nn.Module
        What is compiled.
    **options
        For ``torch.compile``.
    """
    network.compile(**options)
    compiled: Callable[..., Any] = network._compiled_call_impl  # type: ignore[assignment]  # what `compile` has set
    is_replayed = options.get("mode") in REPLAYED

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            outputs = compiled(*args, **kwargs)
            return tree_map_only(Tensor, Tensor.clone, outputs) if is_replayed else outputs
        except ConfigError:
            raise
        except RuntimeError as error:  # the compiler wraps what it meets while it traces
            if not any(text in str(error) for text in NO_KERNEL):
                raise
        raise ConfigError(no_kernel_message())

    network._compiled_call_impl = call
