"""Does another way of regression help? Compared on the left-out tables of :mod:`benchmarks.tabstar_leftout`.

``python -m benchmarks.tabstar_heads --jobs 4`` spreads the trainings over processes; those of the other are shared.
``--arm pretrained --way both`` compares other ways, after a pretraining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

from benchmarks.page import Section, print_results, results_table
from benchmarks.tabstar_leftout import HEADS, LEFT_OUT, OFFSET, Budget, Job, mean_and_error, scores
from benchmarks.tabstar_results import CORPUS, find_manifest
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.tabstar.offsets import less_offsets
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

BASELINE = "scalar"
HEAD_WORDS = {
    BASELINE: "a number, up to 3",
    "both": "both, 200 bins up to 10 (v1.1)",
    "six": "six numbers for a number (v1.1)",
    "periodic": "six numbers and 16 waves of them",
    "offset": "added to an additive model",
    "periodic_offset": "six numbers and 16 waves, added to an additive model",
    "trees": "added to boosted trees",
    "six_trees": "six numbers, added to boosted trees",
    "periodic_trees": "six numbers and 16 waves, added to boosted trees",
    "quantile": "quantiles of the target",
    "huber": "Huber's error",
}
WAYS = ("trees", "periodic_trees")
"""What the page compares."""

ARM = "encoder_only"

TEXT = """\
The {n} left-out regression tables again, each learnt by a new network on the fixed sentence encoder: as in the second
column above, measured anew, and with targets less what boosted trees say of them
([how](families/tabstar.md#regression)): trees on numbers and common texts, cross-fitted to the same training rows,
which the network's output is added to. *The trees alone* are these without a network; `regression_gain_over_start` is
what the network adds to them. Scores are R² of held-out rows in the target's own unit, with whatever tail they have.
Errors are standard errors over seeds; gains are means of paired differences to the first column, over tables and seeds.
Of the two ways, the shipped configuration has the one that was ahead with the first seed.

Another head, without an offset, was behind: both, a number and 200 bins up to 10 as in the package's v1.1, gave -0.013
over the same tables and three seeds when fine-tuned from the pretraining (`--arm pretrained --way both`).
"""


def run(budget: Budget, ways: Sequence[str] = WAYS, arm: str = ARM) -> Section:
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
    starts = {
        f"{kind} alone": {name: start_alone(name, str(kind)) for name in names}
        for kind in dict.fromkeys(HEADS[way][OFFSET] for way in ways if OFFSET in HEADS[way])
    }
    results = {"tabstar.regression_head_gain": float(gains[best].mean())}
    if OFFSET in HEADS[best]:
        start = np.mean(list(starts[f"{HEADS[best][OFFSET]} alone"].values()))
        results["tabstar.regression_gain_over_start"] = float(own[best].mean() - start)
    told = ", ".join(f"{gain:+.3f} with {HEAD_WORDS[head]}" for head, gain in gains.mean().items())
    lines = [TEXT.format(n=len(names)), f"Mean differences: {told}.", "", *results_table(results)]
    return Section("Heads for regression", [*lines, *by_table(found, names, starts)], results)


def start_alone(name: str, kind: str) -> float:
    """Return the score of what predictions start from: R² of held-out rows."""
    own = Corpus.open(roots().data / CORPUS).load(name)
    _, offsets = less_offsets(own, np.arange(len(own.feature_names)), kind)
    return float(r2_score(own.targets[own.is_validation], offsets[own.is_validation]))


def by_table(found: pd.DataFrame, names: list[str], starts: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return mean and standard error over seeds of each table and head, what starts score, and the mean over tables."""
    own = found.set_index(["table", "head"])["score"].sort_index()
    heads = [head for head in HEAD_WORDS if head in set(found["head"])]
    rows = [
        (name, *(mean_and_error(own.loc[name, head]) for head in heads), *(f"{of[name]:.3f}" for of in starts.values()))
        for name in names
    ]
    means = [own.xs(head, level="head").mean() for head in heads]
    means += [np.mean(list(of.values())) for of in starts.values()]
    columns = ("table", *(HEAD_WORDS[head] for head in heads), *(f"the {start}" for start in starts))
    return table(columns, [*rows, ("mean", *(f"{mean:.3f}" for mean in means))])


def heads() -> Section:
    """Run it as ``make results`` does."""
    return run(Budget())


@click.command()
@click.option("--seeds", type=int, default=Budget().seeds)
@click.option("--jobs", type=int, default=1)
@click.option("--way", "ways", multiple=True, default=WAYS, type=click.Choice(list(HEADS)))
@click.option("--arm", default=ARM, type=click.Choice(["pretrained", "encoder_only"]))
@click.option("--table", "left_out", multiple=True, default=LEFT_OUT, type=click.Choice(LEFT_OUT))
def main(ways: tuple[str, ...], arm: str, **budget: Any) -> None:
    """Print what the comparison finds with another budget than the page has, or of other ways."""
    section = run(Budget(**budget), ways, arm)
    click.echo("\n".join(section.lines))
    print_results(section)


if __name__ == "__main__":
    main()
