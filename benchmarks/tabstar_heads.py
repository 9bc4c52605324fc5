"""Does another head help regression? Heads compared on the left-out tables of :mod:`benchmarks.tabstar_leftout`.

``python -m benchmarks.tabstar_heads --jobs 4`` spreads the trainings over processes; those of the other are shared.
``--arm encoder_only --way periodic_offset --seeds 1`` compares other ways of regression, without a pretraining.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import pandas as pd

from benchmarks.page import Section, print_results, results_table
from benchmarks.tabstar_leftout import HEADS, LEFT_OUT, Budget, Job, mean_and_error, scores
from benchmarks.tabstar_results import find_manifest
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

BASELINE = "scalar"
HEAD_WORDS = {
    BASELINE: "a number, up to 3",
    "both": "both, 200 bins up to 10 (v1.1)",
    "six": "six numbers for a number (v1.1)",
    "periodic": "six numbers and 16 waves of them",
    "offset": "added to an additive model",
    "periodic_offset": "six numbers and 16 waves, added to an additive model",
    "quantile": "quantiles of the target",
    "huber": "Huber's error",
}
WAYS = ("both",)
"""What the page compares."""

TEXT = """\
The {n} left-out regression tables again, fine-tuned from the same pretraining as above with another, new head: it says
a number and shares of bins, whose mean is the other half of the prediction, and learns targets up to 10 standard
deviations, as in the package's v1.1. The head for one number, whose pretrained weights are kept, learns them up to 3,
as published. Scores are R² of held-out rows in the target's own unit, with whatever tail they have. Errors are
standard errors over seeds; the gain is the mean of paired differences to the first column, over tables and seeds.
"""


def run(budget: Budget, ways: Sequence[str] = WAYS, arm: str = "pretrained") -> Section:
    """Train every regression table in every way, and tell."""
    tasks = {entry.name: entry.task for entry in read_manifest(find_manifest())}
    names = [name for name in budget.left_out if tasks[name] == "regression"]
    heads: list[str | None] = [None, *ways]
    seeds = range(budget.seeds)
    jobs = [Job(name, arm, seed, budget, head) for head in heads for name in names for seed in seeds]
    found = scores(jobs, budget.jobs).assign(head=lambda frame: frame["head"].fillna(BASELINE))
    own = found.pivot_table(index=["table", "seed"], columns="head", values="score")
    gains = own.drop(columns=BASELINE).sub(own[BASELINE], axis=0)
    best = str(gains.mean().idxmax())
    results = {"tabstar.regression_head_gain": float(gains[best].mean())}
    told = ", ".join(f"{gain:+.3f} with {HEAD_WORDS[head]}" for head, gain in gains.mean().items())
    lines = [TEXT.format(n=len(names)), f"Mean differences: {told}.", "", *results_table(results)]
    return Section("Heads for regression", [*lines, *by_table(found, names)], results)


def by_table(found: pd.DataFrame, names: list[str]) -> list[str]:
    """Return mean and standard error over seeds of each table and head, and the mean over tables."""
    own = found.set_index(["table", "head"])["score"].sort_index()
    heads = [head for head in HEAD_WORDS if head in set(found["head"])]
    rows = [(name, *(mean_and_error(own.loc[name, head]) for head in heads)) for name in names]
    means = ("mean", *(f"{own.xs(head, level='head').mean():.3f}" for head in heads))
    return table(("table", *(HEAD_WORDS[head] for head in heads)), [*rows, means])


def heads() -> Section:
    """Run it as ``make results`` does."""
    return run(Budget())


@click.command()
@click.option("--seeds", type=int, default=Budget().seeds)
@click.option("--jobs", type=int, default=1)
@click.option("--way", "ways", multiple=True, default=WAYS, type=click.Choice(list(HEADS)))
@click.option("--arm", default="pretrained", type=click.Choice(["pretrained", "encoder_only"]))
@click.option("--table", "left_out", multiple=True, default=LEFT_OUT, type=click.Choice(LEFT_OUT))
def main(ways: tuple[str, ...], arm: str, **budget: Any) -> None:
    """Print what the comparison finds with another budget than the page has, or of other ways."""
    section = run(Budget(**budget), ways, arm)
    click.echo("\n".join(section.lines))
    print_results(section)


if __name__ == "__main__":
    main()
