"""A thread that carries metrics and files to a tracking store, so that no training step waits for one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

T = TypeVar("T")
LONGEST_PAUSE = 60.0
"""Seconds between two attempts on a store that keeps failing."""


class Guard:
    """Run calls to a tracking service; the first that fails is reported, none ends the training run.

    Parameters
    ----------
    service : str
        Name of the service for the warning.
    remedy : str
        Where the user finds what the service did not get.
    """

    def __init__(self, service: str, remedy: str) -> None:
        self.service = service
        self.remedy = remedy
        self.failure: str | None = None

    def __call__(self, action: Callable[[], object]) -> bool:
        """Return whether ``action`` succeeded."""
        try:
            action()
        # Stores, drivers and HTTP clients raise what they like; the run outlives it, and the user is told.
        except Exception as error:
            if self.failure is None:
                self.failure = f"{type(error).__name__}: {error}".partition("\n")[0]
                rank_zero_warn(f"{self.service} failed, training goes on without it. {self.remedy} ({self.failure})")
            return False
        return True


class BackgroundWriter(Generic[T]):
    """Collect items and hand them to ``send`` in batches, every ``interval`` seconds and whenever asked.

    Items of a batch that failed stay in front of the queue and are tried again, at growing intervals, so a
    store that is locked for a while loses nothing. The queue is bounded: beyond ``capacity`` the oldest items
    are dropped.

    Parameters
    ----------
    send : callable
        Writes a batch of items; raises when it could not. Called by one thread at a time; must bear a
        repetition.
    guard : Guard
        Reports the first failure.
    interval : float
        Seconds between two batches.
    batch_size : int
        Most items that ``send`` takes at once.
    capacity : int
        Most items that wait while the store is away.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], object],
        guard: Guard,
        *,
        interval: float = 5.0,
        batch_size: int = 1000,
        capacity: int = 200_000,
    ) -> None:
        self.send = send
        self.guard = guard
        self.interval = interval
        self.batch_size = batch_size
        self.capacity = capacity
        self.waiting: deque[T] = deque(maxlen=capacity)
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        """Queue ``item``; the thread starts with the first one."""
        self.waiting.append(item)
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="metrics-writer", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have the thread send what waits, now."""
        self._wake.set()

    def flush(self) -> bool:
        """Send everything that waits, in the calling thread; False when the store refused."""
        with self._sending:
            while self.waiting:
                batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.batch_size))]
                if not self.guard(partial(self.send, batch)):
                    room = self.capacity - len(self.waiting)
                    self.waiting.extendleft(reversed(batch[-room:] if room else []))
                    return False
        return True

    def close(self) -> bool:
        """Stop the thread and send what is left; False when the store refused some of it."""
        if self._thread is not None:
            self._closing = True
            self._wake.set()
            self._thread.join()
            self._thread = None
        return self.flush()

    def _run(self) -> None:
        pause = self.interval
        while not self._closing:
            self._wake.wait(pause)
            self._wake.clear()
            pause = self.interval if self.flush() else min(2 * pause, LONGEST_PAUSE)
