"""``tabstar_lit``: everything around training, a verb each; a verb's code is imported when it is used.

What the families add stands beside the commands below: verbs for their checkpoints, and groups of their own.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.engine.options import CommandGroup, examples

COMMANDS = {
    "init": ("tabstar_lit.commands.init", "init", "Copy the configuration here for editing."),
    "convert": ("tabstar_lit.commands.convert", "convert", "Turn raw data into the HDF5 file a family trains on."),
    "submit": ("tabstar_lit.commands.submit", "submit", "Write, or hand in, a training as a job of a cluster."),
    "tune": ("tabstar_lit.commands.tune", "tune", "Search for the best values of some keys."),
    "data": ("tabstar_lit.commands.data", "data", "Look into the HDF5 files that training reads."),
    "runs": ("tabstar_lit.commands.runs", "runs", "List, rank, show and compare runs."),
}
"""Module, attribute and one-line help of every command that no family adds."""


class LazyGroup(CommandGroup):
    """A group that knows its commands' help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of :data:`COMMANDS`, then those of the families."""
        return [*COMMANDS, *_of_families()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command."""
        if name not in COMMANDS:
            return _of_families().get(name)
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what this is for, and which commands train."""
        from tabstar_lit.commands.offers import training_commands

        super().format_help_text(ctx, formatter)
        with formatter.indentation():
            formatter.write_text(f"Training has commands of its own: {training_commands()}.")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' help lines."""
        with formatter.section("Commands"):
            own = [(name, text) for name, (_, _, text) in COMMANDS.items()]
            formatter.write_dl([*own, *((name, verb.get_short_help_str(80)) for name, verb in _of_families().items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a user's mistake ends as a message and an exit code."""
        with reported_errors():
            return super().invoke(ctx)


@cache
def _of_families() -> dict[str, click.Command]:
    """Return what the families add: verbs first, and groups that only one of them has."""
    from tabstar_lit.commands.offers import by_name, offered_once
    from tabstar_lit.commands.verbs import checkpoint_verbs

    verbs = checkpoint_verbs(taken=COMMANDS)
    groups = offered_once(lambda family: by_name(family.groups()), what="command", taken={*COMMANDS, *verbs})
    return verbs | groups


@click.command(
    cls=LazyGroup,
    help="Work with configurations, data and runs.",
    epilog=examples(
        ("tabstar_lit init", "copy the configuration here"),
        ("tabstar_lit runs best", "the best checkpoint of all runs"),
        ("tabstar_lit predict CHECKPOINT --help", "what a model does with new data"),
    ),
)
@click.version_option(package_name="tabstar_lit")
def main() -> None:
    """Entry point."""
