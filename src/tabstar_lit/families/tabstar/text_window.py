"""Vectors of strings for several batches: encoded with the first, their gradient passed back with the last.

Weights do not change between the batches of an accumulated step, so neither do the vectors of its strings. All batches
but the last read them as constants that collect a gradient; the last one reads the vectors themselves, and what has
been collected goes back through the encoder with its own.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from tabstar_lit.families.tabstar.batch import WindowPlace


class SharedVectors:
    """The vectors of the window that is being trained on."""

    def __init__(self) -> None:
        self._vectors: Tensor | None = None
        self._read: Tensor | None = None

    def of(self, place: WindowPlace, vectors: Tensor | None) -> Tensor:
        """Return what the batch at this place of its window reads.

        Parameters
        ----------
        place : WindowPlace
            The batches of a window come in order, and their backward passes run in order.
        vectors : Tensor or None
            ``[U, D]`` of the strings of the window, with the first batch.

        Returns
        -------
        Tensor
            ``[U, D]``.

        Raises
        ------
        RuntimeError
            The window did not begin.
        """
        if place.is_first and vectors is not None:
            self._vectors, self._read = vectors, vectors.detach().requires_grad_()
        if self._vectors is None or self._read is None:
            raise RuntimeError("A batch asks for the vectors of a window whose first batch did not come.")
        if not place.is_last:
            return self._read
        encoded, read, self._vectors, self._read = self._vectors, self._read, None, None
        if encoded.requires_grad:
            add = partial(_with, read)
            encoded.register_hook(add)  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        return encoded


def _with(read: Tensor, gradient: Tensor) -> Tensor:
    """Return a gradient with what ``read`` has collected."""
    return gradient if read.grad is None else gradient + read.grad
