"""``tabstar_lit export``: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.verbs import checkpoint_verb


@click.command()
@click.argument("checkpoint")
@click.option(
    "--onnx", "form", flag_value="onnx", default="onnx", help="As a graph that onnxruntime computes (default)."
)
@click.option("--safetensors", "form", flag_value="safetensors", help="As named weights.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file.")
@click.option("--raw", is_flag=True, help="Put the scaling into the graph: it then takes numbers in the file's units.")
def export(checkpoint: str, form: str, output: Path, raw: bool) -> None:
    """Write the model in CHECKPOINT for programs that do without Python.

    Features in their order, classes and scalers stand in the file's metadata. A graph is written only once it has
    computed the same as the model.
    """
    if raw and form != "onnx":
        raise click.UsageError("--raw puts the scaling into a graph; it goes with --onnx.")
    with reported_errors():
        path, verb = checkpoint_verb(checkpoint, "export")
        verb(path, output, form=form, raw=raw)
