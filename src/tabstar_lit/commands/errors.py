"""How a command ends: the message of an error without a traceback, and the exit code that belongs to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tabstar_lit.engine.runs.signals import signals
from tabstar_lit.errors import RunInterrupted, RunRefused, TabstarLitError


@contextmanager
def reported_errors() -> Iterator[None]:
    """Hold the signals while a command works, print errors the user can act on, and leave with their exit code."""
    try:
        with signals.held():
            yield
    except TabstarLitError as error:
        if not isinstance(error, RunRefused):
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except RunInterrupted as interruption:
        if interruption.exit_code:
            click.echo("; ".join(filter(None, (f"stopped by {interruption}", interruption.prospect))), err=True)
        sys.exit(interruption.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
