"""What ``tabstar_lit`` does with a trained encoder or predictor. Light: the work is imported when it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, examples, output_option


def _table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the table and what may be needed to read it."""
    for option in (
        device_option,
        batch_size_option(64, "Samples"),
        click.option("--metadata", type=click.Path(path_type=Path), help="With the categories that the network reads."),
        click.option(
            "--sequences",
            type=click.Path(path_type=Path),
            help="FASTA file or .qza, where the ids of TABLE are hashes.",
        ),
        click.argument("table", type=click.Path(path_type=Path)),
        checkpoint_argument,
    ):
        command = option(command)
    return command


@click.command(epilog=examples(("tabstar_lit predict model.ckpt new.biom -o predictions.parquet", "new samples")))
@_table_options
@output_option("The Parquet file.")
def predict(*, checkpoint: Path, output: Path, **options: Any) -> None:
    """Write the predictions for the samples of TABLE, by the predictor in CHECKPOINT.

    TABLE is a count table (.biom, .tsv, .csv, .qza) or a study file (.h5). Its sequences need not have been seen in
    training. Written are the class with the probabilities of all, or the numbers in their own unit.
    """
    from tabstar_lit.data.outputs import whole_file
    from tabstar_lit.families.microbes.trained import restore

    predictions = restore(checkpoint).predict(options.pop("table"), **options)
    with whole_file(output) as part:
        predictions.to_parquet(part)
    click.echo(f"wrote {output}: predictions for {len(predictions)} samples")


@click.command(
    epilog=examples(
        ("tabstar_lit embed model.ckpt new.biom -o samples.parquet", "of samples"),
        ("tabstar_lit embed model.ckpt new.biom -o asvs.parquet --of asvs", "of sequences"),
    )
)
@_table_options
@click.option(
    "--of",
    type=click.Choice(["samples", "asvs"]),
    default="samples",
    show_default=True,
    help="Vectors of samples, or of sequences.",
)
@output_option("The Parquet file.")
def embed(*, checkpoint: Path, output: Path, of: Literal["samples", "asvs"], **options: Any) -> None:
    """Write the vectors of the samples or sequences of TABLE, by the encoder in CHECKPOINT.

    TABLE is a count table (.biom, .tsv, .csv, .qza) or a study file (.h5). Distances between vectors of samples tell of
    their UniFrac.
    """
    from tabstar_lit.data.outputs import whole_file
    from tabstar_lit.families.microbes.trained import restore

    vectors = restore(checkpoint).embed(options.pop("table"), of, **options)
    with whole_file(output) as part:
        vectors.to_parquet(part)
    click.echo(f"wrote {output}: {vectors.shape[1]} numbers for each of {len(vectors)} {of}")
