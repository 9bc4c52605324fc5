"""The run's log: on the terminal and in ``log.txt``."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from tabstar_lit.engine.devices.distributed import is_main_process
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.records import LOG_FILE

LOGGERS = ("tabstar_lit", "lightning.pytorch", "lightning.fabric", "py.warnings")
NOT_FOR_USERS = (
    ".*LeafSpec.*",  # a deprecation between Lightning and torch
    ".*in eval mode at the start of training.*",  # frozen modules are kept there on purpose
    ".*is smaller than the logging interval.*",  # the epoch's mean is logged whatever the interval
)
CHATTY = ("lightning.pytorch", "lightning.fabric")
"""Loggers whose messages below a warning are for people who debug."""


@contextmanager
def logging_to(directory: RunDirectory, level: str) -> Iterator[None]:
    """Send the project's, Lightning's and Python's messages to the terminal and to ``log.txt`` of the run.

    Parameters
    ----------
    directory : RunDirectory
        Whose log is written; only rank zero writes.
    level : str
        ``min_logging_level`` of the configuration.
    """
    terminal: logging.Handler = AboveProgress(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    handlers = [terminal]
    if is_main_process():
        file = LogFile(directory.root / LOG_FILE)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(file)
    minimum = level.upper() if is_main_process() else "ERROR"
    before = {name: _state(logging.getLogger(name)) for name in LOGGERS}
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list(handlers), False
        logger.setLevel("WARNING" if name in CHATTY and minimum == "INFO" else minimum)
    try:
        with _captured_warnings():
            yield
    finally:
        for name, (own, propagate, old_level) in before.items():
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = own, propagate
            logger.setLevel(old_level)
        for handler in handlers:
            handler.close()


class AboveProgress(logging.StreamHandler[TextIO]):
    """A log on the terminal, above the line of progress that is redrawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message while that line is away."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class LogFile(logging.FileHandler):
    """A log on a disk that may be full: then it says so once, and the messages go to the terminal alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._full = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report what keeps the file from being written, the first time."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._full:
            self._full = True
            print(f"{self.baseFilename} cannot be written: {error.strerror or error}.", file=sys.stderr)

    def close(self) -> None:
        """Close the file; what it could not take before it cannot take now."""
        with suppress(OSError):
            super().close()


@contextmanager
def _captured_warnings() -> Iterator[None]:
    """Log Python's warnings, without those that tell a user nothing."""
    with warnings.catch_warnings():
        for message in NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=message)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)


def _state(logger: logging.Logger) -> tuple[list[logging.Handler], bool, int]:
    return list(logger.handlers), logger.propagate, logger.level
