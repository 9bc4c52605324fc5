"""``torch.compile`` in place, with the messages that the same network has when it is not compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.attention import NO_KERNEL, no_kernel_message


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

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except ConfigError:
            raise
        except RuntimeError as error:  # the compiler wraps what it meets while it traces
            if not any(text in str(error) for text in NO_KERNEL):
                raise
        raise ConfigError(no_kernel_message())

    network._compiled_call_impl = call
