"""Verbs whose first argument is a checkpoint: it says of which family it is, and that family's command runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from tabstar_lit.commands.offers import offered
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families import family_of_checkpoint

ABOUT = {
    "predict": "Score new data with a checkpoint.",
    "embed": "Write vectors of new data.",
    "explain": "Say what a prediction looks at.",
    "calibrate": "Make a checkpoint's probabilities frequencies.",
    "export": "Write a checkpoint in the form of others.",
    "generate": "Write new texts or sequences with a checkpoint.",
}
"""What verbs mean that several families may have, in a line; any other verb is described by the first that has it."""


class CheckpointVerb(click.Command):
    """One verb of all families that have it: parses just enough to find the checkpoint, then hands everything on.

    Parameters
    ----------
    name : str
        The verb.
    offers : Mapping
        The command of each family, by its name.
    """

    def __init__(self, name: str, offers: Mapping[str, click.Command]) -> None:
        self.offers = offers
        options = {tuple(option.opts): option for command in offers.values() for option in _options(command)}
        super().__init__(
            name,
            params=[click.Argument(["checkpoint"]), click.Argument(["more"], nargs=-1), *options.values()],
            help=ABOUT.get(name) or next(iter(offers.values())).get_short_help_str(100),
        )

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the command that runs: the one of the checkpoint's family.

        Raises
        ------
        click.UsageError
            An option is not known to any family, or not to that of the checkpoint.
        CheckpointError
            There is no such checkpoint, or its family does not have the verb.
        """
        asking = self.context_class(self, info_name=info_name, parent=parent)
        values, _, given = self.make_parser(asking).parse_args(list(args))
        name = values.get("checkpoint")
        helps = {spelling for option in given for spelling in option.opts}.intersection(asking.help_option_names)
        if helps or not isinstance(name, str):
            return super().make_context(info_name, args, parent, **extra)
        family = self._family(name)
        command = self.offers[family]
        own = {spelling for option in _options(command) for spelling in option.opts}
        for option in given:
            if isinstance(option, click.Option) and own.isdisjoint(option.opts):
                raise click.UsageError(self._foreign_option(option, name, family), asking)
        return command.make_context(info_name, args, parent, **extra)

    def _family(self, name: str) -> str:
        from tabstar_lit.config.paths import roots
        from tabstar_lit.engine.weights.loading import find_checkpoint

        path = find_checkpoint(name, [roots().models])
        family = family_of_checkpoint(path).name
        if family not in self.offers:
            able = ", ".join(self.offers)
            raise CheckpointError(
                f"{path} is a checkpoint of the family {family}, for which there is no '{self.name}'. "
                f"Families with it: {able}."
            )
        return family

    def _foreign_option(self, option: click.Option, checkpoint: str, family: str) -> str:
        having = [
            name
            for name, command in self.offers.items()
            if any(not set(option.opts).isdisjoint(own.opts) for own in _options(command))
        ]
        return (
            f"{option.opts[-1]} is an option for checkpoints of {' and '.join(having)}, and {checkpoint} is one of "
            f"{family}."
        )

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the verb takes, family by family."""
        formatter.write_usage(ctx.command_path, "CHECKPOINT [ARGUMENTS]... [OPTIONS]")
        self.format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                "CHECKPOINT is a path, or the name of a file below the folder of the models. "
                "What else is understood depends on its family."
            )
        for family, command in self.offers.items():
            own = click.Context(command, info_name=ctx.info_name, parent=ctx.parent)
            with formatter.section(f"For checkpoints of {family}"):
                formatter.write_text(" ".join([own.command_path, *command.collect_usage_pieces(own)]))
                command.format_help_text(own, formatter)
                formatter.write_paragraph()
                formatter.write_dl([record for option in _options(command) if (record := option.get_help_record(own))])
                command.format_epilog(own, formatter)


def checkpoint_verbs(taken: Collection[str]) -> dict[str, click.Command]:
    """Return the verbs of all families by name; the names in ``taken`` are those of other commands."""
    found = offered(lambda family: family.verbs(), what="verb", taken=taken)
    return {name: CheckpointVerb(name, offers) for name, offers in found.items()}


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]
