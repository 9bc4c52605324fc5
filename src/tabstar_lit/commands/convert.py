"""``tabstar_lit convert``: raw data into the HDF5 file a family trains on, by the subcommands the families add."""

from __future__ import annotations

from typing import Any

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.offers import by_name, offered_once
from tabstar_lit.engine.options import CommandGroup, examples


class ConvertGroup(CommandGroup):
    """A group of what the families offer, with user errors reported as messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all converters, by family."""
        return list(_converters())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a converter by name."""
        return _converters().get(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a converter; a user's mistake ends as a message and an exit code."""
        with reported_errors():
            return super().invoke(ctx)


@click.command(
    cls=ConvertGroup,
    epilog=examples(
        ("tabstar_lit convert tables tables.yaml -o tables.h5", "tables"),
        ("tabstar_lit convert events events.yaml -o events.h5", "collision events"),
    ),
)
def convert() -> None:
    """Turn raw data into the HDF5 file a family trains on.

    Doing it again with unchanged inputs does nothing; changed tables alone are converted again.
    """


def _converters() -> dict[str, click.Command]:
    return offered_once(lambda family: by_name(family.converters()), what="converter")
