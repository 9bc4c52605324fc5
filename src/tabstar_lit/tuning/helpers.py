"""Further processes on this machine that work on a study, each like the first one but for the report."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from tabstar_lit.errors import RunError, RunInterrupted, TabstarLitError


class Helpers:
    """The processes that were started; see :func:`started`."""

    def __init__(self, processes: list[BaseProcess], say: Callable[[str], None]) -> None:
        self._processes = processes
        self._say = say

    def join(self) -> None:
        """Wait until all have ended.

        Raises
        ------
        RunError
            One ended by a fault that would spoil the other trials, too; it has said by which.
        """
        for process in self._processes:
            process.join()
        for code in (process.exitcode or 0 for process in self._processes):
            if code == -signal.SIGKILL:
                self._say("a process was killed, perhaps for its memory; the same command goes on with its trial")
            elif code:
                raise RunError(
                    f"A process that worked on the study ended with exit code {code}; its words stand above."
                )

    def stop(self) -> None:
        """Let all save their trials and end."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


@contextmanager
def started(number: int, work: Callable[[], None], say: Callable[[str], None]) -> Iterator[Helpers]:
    """Start ``number`` processes that each call ``work``; whatever ends this one early stops them.

    Parameters
    ----------
    number : int
        How many; may be 0.
    work : callable
        Sent to the processes.
    say : callable
        Called with a line for the user.
    """
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [context.Process(target=_help, args=(work,)) for _ in range(number)]
    helpers = Helpers(processes, say)
    for process in processes:
        process.start()
    try:
        yield helpers
    except BaseException:  # whatever it is, their trials are saved first
        helpers.stop()
        raise


def _help(work: Callable[[], None]) -> None:
    os.setsid()  # Ctrl-C reaches the first process alone, which stops this one
    try:
        work()
    except TabstarLitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except RunInterrupted:
        sys.exit(0)  # the first process knows
