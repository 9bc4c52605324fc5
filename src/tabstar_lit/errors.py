"""Every error a user can cause, and the exit code each one ends a command with.

A message says what is wrong, where, what was seen, what is allowed and what to do next. Commands print the message
without a traceback; anything that is not a :class:`TabstarLitError` is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import signal

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


class TabstarLitError(ValueError):
    """Base of all errors that are reported to the user as a message.

    Attributes
    ----------
    exit_code : int
        What the command exits with: 2 for bad configuration or input, 1 for a run that failed.
    """

    exit_code: int = EXIT_BAD_INPUT


class ConfigError(TabstarLitError):
    """One or more mistakes in a configuration, each located at ``file:line:column``."""


class FamilyError(TabstarLitError):
    """A family of models that is not there or cannot be used: names the package it comes from."""


class DataError(TabstarLitError):
    """Data that cannot be read or used: names the file, the table and the column."""


class CheckpointError(TabstarLitError):
    """A checkpoint that is missing, unreadable, or of another model."""


class SaveError(CheckpointError):
    """A checkpoint that could not be written; the one of before is unchanged."""

    exit_code = EXIT_FAILED


class EncoderError(TabstarLitError):
    """A pretrained encoder that cannot be had: says how to work offline."""


class RunError(TabstarLitError):
    """A run directory or tracking service that cannot be used as asked."""


class RunRefused(RunError):
    """Raised in the further processes of a run that the first one could not open, with what it met there.

    Commands leave the message to the first process.
    """


class RunWriteError(RunError):
    """A record of a run that could not be written: the disk is full, or gone."""

    exit_code = EXIT_FAILED


class NonFiniteError(TabstarLitError):
    """A loss or gradient that is NaN or infinite: names the step and the source of the batch."""

    exit_code = EXIT_FAILED


class RunInterrupted(BaseException):
    """Raised where a signal ends what is going on; no error, but an ending, which no handler of errors may stop.

    Attributes
    ----------
    signum : int
        The signal.
    prospect : str
        What can be gone on with, where a run had begun; it says nothing that has not happened.
    exit_code : int
        What the command exits with: 128 and the signal's number. Zero in the further processes of a run, whose end
        would otherwise have Lightning kill the first one while that is still writing.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
        self.prospect = ""
        self.exit_code = 128 + signum
