"""What the family adds to ``tabstar_lit``. Light to import: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.conversion import outcome_line
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import CommandGroup, checkpoint_argument, examples, output_option


@click.command(epilog=examples(("tabstar_lit convert microbiome study.yaml -o study.h5", "as study.yaml says")))
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


@click.group(
    cls=CommandGroup,
    epilog=examples(
        ("tabstar_lit microbes unifrac table.biom tree.nwk -o unifrac.h5", "distances"),
        ("tabstar_lit microbes folds -o folds.md", "cross-validate"),
    ),
)
def microbes() -> None:
    """Work with tables, trees and studies of microbial communities."""


@microbes.command(
    "unifrac",
    epilog=examples(
        ("tabstar_lit microbes unifrac table.biom tree.nwk -o unifrac.h5", "unweighted"),
        ("tabstar_lit microbes unifrac table.qza tree.qza -o d.tsv --metric weighted", "as text"),
    ),
)
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


@microbes.command(
    epilog=examples(
        ("tabstar_lit microbes folds -o folds.md", "the shipped study"),
        ("tabstar_lit microbes folds dataset_config.study=study.h5 -n 10 -o folds.md", "your own"),
    )
)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("-n", "--folds", "n_folds", type=click.IntRange(min=2), default=5, show_default=True, help="How many.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder with training_config.yaml and its groups.")
@output_option("The report, in Markdown; held-out predictions are written beside it as Parquet.")
def folds(*, overrides: tuple[str, ...], n_folds: int, config_dir: Path | None, output: Path) -> None:
    """Cross-validate: train_microbes with KEY=VALUE for each fold of groups, and one summary of all.

    Network and classical models are judged on the same held-out samples. Every stage is trained anew for each fold.
    """
    import sys

    from tabstar_lit.families import get_family
    from tabstar_lit.families.microbes.reports.folds import cross_validate, verdict, write_summary
    from tabstar_lit.families.microbes.reports.judged import NETWORK, joined

    judged = cross_validate(get_family("microbes"), overrides, config_dir, n_folds, argv=sys.argv, tell=click.echo)
    write_summary(output, judged, f"{n_folds} folds of groups: {', '.join(judged[0].facts.targets)}")
    whole = joined(judged)
    for name in whole.predicted:
        if name != NETWORK:
            click.echo(verdict(whole, name))
    click.echo(f"wrote {output} and {output.with_suffix('.parquet').name}")


@microbes.command(
    epilog=examples(
        ("tabstar_lit microbes robustness model.ckpt study.h5 -o report.md", "disturbed"),
        ("tabstar_lit microbes robustness model.ckpt own.h5 --on other.h5 -o r.md", "elsewhere"),
    )
)
@checkpoint_argument
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--on", type=click.Path(path_type=Path), help="Judge all samples of this study instead of held-out ones.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Draws of each disturbance.")
@output_option("The report, in Markdown.")
def robustness(*, checkpoint: Path, study: Path, on: Path | None, repeats: int, output: Path) -> None:
    """Judge the predictor in CHECKPOINT, trained on STUDY, on disturbed samples or on another study.

    A forest and a linear model, trained on the same samples, stand beside it. Taxa are dropped, zeros and spurious
    counts added.
    """
    from tabstar_lit.families.microbes.reports.robustness import report, score_name, write_report
    from tabstar_lit.families.microbes.reports.robustness import robustness as judge
    from tabstar_lit.families.microbes.study.study import read_study
    from tabstar_lit.families.microbes.trained import restore

    trained, own = restore(checkpoint), read_study(study)
    other = None if on is None else read_study(on)
    rows = judge(trained, own, other, repeats)
    title = f"Trained on {own.name}, judged on {'its held-out samples' if other is None else other.name}"
    text = report(rows, title, score_name(trained))
    write_report(output, text)
    click.echo(text, nl=False)
    click.echo(f"wrote {output}")
