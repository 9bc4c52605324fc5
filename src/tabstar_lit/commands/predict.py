"""``tabstar_lit predict``: scores of new data by a trained model."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.verbs import checkpoint_verb


@click.command()
@click.argument("checkpoint")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The Parquet file."
)
@click.option("--split", help="Only what training put on this side: train, val, test or calib.")
@click.option("--spectators", is_flag=True, help="Carry along the spectators of the training that DATA has.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1024, show_default=True, help="Rows in a batch.")
@click.option("--device", default="auto", show_default=True, help="Such as cpu or cuda:1; auto: a GPU if there is one.")
def predict(
    checkpoint: str, data: Path, output: Path, split: str | None, spectators: bool, batch_size: int, device: str
) -> None:
    """Write the scores of DATA, an HDF5 file as `tabstar_lit convert` makes it, by the model in CHECKPOINT.

    The checkpoint is enough: it holds the network, its features and how they are scaled. Tables and ROOT files are
    converted first, with the configuration of the training data, where labels and weights may be left out.
    """
    with reported_errors():
        path, verb = checkpoint_verb(checkpoint, "predict")
        verb(path, data, output, split=split, spectators=spectators, batch_size=batch_size, device=device)
