"""What event families add to ``tabstar_lit convert`` and ``data show``. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import examples, output_option


@click.command(epilog=examples(("tabstar_lit convert events events.yaml -o events.h5", "as events.yaml says")))
@click.argument("config", type=click.Path(path_type=Path))
@output_option("The event file; kept as it is when nothing changed.")
def events(config: Path, output: Path) -> None:
    """Make an event file of the CSV, Parquet, ROOT or HDF5 files that CONFIG names."""
    from tabstar_lit.families.hep.events.conversion_config import read_conversion

    conversion = read_conversion(config)
    from tabstar_lit.families.hep.events.conversion import convert_events

    report = convert_events(conversion, output, progress=progress_bar("converting"))
    for line in report.notes:
        click.echo(f"note: {line}", err=True)
    file = report.file
    classes = f"classes {', '.join(file.classes)}" if file.classes else "no classes"
    click.echo(outcome_line(output, report.written, f"{file.n_events} of {report.n_read} events, {classes}"))
    if report.written:
        click.echo(f"look into it with: tabstar_lit data show {output}")
    if report.written and file.classes:
        network = "" if file.objects else "model_config=signal/mlp "
        click.echo(
            f"train on it with: train_signal {network}dataset_config=signal/events dataset_config.files={output}"
        )


def show_events(path: Path, figures: Path | None) -> None:
    """Print what is in an event file.

    Parameters
    ----------
    path : Path
        The file.
    figures : Path, optional
        Folder for histograms of all columns.

    Raises
    ------
    DataError
        If it is no event file, or damaged.
    """
    from tabstar_lit.families.hep.events.file import EventFile
    from tabstar_lit.families.hep.events.show import describe, draw

    file = EventFile.open(path)
    click.echo(describe(file))
    if figures is not None:
        click.echo(f"wrote {len(draw(file, figures))} figures to {figures}")
