"""What the family adds to ``tabstar_lit convert``. Light to import: the work is imported when it is done."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import item_progress
from tabstar_lit.engine.options import CommandGroup, examples, output_option
from tabstar_lit.errors import DataError

if TYPE_CHECKING:
    from tabstar_lit.families.tabstar.tables.converter import Report, Source
    from tabstar_lit.families.tabstar.tables.encoding import Settings

WIDTH = 116


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both commands understand."""
    for option in (
        click.option(
            "--bin-labels",
            type=click.Choice(["official", "numeric"]),
            default="official",
            show_default=True,
            help="Outer bins of numbers: as pretrained weights know them, or by true minimum and maximum.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the validation split."),
        output_option("The corpus; what did not change in it is kept."),
    ):
        command = option(command)
    return command


@click.command(epilog=examples(("tabstar_lit convert tables tables.yaml -o tables.h5", "as tables.yaml says")))
@click.argument("manifest", type=click.Path(path_type=Path))
@_options
def tables(manifest: Path, output: Path, seed: int, bin_labels: str) -> None:
    """Make a corpus of the CSV and Parquet tables that MANIFEST names."""
    from tabstar_lit.families.tabstar.tables.manifest import read_manifest

    entries = read_manifest(manifest)
    from tabstar_lit.families.tabstar.tables.converter import FileSource, convert

    sources = [FileSource(entry, manifest.parent / entry.file) for entry in entries]
    _print(convert(sources, output, settings=_settings(seed, bin_labels), progress=_progress()))


@click.command(epilog=examples(("tabstar_lit convert builtin -o builtin.h5", "five real tables")))
@_options
def builtin(output: Path, seed: int, bin_labels: str) -> None:
    """Make a corpus of five real tables that scikit-learn carries; needs no data of yours."""
    from tabstar_lit.families.tabstar.tables.builtin import SOURCES
    from tabstar_lit.families.tabstar.tables.converter import convert

    _print(convert(SOURCES, output, settings=_settings(seed, bin_labels), progress=_progress()))


@click.group(cls=CommandGroup, epilog=examples(("tabstar_lit tabstar folds tables.yaml -o folds.md", "cross-validate")))
def tabstar() -> None:
    """Work with tables."""


@tabstar.command(
    epilog=examples(
        ("tabstar_lit tabstar folds tables.yaml -o folds.md", "the one table of it"),
        ("tabstar_lit tabstar folds tables.yaml --table wine -n 10 -o folds.md", "of several"),
    )
)
@click.argument("manifest", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--table", help="Which table of MANIFEST; not needed where there is one.")
@click.option("-n", "--folds", "n_folds", type=click.IntRange(min=2), default=5, show_default=True, help="How many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the folds.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder with training_config.yaml and its groups.")
@output_option("The report, in Markdown; predictions of all rows are written beside it as Parquet.")
def folds(
    *,
    manifest: Path,
    overrides: tuple[str, ...],
    table: str | None,
    n_folds: int,
    seed: int,
    config_dir: Path | None,
    output: Path,
) -> None:
    """Cross-validate: train_tabstar with KEY=VALUE on all folds of a table of MANIFEST but one, for each of them.

    Whatever is fitted, scales and bins included, has not seen the rows it is judged on. The corpora of the folds stay
    beside the report.
    """
    import sys

    from tabstar_lit.families import get_family
    from tabstar_lit.families.tabstar.finetuning.folds import Folds, cross_validate, write_report
    from tabstar_lit.families.tabstar.tables.converter import FileSource
    from tabstar_lit.families.tabstar.tables.manifest import chosen_entry, read_manifest

    entry = chosen_entry(read_manifest(manifest), table)
    plan = Folds(n_folds, seed, output.with_name(f"{output.stem}_folds"))
    source = FileSource(entry, manifest.parent / entry.file)
    argv = [Path(sys.argv[0]).name, *sys.argv[1:]]
    found = cross_validate(get_family("tabstar"), source, plan, overrides, config_dir, argv=argv, tell=click.echo)
    click.echo(write_report(output, entry, found), nl=False)
    click.echo(f"wrote {output} and {output.with_suffix('.parquet').name}")


def _settings(seed: int, bin_labels: str) -> Settings:
    from tabstar_lit.families.tabstar.tables.encoding import Settings

    return Settings(seed=seed, bin_labels="numeric" if bin_labels == "numeric" else "official")


def _progress() -> Callable[[Sequence[Source]], Iterable[Source]]:
    return item_progress("converting", "table", lambda source: source.entry.name)


def _print(report: Report) -> None:
    width = max(len(summary.name) for summary in report.tables)
    click.echo(
        f"{'table':{width}}  {'task':14}  {'rows':>8}  {'columns':>7}  {'strings':>8}  {'validation':>10}  {'kB':>8}"
    )
    for row in report.tables:
        click.echo(
            f"{row.name:{width}}  {row.task:14}  {row.rows:8}  {row.columns:7}  {row.strings:8}"
            f"  {row.validation_rows:10}  {row.stored_bytes / 1e3:8.1f}{'' if row.kept else '  new'}"
        )
        if not row.kept:
            click.echo(textwrap.fill(", ".join(row.kinds), WIDTH, initial_indent="  ", subsequent_indent="  "))
        for warning in row.warnings:
            click.echo(f"warning: table '{row.name}': {warning}", err=True)
    kept = sum(row.kept for row in report.tables)
    what = f"{len(report.tables) - kept} tables converted, {kept} kept"
    if report.problems:
        what += f", {len(report.problems)} left out"
    click.echo(outcome_line(report.path, report.written, what))
    if report.problems:
        raise DataError("\n".join(report.problems))
    click.echo(f"train on it with: train_tabstar dataset_config=tabstar/corpus dataset_config.corpus={report.path}")
