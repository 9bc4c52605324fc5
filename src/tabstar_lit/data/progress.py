"""Progress of what takes a while: bars over counts and over items, at once in a terminal, late and rarely in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")

Progress = Callable[[int | None], AbstractContextManager[Callable[[int], object]]]
"""Called with the number of events; what it yields is called with every number of events that are done."""


def no_progress(_: int | None) -> AbstractContextManager[Callable[[int], object]]:
    """Show nothing."""
    return nullcontext(lambda _: None)


def progress_bar(what: str, unit: str = "events") -> Progress:
    """Return a bar over things that are counted.

    Parameters
    ----------
    what : str
        Stands in front of it.
    unit : str
        What is counted.
    """

    @contextmanager
    def bar(total: int | None) -> Iterator[Callable[[int], object]]:
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit=f" {unit}", **_manners()) as shown:
            yield shown.update

    return bar


def no_item_progress(items: Sequence[T]) -> Iterable[T]:
    """Show nothing."""
    return items


def item_progress(what: str, unit: str, label: Callable[[T], str]) -> Callable[[Sequence[T]], Iterable[T]]:
    """Return a bar over items, which names the one in work; none for no items.

    Parameters
    ----------
    what : str
        Stands in front of it.
    unit : str
        What an item is.
    label : callable
        Gives the name of an item.
    """

    def bar(items: Sequence[T]) -> Iterator[T]:
        from tqdm import tqdm

        shown = tqdm(items, desc=what, unit=unit, disable=not items, **_manners())
        for item in shown:
            shown.set_postfix_str(label(item), refresh=sys.stderr.isatty())
            yield item

    return bar


def _manners() -> dict[str, Any]:
    """Return delay and interval in seconds: in a pipe or job log every drawing is a line that stays."""
    delay, interval = (0.0, 0.1) if sys.stderr.isatty() else (2.0, 10.0)
    return {"delay": delay, "mininterval": interval}
