"""Arguments, options and examples of commands: each is declared here once, and means the same everywhere.

Light: a command's help must not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

LINE = 68
"""Characters of an example and what it is for, with which an indented line fits into a terminal."""

SENTENCE = 200
"""Characters of what a command is for, at most."""


def checkpoint_argument(command: F) -> F:
    """Add ``CHECKPOINT``, with which the commands of a trained model begin; the function gets a path.

    A user may also give the name of a file somewhere below the folder of the models.
    """
    return click.argument("checkpoint", callback=_find)(command)


def _find(_context: click.Context, _parameter: click.Parameter, name: str) -> Path:
    """Return the file that is meant; that there is none, or several, is a CheckpointError."""
    from tabstar_lit.config.paths import roots
    from tabstar_lit.engine.weights.loading import find_checkpoint

    return find_checkpoint(name, [roots().models])


def output_option(what: str, *, required: bool = True) -> Callable[[F], F]:
    """Add ``-o``, the file that is written; ``what`` says which."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("-o", "--output", required=required, type=path, help=what)


def batch_size_option(default: int, rows: str = "Rows") -> Callable[[F], F]:
    """Add ``--batch-size``; ``rows`` are what it counts."""
    help_text = f"{rows} in a batch."
    return click.option("--batch-size", type=click.IntRange(min=1), default=default, show_default=True, help=help_text)


def device_option(command: F) -> F:
    """Add ``--device``, see :func:`tabstar_lit.engine.trained.find_device`."""
    help_text = "Such as cpu or cuda:1; auto: a GPU if there is one."
    return click.option("--device", default="auto", show_default=True, help=help_text)(command)


class CommandGroup(click.Group):
    """A group that says of each command the whole first sentence, and of a misspelt one which may be meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant by the first of ``args``, and the rest.

        Raises
        ------
        click.UsageError
            There is none; names the nearest.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from tabstar_lit.config.tree import did_you_mean

            raise click.UsageError(f"{error.message}{did_you_mean(args[0], self.list_commands(ctx))}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what each is for."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(SENTENCE)) for name, command in found if command])


def examples(*lines: tuple[str, str]) -> str:
    """Return the end of a help text: commands as one types them, each with what it is for.

    What is said of a command stands behind it, and below it where one of the lines would be too long for a terminal.
    """
    width = max(len(command) for command, _ in lines)
    beside = width + max(len(what) for _, what in lines) <= LINE
    shown = [f"  {command:<{width}}  {what}" if beside else f"  {command}\n      {what}" for command, what in lines]
    return "\n".join(["\b", "Examples:", *shown])
