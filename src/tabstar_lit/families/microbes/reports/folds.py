"""k-fold cross-validation over groups: a run for each fold, and one summary of all held-out samples together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from tabstar_lit.config import Loaded
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.folds import load_fold
from tabstar_lit.engine.run import run
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.microbes.classical.line import FittedLine, fit_line
from tabstar_lit.families.microbes.reports.judged import NETWORK, Judged, joined
from tabstar_lit.families.microbes.study.data import MicrobesData, paired
from tabstar_lit.families.microbes.trained import TrainedMicrobes, restore

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

Tell = Callable[[str], object]
GUESSED = {"auroc": 0.5, "r2": 0.0}
"""What a model scores that has learned nothing."""


def cross_validate(
    family: AnyFamily,
    overrides: Sequence[str],
    config_dir: Path | None,
    n_folds: int,
    *,
    argv: Sequence[str] = (),
    tell: Tell = print,
) -> list[Judged]:
    """Train on all folds but one, ``n_folds`` times, and judge each time the fold that was left out.

    Every stage is trained anew for each fold, so that no encoder has seen a sample it is judged on.

    Parameters
    ----------
    family : Family
        The family itself.
    overrides : sequence of str
        Settings as on the command line of ``train_microbes``.
    config_dir : Path or None
        Folder of the configuration.
    n_folds : int
        How many.
    argv : sequence of str
        The command line, for the records.
    tell : callable
        Gets a line about each fold.

    Returns
    -------
    list of Judged
        The held-out samples of each fold.

    Raises
    ------
    ConfigError
        The last stage trains no predictor.
    """
    judged = []
    for fold in range(n_folds):
        own = (*overrides, f"dataset_config.folds={{n: {n_folds}, fold: {fold}}}")
        loaded = load_fold(family, own, config_dir, fold)
        if loaded.stages[-1].experiment.model.role != "predictor":
            raise ConfigError("stages: the last stage must train a predictor, whose predictions are judged.")
        judged.append(judge_run(family, loaded, run(family, loaded, argv=argv)))
        tell(f"fold {fold + 1} of {n_folds}: {score_line(judged[-1])}")
    return judged


def judge_run(family: AnyFamily, loaded: Loaded[Any], directory: Any) -> Judged:
    """Judge the best predictor of a finished run on its test samples, and classical models beside it."""
    stage = loaded.stages[-1]
    data: MicrobesData = family.data(stage.experiment, directory.record()["seed"])
    return judge(best_of(stage.name, directory), data, fit_line(data))


def best_of(stage: str, directory: Any) -> TrainedMicrobes:
    """Return the best network of a stage of a finished run."""
    return restore(directory.checkpoints / directory.record()["stages"][stage]["best_checkpoint"])


def judge(trained: TrainedMicrobes, data: MicrobesData, line: FittedLine) -> Judged:
    """Judge a predictor and classical models on the test samples of the study that they were trained on."""
    rows, classical = data.rows("test"), line.predict(data.study, data.categories)
    predicted = {NETWORK: _network(trained, data, rows)}
    predicted |= {name: torch.from_numpy(own[rows]) for name, own in classical.items()}
    return Judged(data.facts, predicted, torch.from_numpy(data.targets.values[rows]), data.groups[rows])


def _network(trained: TrainedMicrobes, data: MicrobesData, rows: Any) -> torch.Tensor:
    with torch.inference_mode():
        batches = [data.val_dataset()[RowBatch(0, part)] for part in paired(rows, 64)]
        return torch.cat([trained.values(batch) for batch in batches]).double()


def summary(folds: Sequence[Judged], title: str) -> str:
    """Return a report in Markdown: each fold, all together, and how sure the network's lead or lag is."""
    whole = joined(folds)
    score, names = whole.score, list(whole.predicted)
    lines = [f"# {title}", "", f"| fold | samples | groups | {' | '.join(f'{name} {score}' for name in names)} |"]
    lines.append("| --- " * (3 + len(names)) + "|")
    for number, fold in enumerate(folds):
        own = fold.scores()
        cells = [f"{own[name][score]:.3f}" for name in names]
        lines.append(f"| {number} | {len(fold.true)} | {len(set(fold.groups.tolist()))} | {' | '.join(cells)} |")
    together = whole.scores()
    cells = [f"{together[name][score]:.3f}" for name in names]
    lines.append(f"| all | {len(whole.true)} | {len(set(whole.groups.tolist()))} | {' | '.join(cells)} |")
    lines += ["", "All scores of the samples of all folds together:", ""]
    kinds = list(together[NETWORK])
    lines += [f"| model | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|"]
    lines += [f"| {name} | {' | '.join(f'{together[name][kind]:.3f}' for kind in kinds)} |" for name in names]
    lines += ["", *(verdict(whole, name) for name in names if name != NETWORK)]
    return "\n".join(lines) + "\n"


def verdict(judged: Judged, other: str) -> str:
    """Say whether the network is better than another model, worse, or neither for sure; and where both are no use."""
    low, high = judged.difference(other)
    scores = judged.scores()
    lead = scores[NETWORK][judged.score] - scores[other][judged.score]
    what = "better than" if low > 0 else "worse than" if high < 0 else "not for sure better or worse than"
    useless = all(scores[name][judged.score] <= GUESSED[judged.score] for name in (NETWORK, other))
    return (
        f"- The network is {what} the {other} model: {judged.score} {lead:+.3f}, 95 % interval {low:+.3f} to "
        f"{high:+.3f} over groups drawn with replacement.{' Neither is better than guessing.' if useless else ''}"
    )


def score_line(judged: Judged) -> str:
    """Return the score of every model in a line."""
    return f"{judged.score} " + ", ".join(f"{name} {own[judged.score]:.3f}" for name, own in judged.scores().items())


def write_summary(path: Path, folds: Sequence[Judged], title: str) -> None:
    """Write the report, and all held-out predictions beside it as Parquet.

    Raises
    ------
    DataError
        A file cannot be written.
    """
    with whole_file(path) as part:
        part.write_text(summary(folds, title), encoding="utf-8")
    frames = []
    for number, fold in enumerate(folds):
        columns: dict[str, Any] = {"fold": number, "group": fold.groups}
        true = fold.true[:, None] if fold.true.ndim == 1 else fold.true
        columns |= {f"true_{place}": own for place, own in enumerate(true.numpy().T)}
        for name, predicted in fold.predicted.items():
            columns |= {f"{name}_{place}": own for place, own in enumerate(np.asarray(predicted).T)}
        frames.append(pd.DataFrame(columns))
    with whole_file(path.with_suffix(".parquet")) as part:
        pd.concat(frames, ignore_index=True).to_parquet(part, index=False)
