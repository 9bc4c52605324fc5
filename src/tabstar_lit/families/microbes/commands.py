"""What the family adds to ``tabstar_lit``. Light to import: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import output_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@output_option("The study file; kept as it is when nothing changed.")
def microbiome(config: Path, output: Path) -> None:
    """Make a study file of the table, tree, sequences and metadata that CONFIG names."""
    from tabstar_lit.families.microbes.conversion.config import read_conversion

    conversion = read_conversion(config)
    from tabstar_lit.families.microbes.conversion.convert import convert_study

    report = convert_study(conversion, output, progress=progress_bar("UniFrac", "pairs"))
    study = report.study
    what = f"{len(study)} samples, {len(study.asv_ids)} features, {len(set(study.groups()))} groups"
    click.echo(outcome_line(output, report.written, what))
    for line in report.lines:
        click.echo(f"- {line}")


@click.group()
def microbes() -> None:
    """Work with tables, trees and studies of microbial communities."""


@microbes.command("unifrac")
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("tree", type=click.Path(path_type=Path))
@output_option("The HDF5 file: 'matrix' and 'order', as ssu writes them; .tsv writes text.")
@click.option(
    "--metric",
    type=click.Choice(["unweighted", "weighted", "weighted_normalized", "generalized"]),
    default="unweighted",
    show_default=True,
    help="Which UniFrac.",
)
@click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Exponent of --metric generalized."
)
@click.option("--rarefy", type=click.IntRange(min=1), help="Draw this many reads of each sample first.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --rarefy.")
@click.option(
    "--without-tip",
    type=click.Choice(["drop", "refuse"]),
    default="drop",
    show_default=True,
    help="What to do with features that are no tips.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Default: all processors this process may use.")
def unifrac_command(
    *,
    table: Path,
    tree: Path,
    output: Path,
    metric: str,
    alpha: float,
    rarefy: int | None,
    seed: int,
    without_tip: str,
    threads: int | None,
) -> None:
    """Write the UniFrac distances between all samples of TABLE (.biom, .tsv, .csv, .qza) on TREE (Newick, .qza)."""
    from tabstar_lit.families.microbes.unifrac.tool import Options, compute

    options = Options(metric, alpha, rarefy, seed, without_tip, threads)
    for line in compute(table, tree, output, options, progress=progress_bar("UniFrac", "pairs")):
        click.echo(line)
