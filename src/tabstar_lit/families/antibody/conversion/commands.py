"""What the family adds to ``tabstar_lit convert`` and ``data show``. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import examples, output_option


@click.command(epilog=examples(("tabstar_lit convert antibody pairs.yaml -o pairs.h5", "as pairs.yaml says")))
@click.argument("config", type=click.Path(path_type=Path))
@output_option("The pairs file; kept as it is when nothing changed.")
def antibody(config: Path, output: Path) -> None:
    """Make a file of antigen-antibody pairs of the tables and FASTA files that CONFIG names."""
    from tabstar_lit.families.antibody.conversion.config import read_conversion

    conversion = read_conversion(config)
    from tabstar_lit.families.antibody.conversion.convert import convert_pairs
    from tabstar_lit.families.antibody.conversion.show import describe, summary

    report = convert_pairs(conversion, output, progress=progress_bar("numbering", "chains"))
    if report.written:
        click.echo(describe(report.pairs))
    click.echo(outcome_line(output, report.written, summary(report.pairs)))


@click.command(
    name="antibody-checkpoint",
    epilog=examples(("tabstar_lit convert antibody-checkpoint theirs.pt -o model.ckpt", "theirs to ours")),
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@output_option("The checkpoint, for generate, predict and load_modules.")
def antibody_checkpoint(checkpoint: Path, output: Path) -> None:
    """Make a checkpoint of Ab_generative_model, transformer or LSTM, one of train_antibody."""
    from tabstar_lit.families.antibody.original import import_checkpoint

    click.echo(f"wrote {output}: {import_checkpoint(checkpoint, output)}")


def show_pairs(path: Path, figures: Path | None) -> None:
    """Print what is in a pairs file.

    Parameters
    ----------
    path : Path
        The file.
    figures : Path, optional
        Folder for figures of lengths and affinities.

    Raises
    ------
    DataError
        It is no pairs file, or damaged.
    """
    from tabstar_lit.families.antibody.conversion.show import describe, draw, summary
    from tabstar_lit.families.antibody.pairs.file import read_pairs

    pairs = read_pairs(path)
    click.echo(f"{path}: {summary(pairs)}")
    click.echo(describe(pairs))
    if figures is not None:
        click.echo(f"wrote {len(draw(pairs, figures))} figures to {figures}")
