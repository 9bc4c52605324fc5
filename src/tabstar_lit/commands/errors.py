"""How a command ends: the message of an error without a traceback, and the exit code that belongs to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tabstar_lit.errors import RunInterrupted, TabstarLitError


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print errors the user can act on and leave with their exit code; an interrupt leaves with 130."""
    try:
        yield
    except TabstarLitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except RunInterrupted as interruption:
        click.echo(f"stopped by {interruption}; the run is saved, --resume goes on with it", err=True)
        sys.exit(128 + interruption.signum)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
