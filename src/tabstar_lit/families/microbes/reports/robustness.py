"""A trained predictor and classical models on disturbed samples, and on those of another study, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tabstar_lit.arrays import Int64
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.microbes.classical.line import FittedLine, fit_line
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.reports.disturbed import DISTURBANCES
from tabstar_lit.families.microbes.reports.judged import NETWORK, Judged
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.labels import Targets, group_codes, read_targets
from tabstar_lit.families.microbes.study.splits import SIDES
from tabstar_lit.families.microbes.study.study import Study
from tabstar_lit.families.microbes.trained import TrainedMicrobes

AS_IT_IS = "as it is"


class Row(NamedTuple):
    """Scores of one condition: mean and standard deviation over repetitions, by model."""

    condition: str
    means: Mapping[str, float]
    spreads: Mapping[str, float]


def robustness(trained: TrainedMicrobes, study: Study, other: Study | None = None, repeats: int = 5) -> list[Row]:
    """Score network and classical models on samples they have not seen, as they are and disturbed.

    Parameters
    ----------
    trained : TrainedMicrobes
        A predictor.
    study : Study
        That of its training: classical models are trained on the same samples, and held-out ones are scored.
    other : Study, optional
        Score all samples of another study instead, which has the same target.
    repeats : int
        Draws of each disturbance.

    Raises
    ------
    CheckpointError
        The checkpoint is no predictor, or the study is not the one that it was trained on.
    DataError
        The other study lacks the target, or any of its classes.
    """
    if trained.role != "predictor":
        raise CheckpointError(f"{trained.path} is an encoder; a predictor is judged here.")
    data = _training_data(trained, study)
    line = fit_line(data)
    asked = held_out(trained, study) if other is None else other
    return [scored(condition, own) for condition, own in judge_disturbed(trained, line, asked, repeats).items()]


def judge_disturbed(
    trained: TrainedMicrobes, line: FittedLine, study: Study, repeats: int = 5
) -> dict[str, list[Judged]]:
    """Judge network and classical models on the samples of a study as they are, and on draws of each disturbance.

    Returns
    -------
    dict of str to list of Judged
        By condition, :data:`AS_IT_IS` first, of one draw; the others are of ``repeats``.
    """
    targets = _targets_of(trained, study)
    found = {AS_IT_IS: [_judged(trained, line, study, targets)]}
    for condition, disturb in DISTURBANCES.items():
        found[condition] = [_judged(trained, line, disturb(study, seed), targets) for seed in range(repeats)]
    return found


def report(rows: list[Row], title: str, score: str) -> str:
    """Return the scores as a table in Markdown, with what each disturbance costs."""
    names = list(rows[0].means)
    lines = [f"# {title}", "", f"| samples | {' | '.join(f'{name} {score}' for name in names)} |"]
    lines.append("| --- " * (1 + len(names)) + "|")
    for row in rows:
        cells = [f"{row.means[name]:.3f}" for name in names]
        if row.condition != AS_IT_IS:
            cells = [
                f"{cell} ± {row.spreads[name]:.3f} ({row.means[name] - rows[0].means[name]:+.3f})"
                for cell, name in zip(cells, names, strict=True)
            ]
        lines.append(f"| {row.condition} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def score_name(trained: TrainedMicrobes) -> str:
    """Return the score that is reported: ``auroc`` or ``r2``."""
    return "auroc" if trained.facts.kind == "classification" else "r2"


def _training_data(trained: TrainedMicrobes, study: Study) -> MicrobesData:
    """Return the samples of the training, split as they were."""
    kept = trained.config["study"]
    known = set(study.sample_ids)
    if absent := [name for own in kept["samples"].values() for name in own if name not in known]:
        raise CheckpointError(
            f"{trained.path} was trained on the study '{kept['name']}', and '{study.name}' lacks {len(absent)} of its "
            f"samples, such as '{absent[0]}'. Give the study file of the training."
        )
    config = MicrobesDataset(
        name=study.name,
        target=trained.facts.targets,
        categories=tuple(kept["categories"]),
        max_asvs=kept["max_asvs"],
        max_bases=kept["max_bases"],
    )
    data = MicrobesData(config, study, seed=0, labelled=True)
    side = {name: number for number, own in enumerate(SIDES) for name in kept["samples"][own]}
    data.sides = np.array([side.get(name, len(SIDES)) for name in study.sample_ids], dtype=np.int8)
    return data


def held_out(trained: TrainedMicrobes, study: Study) -> Study:
    """Return the test samples of the training; without any, those of validation."""
    kept = trained.config["study"]["samples"]
    wanted = set(kept["test"] or kept["val"])
    return subset(study, np.array([row for row, name in enumerate(study.sample_ids) if name in wanted]))


def subset(study: Study, rows: Int64) -> Study:
    """Return some samples of a study, without distances."""
    counts = Ragged(study.counts, study.members.offsets).take(rows)
    return replace(
        study,
        sample_ids=tuple(study.sample_ids[row] for row in rows),
        members=study.members.take(rows),
        counts=counts.flat,
        numbers={name: own[rows] for name, own in study.numbers.items()},
        classes={name: replace(own, codes=own.codes[rows]) for name, own in study.classes.items()},
        distances=None,
        faith_pd=None,
    )


def _targets_of(trained: TrainedMicrobes, study: Study) -> Targets:
    """Return the targets of samples with the numbers that classes have in the network."""
    facts = trained.facts
    if facts.kind != "classification":
        return read_targets(study, facts.targets)
    name = facts.targets[0]
    study.require_column(name, "target")
    if name not in study.classes:
        raise DataError(f"the study '{study.name}' has numbers in '{name}', which the network knows as classes.")
    column = study.classes[name]
    numbers = np.array([facts.classes.index(own) if own in facts.classes else -1 for own in column.labels] + [-1])
    values = numbers[column.codes].astype(np.int64)
    if len(np.unique(values[values >= 0])) < 2:
        raise DataError(
            f"the study '{study.name}' has fewer than two of the classes {', '.join(facts.classes)} in '{name}': it "
            f"has {', '.join(column.labels[:8])}. Nothing can be told apart."
        )
    return Targets("classification", facts.targets, facts.classes, values)


def _judged(trained: TrainedMicrobes, line: FittedLine, study: Study, targets: Targets) -> Judged:
    own = line.predict(study, trained.categories(study))
    predicted = {NETWORK: trained.outputs(study).double()}
    predicted |= {name: torch.from_numpy(values) for name, values in own.items()}
    return Judged(trained.facts, predicted, torch.from_numpy(targets.values), group_codes(study)[0])


def scored(condition: str, draws: list[Judged]) -> Row:
    """Return the scores of the draws of a condition."""
    scores = [own.scores() for own in draws]
    values = {name: [own[name][draws[0].score] for own in scores] for name in scores[0]}
    means = {name: float(np.mean(own)) for name, own in values.items()}
    return Row(condition, means, {name: float(np.std(own)) for name, own in values.items()})


def write_report(path: Path, text: str) -> None:
    """Write a report whole.

    Raises
    ------
    DataError
        It cannot be written.
    """
    from tabstar_lit.data.outputs import whole_file

    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
