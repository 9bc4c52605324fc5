"""k-fold cross-validation: a run for each fold, and what their scores say together. Families choose the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tabstar_lit.config import Loaded, load_experiment
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.reports.markdown import table


def load_fold(family: AnyFamily, overrides: Sequence[str], config_dir: Path | None, fold: int) -> Loaded[Any]:
    """Return the experiment of one fold: of ``overrides``, under a name of its own where they name the run."""

    def load(*more: str) -> Loaded[Any]:
        return load_experiment(
            family.schema(),
            command=family.command,
            overrides=[*overrides, *more],
            config_dir=config_dir,
            family_directory=family.name,
            family_files=family.configurations(),
        )

    loaded = load()
    name = loaded.experiment.experiment_config.run_name
    return loaded if name is None else load(f"experiment_config.run_name={name}_fold{fold}")


def fold_table(
    scores: Sequence[Mapping[str, float]], together: Mapping[str, float], counts: Sequence[int]
) -> list[str]:
    """Return the lines of a Markdown table: each fold, their mean and standard deviation, and all rows together.

    Parameters
    ----------
    scores : sequence of Mapping of str to float
        Of each fold, two at least, by name.
    together : Mapping of str to float
        Of the held-out rows of all folds as one set.
    counts : sequence of int
        Held-out rows of each fold.
    """
    names = list(together)
    columns = {name: [own[name] for own in scores] for name in names}
    folds = enumerate(zip(counts, scores, strict=True))
    rows: list[Sequence[object]] = [(fold, count, *(own[name] for name in names)) for fold, (count, own) in folds]
    rows.append(("mean ± spread", "", *(f"{mean(own):.4f} ± {stdev(own):.4f}" for own in columns.values())))
    rows.append(("all rows together", sum(counts), *together.values()))
    return table(("fold", "rows", *names), rows)
