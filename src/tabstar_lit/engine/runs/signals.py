"""The signals that end a run, held in one place from the first line of a command to its last.

A signal raises :class:`RunInterrupted` where it arrives. Inside a region that is :meth:`Signals.deferred` it is noted,
and ends the region's work where that says it can: a training after an optimizer step, the writing of a file when the
file is there. A second signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from tabstar_lit.engine.devices.distributed import gather, has_met, is_launched
from tabstar_lit.errors import RunInterrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """What this process does when it is told to end; there is one, :data:`signals`, as there is one process.

    Attributes
    ----------
    noted : int or None
        The signal that came; None before.
    shared : bool
        Whether several processes train together. One of them that left alone would have the others wait for ever, so
        each takes note, and they end where all ask, see :func:`heed`.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self.shared = False
        self._told = False
        self._saying = [""]
        self._pid = 0
        self._previous: dict[signal.Signals, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take the signals over, and give them back at the end; within another such region nothing changes.

        Only the main thread can; a run in another one is not stopped by signals.
        """
        if self._pid == os.getpid() or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.noted, self._told, self._saying, self._pid = None, False, [""], os.getpid()
        self.shared = is_launched()  # the first process waits for this one to join it, and only then can they agree
        self._previous = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        self.unblock()  # where the first process launched this one, they have waited until now
        try:
            yield
        finally:
            for signum, handler in self._previous.items():
                signal.signal(signum, handler)
            self.noted, self._pid = None, 0

    @contextmanager
    def deferred(self, saying: str = "") -> Iterator[None]:
        """Take note of a signal inside, and heed it at the end of the outermost such region.

        An exception that leaves the region goes before the signal, which then is left to :func:`heed`.

        Parameters
        ----------
        saying : str
            When the signal will be heeded, for the user who sent it; left out where that is a matter of a moment.
        """
        self._saying.append(saying)
        try:
            yield
        except BaseException:  # whatever it is, it goes before the signal
            self._told = self._told or self.noted is not None
            raise
        finally:
            self._saying.pop()
        if self.noted is not None and self._raises:
            self.end(self.noted)

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Let signals wait while this process launches others, which inherit that until they hold the signals, too.

        A signal to all of them would end one that is still importing, and Lightning then kills this one.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            self.unblock()

    def unblock(self) -> None:
        """Let signals through again, when the processes have met."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def end(self, signum: int) -> NoReturn:
        """End what is going on because of ``signum``, which came to this process or to one that works with it."""
        self.noted, self._told = signum, True
        raise RunInterrupted(signum)

    @property
    def _raises(self) -> bool:
        return len(self._saying) == 1 and not self.shared and not self._told

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a child inherits the handler; this process decides
            return
        if self.noted is not None:
            os._exit(128 + signum)
        self.noted = signum
        if self._raises:
            self.end(signum)
        if self._saying[-1] and not is_launched():
            line = f"{signal.Signals(signum).name}: {self._saying[-1]} A second signal exits at once.\n"
            with suppress(OSError):  # not through a stream, which may be in the middle of a line
                os.write(2, line.encode())


signals = Signals()


def heed() -> None:
    """End here if a signal came to any process of the run, also one whose exception was lost on the way.

    All processes of a run must ask; one that the others still wait for asks again when they have met.
    """
    if signals.shared and not has_met():
        return
    signum = next((noted for noted in gather(signals.noted or 0) if noted), None)
    if signum is not None:
        signals.end(signals.noted or signum)


def leave_to_main_process(worker: int = 0) -> None:
    """Ignore the signals in a loader's worker: a group of processes gets them all at once, and the main one decides.

    Parameters
    ----------
    worker : int
        Its number, which torch passes.
    """
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
