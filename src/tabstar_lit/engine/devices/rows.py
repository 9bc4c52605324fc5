"""Where the rows of a training are: on the device that trains, or on the host with batches made ahead of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Literal, Protocol, Self, runtime_checkable

import torch
from torch.utils.data import DataLoader

from tabstar_lit.errors import ConfigError

DEVICE_SHARE = 0.25
"""Part of a card's memory that the rows of a split may take."""

AHEAD = 3
"""Batches that are made before they are asked for."""


@runtime_checkable
class DeviceDataset(Protocol):
    """A dataset of tensors that can live on a device.

    Attributes
    ----------
    nbytes : int
        Memory of all its tensors.
    """

    @property
    def nbytes(self) -> int:
        """Memory of all its tensors."""

    def to(self, device: torch.device) -> Self:
        """Return the same rows on ``device``, where its batches are then made; moved once, however often asked."""

    def __getitem__(self, key: Any) -> Any:
        """Return a batch."""


def place_of(dataset: object, device: torch.device, cache: str) -> Literal["device", "host"]:
    """Return where the rows of a dataset are to be.

    Parameters
    ----------
    dataset : Dataset
        What serves batches.
    device : torch.device
        What trains.
    cache : str
        ``auto``: on a card, where they take no more than :data:`DEVICE_SHARE` of its memory; ``device``: there in any
        case; anything else: on the host.

    Raises
    ------
    ConfigError
        ``device`` is asked for, and the dataset reads its rows as it goes.
    """
    movable = isinstance(dataset, DeviceDataset)
    if cache == "device" and not movable:
        raise ConfigError(
            "dataset_config.dataloader_kwargs.cache: these rows cannot be held on a device, since they are read or "
            "made batch by batch. Set it to auto or host."
        )
    if cache == "device" and device.type != "cpu":
        return "device"
    if cache == "auto" and device.type == "cuda" and isinstance(dataset, DeviceDataset):
        memory = torch.cuda.get_device_properties(device).total_memory
        return "device" if dataset.nbytes <= DEVICE_SHARE * memory else "host"
    return "host"


class PlanLoader(DataLoader[Any]):
    """A loader that knows how long it was waited for.

    Attributes
    ----------
    ahead : bool
        Let a thread make the batches, in the same order, while the last one is trained on.
    waited_s : float
        Seconds from asking for batches to having them, in all passes so far.
    """

    ahead = False
    waited_s = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # an iterator, if not torch's
        """Yield the batches; those of this process are asked for without torch's detours, 0.1 ms each."""
        elsewhere = self.num_workers or self.pin_memory
        batches = super().__iter__() if elsewhere else map(self.dataset.__getitem__, iter(self.sampler))
        return self._timed(made_ahead(batches) if self.ahead else batches)

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited_s += perf_counter() - start
            yield batch


def made_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield ``batches``, of which a thread makes :data:`AHEAD` before they are asked for; its errors rise here."""
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(AHEAD)
    left = threading.Event()

    def put(is_last: bool, value: Any) -> bool:
        while not left.is_set():
            try:
                made.put((is_last, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        end: BaseException | None = None
        try:
            for batch in batches:
                if not put(False, batch):
                    return
        except BaseException as error:  # whatever it is, it is raised where the batch is asked for
            end = error
        put(True, end)

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            is_last, value = made.get()
            if not is_last:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        left.set()
        thread.join()
