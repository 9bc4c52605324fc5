"""Does another head help regression? Heads compared on the left-out tables of :mod:`benchmarks.tabstar_leftout`.

``python -m benchmarks.tabstar_heads --jobs 4`` spreads the trainings over processes; those of the other are shared.
"""

from __future__ import annotations

from typing import Any

import click
import pandas as pd

from benchmarks.page import Section, print_results, results_table
from benchmarks.tabstar_leftout import HEADS, Budget, Job, mean_and_error, scores
from benchmarks.tabstar_results import find_manifest
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

BASELINE = "scalar"
HEAD_WORDS = {
    BASELINE: "a number, up to 3",
    "both": "both, 200 bins up to 10 (v1.1)",
}

TEXT = """\
The {n} left-out regression tables again, fine-tuned from the same pretraining as above with another, new head: it says
a number and shares of bins, whose mean is the other half of the prediction, and learns targets up to 10 standard
deviations, as in the package's v1.1. The head for one number, whose pretrained weights are kept, learns them up to 3,
as published. Scores are R² of held-out rows in the target's own unit, with whatever tail they have. Errors are
standard errors over seeds; the gain is the mean of paired differences to the first column, over tables and seeds.
"""


def run(budget: Budget) -> Section:
    """Fine-tune every regression table with every head, and tell."""
    tasks = {entry.name: entry.task for entry in read_manifest(find_manifest())}
    names = [name for name in budget.left_out if tasks[name] == "regression"]
    heads: list[str | None] = [None, *HEADS]
    seeds = range(budget.seeds)
    jobs = [Job(name, "pretrained", seed, budget, head) for head in heads for name in names for seed in seeds]
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
    rows = [(name, *(mean_and_error(own.loc[name, head]) for head in HEAD_WORDS)) for name in names]
    means = found.groupby("head")["score"].mean()
    return table(("table", *HEAD_WORDS.values()), [*rows, ("mean", *(f"{means[head]:.3f}" for head in HEAD_WORDS))])


def heads() -> Section:
    """Run it as ``make results`` does."""
    return run(Budget())


@click.command()
@click.option("--seeds", type=int, default=Budget().seeds)
@click.option("--jobs", type=int, default=1)
def main(**budget: Any) -> None:
    """Print what the comparison finds with another budget than the page has."""
    section = run(Budget(**budget))
    click.echo("\n".join(section.lines))
    print_results(section)


if __name__ == "__main__":
    main()
