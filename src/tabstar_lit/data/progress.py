"""Progress of what takes a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Progress = Callable[[int | None], AbstractContextManager[Callable[[int], object]]]
"""Called with the number of events; what it yields is called with every number of events that are done."""


def no_progress(_: int | None) -> AbstractContextManager[Callable[[int], object]]:
    """Show nothing."""
    return nullcontext(lambda _: None)


def progress_bar(what: str) -> Progress:
    """Return a bar over events: at once in a terminal; in a pipe or job log after two seconds and rarely.

    Parameters
    ----------
    what : str
        Stands in front of it.
    """

    @contextmanager
    def bar(n_events: int | None) -> Iterator[Callable[[int], object]]:
        from tqdm import tqdm

        delay, interval = (0.0, 0.1) if sys.stderr.isatty() else (2.0, 10.0)
        with tqdm(total=n_events, desc=what, unit=" events", delay=delay, mininterval=interval) as shown:
            yield shown.update

    return bar
