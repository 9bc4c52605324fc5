"""What the family adds to ``tabstar_lit convert`` and ``data show``. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import examples, output_option

if TYPE_CHECKING:
    from tabstar_lit.families.experts.text.converter import Report


@click.command(
    epilog=examples(
        ("tabstar_lit convert text texts -o texts.h5", "bytes"),
        ("tabstar_lit convert text texts -o texts.h5 --train-bpe 8192", "an encoding of your own"),
    )
)
@click.argument("root", type=click.Path(path_type=Path))
@output_option("The corpus; domains that did not change are kept as they are.")
@click.option(
    "--tokenizer",
    help="bytes (default), a tokenizer.json, a folder with a tokenizer, or the name of one on the Hugging Face hub.",
)
@click.option(
    "--train-bpe",
    "bpe",
    type=click.IntRange(min=1),
    metavar="SIZE",
    help="Train a byte-pair encoding of SIZE tokens on all the texts and use it.",
)
def text(*, root: Path, output: Path, tokenizer: str | None, bpe: int | None) -> None:
    """Make a corpus of tokens of the texts ROOT/<domain>/*.jsonl.

    A line is a JSON object, of which "text" is read. The name of the folder is the name of the domain.
    """
    if tokenizer is not None and bpe is not None:
        raise click.UsageError("--tokenizer names a tokenizer and --train-bpe makes one; give one of them.")
    from tabstar_lit.families.experts.text.converter import convert_text

    progress = progress_bar("converting", "bytes")
    report = convert_text(root, output, tokenizer=tokenizer or "bytes", bpe=bpe, progress=progress)
    _print(report)


def show_text(path: Path, figures: Path | None) -> None:
    """Print what is in a corpus of text.

    Parameters
    ----------
    path : Path
        The file.
    figures : Path, optional
        Not used: there is nothing to draw of tokens.

    Raises
    ------
    DataError
        It is no corpus of text, or damaged.
    """
    from tabstar_lit.families.experts.text.show import describe

    click.echo(describe(path))
    if figures is not None:
        click.echo("no figures: a corpus of text has no columns to draw")


def _print(report: Report) -> None:
    width = max(len("domain"), *(len(summary.name) for summary in report.domains))
    click.echo(f"{'domain':{width}}  {'files':>5}  {'documents':>9}  {'bytes':>11}  {'tokens':>11}")
    for row in report.domains:
        new = "" if row.kept else "  new"
        click.echo(f"{row.name:{width}}  {row.files:5}  {row.documents:9}  {row.n_bytes:11}  {row.tokens:11}{new}")
        if row.repeated:
            click.echo(
                f"note: domain '{row.name}': {row.repeated} documents repeat another one word for word", err=True
            )
    kept = sum(row.kept for row in report.domains)
    what = f"{len(report.domains) - kept} domains converted, {kept} kept, vocabulary of {report.vocabulary_size} tokens"
    click.echo(outcome_line(report.path, report.written, what))
    click.echo(f"train on it with: train_experts dataset_config=experts/text dataset_config.corpus={report.path}")
