"""``tabstar_lit``: everything around training, a verb each; a verb's code is imported when it is used.

A family may have verbs of its own: in ``GROUPS`` of its module ``commands``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.families import FAMILIES

VERBS = {
    "init": ("tabstar_lit.commands.init", "init", "Copy the configuration here for editing."),
    "convert": (
        "tabstar_lit.commands.convert",
        "convert",
        "Turn tables into the HDF5 file a family trains on.",
    ),
    "tune": ("tabstar_lit.commands.tune", "tune", "Search for the best values of some keys."),
    "data": ("tabstar_lit.commands.data", "data", "Look into the HDF5 files that training reads."),
    "predict": ("tabstar_lit.commands.predict", "predict", "Score new data with a checkpoint."),
    "calibrate": (
        "tabstar_lit.commands.calibrate",
        "calibrate",
        "Make a checkpoint's probabilities frequencies.",
    ),
    "export": ("tabstar_lit.commands.export", "export", "Write a checkpoint as ONNX or safetensors."),
    "runs": ("tabstar_lit.commands.runs", "runs", "List, show and compare runs."),
}
"""Module, attribute and one-line help of every verb."""


class LazyGroup(click.Group):
    """A group that knows its verbs' help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of :data:`VERBS`, then those of the families."""
        return [*VERBS, *_of_families()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a verb."""
        if name not in VERBS:
            return _of_families().get(name)
        module, attribute, _ = VERBS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs' help lines."""
        with formatter.section("Commands"):
            own = [(name, text) for name, (_, _, text) in VERBS.items()]
            formatter.write_dl([*own, *((name, verb.get_short_help_str(80)) for name, verb in _of_families().items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; a user's mistake ends as a message and an exit code."""
        with reported_errors():
            return super().invoke(ctx)


def _of_families() -> dict[str, click.Command]:
    modules = [f"{module.rpartition('.')[0]}.commands" for module in FAMILIES.values()]
    found = [getattr(import_module(name), "GROUPS", ()) for name in modules if find_spec(name) is not None]
    return {verb.name or "": verb for verbs in found for verb in verbs}


@click.command(
    cls=LazyGroup,
    help="Work with configurations, data and runs. Training has commands of its own: train_tabstar, train_signal, "
    "train_fakes.",
)
@click.version_option(package_name="tabstar_lit")
def main() -> None:
    """Entry point."""
