"""What the verb ``export`` takes of models of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tabstar_lit.engine.options import checkpoint_argument, output_option


def export_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command a checkpoint, ``form`` (``onnx`` or ``safetensors``), ``output`` and ``raw``."""
    for option in (
        click.option("--raw", is_flag=True, help="Scale in the graph, which takes numbers in the file's units."),
        output_option("The file."),
        click.option("--safetensors", "form", flag_value="safetensors", help="As named weights."),
        click.option("--onnx", "form", flag_value="onnx", default="onnx", help="As a graph for onnxruntime (default)."),
        checkpoint_argument,
    ):
        command = option(command)
    return command


def refuse_raw_weights(form: str, *, raw: bool) -> None:
    """Refuse scaling in what is no graph.

    Raises
    ------
    click.UsageError
        ``raw`` is asked for of weights.
    """
    if raw and form != "onnx":
        raise click.UsageError("--raw puts the scaling into a graph; it goes with --onnx.")
