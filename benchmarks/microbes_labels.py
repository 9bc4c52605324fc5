"""What pretraining is worth to a predictor of microbiomes: the same network pretrained and not, by how many labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.microbes_results import (
    APNEA,
    IBD,
    N_FOLDS,
    NOT_LOADED,
    SURFACE,
    TRAINED_ALONG,
    VILLAGE,
    Question,
    converted,
    settings_of,
    train_fold,
)
from benchmarks.page import Section
from tabstar_lit.arrays import Float64
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.families.microbes.classical.line import fit_line
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.reports.folds import best_of
from tabstar_lit.families.microbes.reports.judged import Judged, joined
from tabstar_lit.families.microbes.study.data import MicrobesData

QUESTIONS = (IBD, APNEA, VILLAGE, SURFACE)
DRAWS = {0.1: 1, 1.0: 1}
"""Draws of training groups in each fold, by the share of them whose labels are used."""
EPOCHS, PATIENCE = 24, 10
"""Of every predictor, pretrained or not."""
PRETRAINING_EPOCHS = 12
RESAMPLINGS = 500

ALONE = (
    "model_config.architecture_config.predictor.wide=false",
    "model_config.architecture_config.predictor.wide_weights=learned",
)
"""The network by itself: a linear model of reads beside it has no part in pretraining."""
PREDICTOR = (
    "stages=[predictor]",
    f"model_config.training_config.max_epochs={EPOCHS}",
    f"model_config.training_config.early_stop_patience={PATIENCE}",
)
FROZEN, TUNED, SCRATCH, LINEAR = "frozen", "tuned", "scratch", "linear"
NETWORKS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    FROZEN: lambda encoder: (f"stage_config.predictor.model_config.load_modules.base='{encoder}'",),
    TUNED: lambda encoder: (f"stage_config.predictor.model_config.load_modules.base='{encoder}'", *TRAINED_ALONG),
    SCRATCH: lambda encoder: (NOT_LOADED, *TRAINED_ALONG),
}
"""What each network takes from a pretrained encoder, and what of it learns; by name, for the file of the encoder."""

TEXT = """\
{samples}: one network three ways, in five folds of {groups} {them} that are the same for all. `frozen` stands on an
encoder that was pretrained on UniFrac and nucleotides of the training samples of the fold, never on those of held-out
{them}; `tuned` trains all of it along. `scratch` is the same network with all of it trained from labels alone: it has
the same clades to begin with, but of labelled samples only. All three have up to {epochs} epochs of labels, the best of
which is chosen on validation {them}. No linear model stands beside any of them; `linear` is that by itself, tuned by
inner folds.

Labels are those of a share of the training {them}, two at least, drawn anew for each fold; an encoder is pretrained on
the samples of all. Scores are of the held-out samples of all folds together. Intervals are over {them} drawn with
replacement.
"""


class _Case(NamedTuple):
    """One share of the labels, one draw of groups."""

    share: float
    draw: int


def by_labels(question: Question) -> Section:
    """Cross-validate the networks on shares of the labels."""
    start, cpu = time.perf_counter(), time.process_time()
    study = converted(question.study)
    folds = [_fold(question, fold) for fold in range(N_FOLDS)]
    whole = {case: joined([own[case] for own in folds]) for case in folds[0]}
    rows, results = [], dict[str, float]()
    for share in DRAWS:
        draws = [own for case, own in whole.items() if case.share == share]
        names, score = list(draws[0].predicted), draws[0].score
        means = {name: float(np.mean([own.scores()[name][score] for own in draws])) for name in names}
        leads = {name: lead(draws, name, SCRATCH) for name in (FROZEN, TUNED)}
        told = [_told(*own) for own in leads.values()]
        rows.append([f"{share:.0%}", *(f"{means[name]:.3f}" for name in names), *told])
        kind, place = {"auroc": "auc"}.get(score, score), f"microbes.{question.name}_labels_{round(100 * share)}"
        results |= {f"{place}_{name}_{kind}": value for name, value in means.items()}
    heads = ["labels", *(f"{name} {score}" for name in names), *(f"{name} - {SCRATCH}" for name in leads)]
    lines = [
        TEXT.format(
            samples=question.samples,
            groups=len(set(study.groups())),
            them=question.groups,
            epochs=EPOCHS,
        ),
        *table(heads, rows),
        "",
        f"`python -m benchmarks.results microbes_{question.name}_labels`: {time.perf_counter() - start:.0f} s, "
        f"{time.process_time() - cpu:.0f} s of processor time.",
    ]
    return Section(f"Microbes: what pretraining is worth, {question.title}", lines, results)


def lead(draws: Sequence[Judged], name: str, other: str) -> tuple[float, float, float]:
    """Return how far a model leads another, as a mean over draws, with its 95 % interval over groups drawn again."""
    rng, groups = np.random.default_rng(0), draws[0].groups
    members = [np.flatnonzero(groups == own) for own in np.unique(groups)]
    found = []
    for _ in range(RESAMPLINGS):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        found.append(np.mean([_difference(own, name, other, rows) for own in draws]))
    known: Float64 = np.asarray(found)[np.isfinite(found)]
    every = np.arange(len(groups))
    mean = float(np.mean([_difference(own, name, other, every) for own in draws]))
    low, high = np.quantile(known, [0.025, 0.975])
    return mean, float(low), float(high)


def _difference(judged: Judged, name: str, other: str, rows: Float64) -> float:
    part = Judged(
        judged.facts,
        {own: judged.predicted[own][rows] for own in (name, other)},
        judged.true[rows],
        judged.groups[rows],
    )
    scores = part.scores()
    return scores[name][judged.score] - scores[other][judged.score]


def _told(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _fold(question: Question, fold: int) -> dict[_Case, Judged]:
    """Pretrain once, and train the networks of each case."""
    common = (*settings_of(question, fold), *ALONE)
    epochs = f"model_config.training_config.max_epochs={PRETRAINING_EPOCHS}"
    _, directory = train_fold((*common, "stages=[encoder]", epochs))
    encoder = best_of("encoder", directory).path
    cases = [_Case(share, draw) for share, draws in DRAWS.items() for draw in range(draws)]
    return {case: _judged(common, encoder, case) for case in cases}


def _judged(common: Sequence[str], encoder: object, case: _Case) -> Judged:
    labels = f"dataset_config.labels={{share: {case.share}, seed: {case.draw}}}"
    predicted = dict[str, torch.Tensor]()
    for name, own in NETWORKS.items():
        loaded, directory = train_fold((*common, labels, *PREDICTOR, *own(str(encoder))))
        data: MicrobesData = family.data(loaded.stages[-1].experiment, directory.record()["seed"])
        rows = data.rows("test")
        predicted[name] = best_of("predictor", directory).outputs(data.study)[rows].double()
    linear = fit_line(data, ("linear",)).predict(data.study, data.categories)[LINEAR]
    predicted[LINEAR] = torch.from_numpy(linear[rows])
    return Judged(data.facts, predicted, torch.from_numpy(data.targets.values[rows]), data.groups[rows])
