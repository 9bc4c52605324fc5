"""``tabstar_lit calibrate``: make the probabilities of a trained classifier frequencies."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.verbs import checkpoint_verb

METHODS = ("temperature", "vector", "matrix")


@click.command()
@click.argument("checkpoint")
@click.option(
    "-m", "--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True, help="What is fitted."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The calibrated checkpoint; default: beside CHECKPOINT, with _calibrated in its name.",
)
@click.option("--data", type=click.Path(path_type=Path), help="File with the events; default: that of the training.")
@click.option(
    "--split",
    default="calib",
    show_default=True,
    help="Side of the training's split to fit on; all: every event of --data, which the training has not seen.",
)
@click.option("--device", default="auto", show_default=True, help="Such as cpu or cuda:1; auto: a GPU if there is one.")
def calibrate(checkpoint: str, method: str, output: Path | None, data: Path | None, split: str, device: str) -> None:
    """Fit temperature z / T, vector w z + b or matrix W z + b scaling of the logits z of the model in CHECKPOINT.

    It needs events kept for this (dataset_config.split.calib). Prints cross-entropy and calibration error before and
    after, and writes another checkpoint, which is used like the original.
    """
    with reported_errors():
        path, verb = checkpoint_verb(checkpoint, "calibrate")
        verb(path, output, method=method, data=data, split=split, device=device)
