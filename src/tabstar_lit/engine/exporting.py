"""``tabstar_lit export`` of families whose models have no form of their own: named weights, and what builds on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.options import checkpoint_argument, examples, output_option

if TYPE_CHECKING:
    from torch import nn

    from tabstar_lit.engine.reports.card_text import CardText


def export_command(family: AnyFamily) -> click.Command:
    """Return the verb ``export`` of a family: the model of a checkpoint as safetensors, with a card beside it."""

    @click.command("export", epilog=examples(("tabstar_lit export model.ckpt -o model.safetensors", "named weights")))
    @checkpoint_argument
    @click.option("--safetensors", is_flag=True, default=True, help="As named weights (the only form there is).")
    @output_option("The file, which must end in .safetensors.")
    def export(checkpoint: Path, safetensors: bool, output: Path) -> None:
        """Write the model in CHECKPOINT as named weights, which other programs read.

        What the checkpoint keeps beside them stands in the file's metadata, so that the file can be given wherever a
        CHECKPOINT is asked for. A card tells what the model is.
        """
        model = family.restore(checkpoint)
        count = write_weights(model.network, model.config, output)
        click.echo(f"wrote {output}: {count} tensors")
        click.echo(f"wrote {write_card_beside(output, family.card(model.config), family.name)}")

    return export


def write_weights(
    network: nn.Module, config: Mapping[str, Any], output: Path, description: Mapping[str, str] | None = None
) -> int:
    """Write a network with all that its checkpoint keeps, so that the file loads as the checkpoint does.

    Parameters
    ----------
    network : nn.Module
        As the family builds it from ``config``.
    config : Mapping
        See :class:`~tabstar_lit.engine.trained.Trained`.
    output : Path
        The file, ``*.safetensors``.
    description : mapping of str to str, optional
        Further metadata, for other programs.

    Returns
    -------
    int
        Number of tensors.

    Raises
    ------
    ConfigError
        The file would have another ending, by which it would not be known again.
    DataError
        It cannot be written.
    """
    from tabstar_lit.engine.weights.files import CHECKPOINT_SCHEMA_VERSION
    from tabstar_lit.engine.weights.named import SUFFIX, write_named
    from tabstar_lit.errors import ConfigError

    if output.suffix != SUFFIX:
        raise ConfigError(f"-o {output}: weights are written to a file that ends in {SUFFIX}, by which it is known.")
    own = {"schema_version": CHECKPOINT_SCHEMA_VERSION, "payload": dict(config)}
    return write_named(output, network.state_dict(), own, description)


def write_card_beside(output: Path, text: CardText, family: str) -> Path:
    """Write the model card of a file that was exported from a model of a family, and return where it is."""
    from tabstar_lit.engine.reports.card import CARD_FILE, write_card

    return write_card(text, output.with_name(f"{output.stem}.{CARD_FILE}"), output.name, family=family)
