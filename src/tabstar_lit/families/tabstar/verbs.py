"""What ``tabstar_lit`` does with a trained TabSTAR. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, output_option


@click.command()
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet file.")
@click.option("--table", help="Which table of the training DATA has rows of; may be left out where there was one.")
@batch_size_option(256)
@device_option
def predict(*, checkpoint: Path, data: Path, output: Path, table: str | None, batch_size: int, device: str) -> None:
    """Write the predictions for the rows of DATA, a CSV or Parquet file, by the model in CHECKPOINT.

    DATA has the columns of a table of the training; its target may be missing. Written are the class or the number that
    is predicted, and for classes their probabilities.
    """
    from tabstar_lit.data.outputs import whole_file
    from tabstar_lit.families.tabstar.trained import restore

    predictions = restore(checkpoint).predict(data, table=table, batch_size=batch_size, device=device)
    with whole_file(output) as part:
        predictions.to_parquet(part, index=False)
    click.echo(f"wrote {output}: predictions for {len(predictions)} rows")
