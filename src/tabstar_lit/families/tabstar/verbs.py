"""What ``tabstar_lit`` does with a trained TabSTAR. Light: the work is imported when it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, examples, output_option

METHODS = ("rollout", "mean", "last")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which table DATA has rows of: one of the training, or a description of another."""
    for option in (
        click.option("--table", help="Which table of the training DATA has rows of; not needed where there was one."),
        click.option("--target", help="For a table that was not trained on: what to predict."),
        click.option("--task", type=click.Choice(["classification", "regression"]), help="Of such a target."),
        click.option("--classes", help="Of such a target, separated by commas."),
    ):
        command = option(command)
    return command


def described(
    table: str | None, target: str | None, task: Literal["classification", "regression"] | None, classes: str | None
) -> dict[str, Any]:
    """Return these options as arguments of :meth:`TrainedTabstar.ask`."""
    names = [name.strip() for name in classes.split(",")] if classes else []
    return {"table": table, "target": target, "task": task, "classes": names}


@click.command(
    epilog=examples(
        ("tabstar_lit predict model.ckpt new.csv -o predictions.parquet", "new rows"),
        ("tabstar_lit predict model.ckpt new.csv --table wine -o wine.parquet", "of one table"),
    )
)
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet file.")
@table_options
@batch_size_option(256)
@device_option
def predict(*, checkpoint: Path, data: Path, output: Path, batch_size: int, device: str, **about: Any) -> None:
    """Write the predictions for the rows of DATA, a CSV, TSV or Parquet file, by the model in CHECKPOINT.

    DATA has the columns of a table of the training; its target may be missing. Written are the class or the number that
    is predicted, and for classes their probabilities. Rows are read and written some thousands at a time.

    A table that was not trained on is predicted if --target and --classes (or --task regression) describe it:
    zero-shot, which nothing vouches for.
    """
    import pyarrow as pa

    from tabstar_lit.data.outputs import write_parquet
    from tabstar_lit.data.progress import progress_bar
    from tabstar_lit.families.tabstar.deployment.trained import restore

    model = restore(checkpoint)
    asked = model.ask(data, **described(**about), device=device)
    counts: list[int] = []

    def tables() -> Any:
        for part in model.predicted(asked, batch_size):
            counts.append(len(part))
            yield pa.Table.from_pandas(part, preserve_index=False)

    write_parquet(output, tables(), n_rows=None, progress=progress_bar("predicting", "rows"))
    click.echo(f"wrote {output}: predictions for {sum(counts)} rows")


@click.command(
    epilog=examples(
        ("tabstar_lit embed model.ckpt new.csv -o vectors.parquet", "of rows"),
        ("tabstar_lit embed model.ckpt new.csv --cells -o vectors.npz", "of cells, too"),
    )
)
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet or NumPy (.npz) file.")
@table_options
@click.option("--cells", is_flag=True, help="Write the vectors of cells, too: M times as many numbers.")
@batch_size_option(256)
@device_option
def embed(
    *, checkpoint: Path, data: Path, output: Path, cells: bool, batch_size: int, device: str, **about: Any
) -> None:
    """Write a vector for each row of DATA, and with --cells for each of its cells, by the model in CHECKPOINT.

    A row's vector is what the prediction is made of; a cell's is the cell as its row has it. Both are as wide as the
    model.
    """
    from tabstar_lit.families.tabstar.deployment.embedding import write_vectors
    from tabstar_lit.families.tabstar.deployment.trained import restore

    asked = restore(checkpoint).ask(data, **described(**about), device=device)
    count = write_vectors(output, asked.server, asked.chunks, cells=cells, batch_size=batch_size)
    click.echo(f"wrote {output}: vectors of {count} rows")


@click.command(
    epilog=examples(
        ("tabstar_lit explain model.ckpt new.csv -o columns.csv", "overall"),
        ("tabstar_lit explain model.ckpt new.csv -o columns.csv --figure columns.png", "drawn"),
    )
)
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The table of columns, as CSV.")
@table_options
@click.option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True, help="How layers join.")
@click.option("--rows", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file of the shares of each row.")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Bars of the columns, such as f.png.")
@batch_size_option(64)
@device_option
def explain(
    *,
    checkpoint: Path,
    data: Path,
    output: Path,
    method: Literal["rollout", "mean", "last"],
    rows: Path | None,
    figure: Path | None,
    batch_size: int,
    device: str,
    **about: Any,
) -> None:
    """Write which columns of DATA the model in CHECKPOINT looks at, overall and with --rows for each row.

    Importance is the share of attention that goes from the target to the column. It says where the model looks, not
    what a change of the column would do.
    """
    from tabstar_lit.data.outputs import whole_file
    from tabstar_lit.families.tabstar.deployment.explaining import draw_importance
    from tabstar_lit.families.tabstar.deployment.explaining import explain as explained
    from tabstar_lit.families.tabstar.deployment.trained import restore

    asked = restore(checkpoint).ask(data, **described(**about), device=device)
    importance = explained(asked.server, asked.chunks, method=method, batch_size=batch_size)
    with whole_file(output) as part:
        importance.columns.to_csv(part, index=False)
    if rows is not None:
        with whole_file(rows) as part:
            importance.rows.to_parquet(part, index=False)
    if figure is not None:
        draw_importance(importance, figure, note=f"{data.name}, {len(importance.rows)} rows, {method}")
    for name, share in importance.columns.head(5)[["column", "importance"]].itertuples(index=False):
        click.echo(f"{share:7.1%}  {name}")
    click.echo(f"wrote {', '.join(str(path) for path in (output, rows, figure) if path is not None)}")


@click.command(
    epilog=examples(
        ("tabstar_lit export model.ckpt -o model.safetensors", "weights"),
        ("tabstar_lit export model.ckpt --tabstar -o folder", "for the package tabstar"),
    )
)
@checkpoint_argument
@click.option("--safetensors", "form", flag_value="safetensors", default="safetensors", help="Named weights (default).")
@click.option(
    "--checkpoint", "form", flag_value="checkpoint", help="A checkpoint: adapters become part of the weights."
)
@click.option("--tabstar", "form", flag_value="tabstar", help="A folder that the package tabstar loads.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The file; with --tabstar the folder."
)
def export(checkpoint: Path, form: str, output: Path) -> None:
    """Write the model in CHECKPOINT for others, with a model card beside it.

    One safetensors file has the weights and, as JSON in its metadata, sizes, tokenizer and tables. The folder of
    --tabstar is that of the package tabstar (v1) and can be given wherever this program takes a CHECKPOINT.
    """
    from tabstar_lit.families.tabstar.deployment.exporting import (
        export_checkpoint,
        export_official,
        export_safetensors,
    )
    from tabstar_lit.families.tabstar.deployment.trained import restore

    forms = {"safetensors": export_safetensors, "checkpoint": export_checkpoint, "tabstar": export_official}
    click.echo(f"wrote {', '.join(str(path) for path in forms[form](restore(checkpoint), output))}")
