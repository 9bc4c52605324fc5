"""Quality of the microbes family on real stool: subjects held out, beside a forest and a linear model."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.experiment import EXPERIMENT, limits
from benchmarks.microbes_linkage import fitted_errors, linkage_distances
from benchmarks.page import Section
from benchmarks.tabstar_results import DATA_VARIABLE, REPOSITORY
from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.commands.train import load
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.run import run
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.classical.line import fit_line
from tabstar_lit.families.microbes.conversion.config import read_conversion
from tabstar_lit.families.microbes.conversion.convert import convert_study
from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.reports.folds import best_of, judge, verdict
from tabstar_lit.families.microbes.reports.judged import NETWORK, Judged, joined
from tabstar_lit.families.microbes.reports.robustness import AS_IT_IS, Row, held_out, judge_disturbed, scored
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.labels import group_codes
from tabstar_lit.families.microbes.study.study import Study, read_study
from tabstar_lit.families.microbes.trained import TrainedMicrobes

N_FOLDS = 5
N_DRAWS = 3
"""Of each disturbance."""
QUIET = ("experiment_config.plot_metrics_n_epoch=null", "dataset_config.baseline=none")
TRAINED_ALONG = (
    "model_config.freeze_base=false",
    *(
        f"stage_config.predictor.model_config.training_config.loss_weights.{term}=0"
        for term in ("unifrac", "ordination", "nucleotide")
    ),
)
"""All weights of a predictor but the letters of lineages learn, from the target alone."""
NOT_LOADED = "~stage_config.predictor.model_config.load_modules"
SCRATCH = ("stages=[predictor]", NOT_LOADED, *TRAINED_ALONG)


class Question(NamedTuple):
    """What is cross-validated: a name for its figures, a target of a study, and words for both and for a group."""

    name: str
    study: str
    target: str
    title: str
    samples: str
    groups: str = "subjects"


CROHNS = "Stool of people with Crohn's disease and of others (Qiita study 2538)"
IBD = Question("ibd", "ibd", "ibd", "Crohn's disease", CROHNS)
SEX = Question("ibd_sex", "ibd", "sex", "the sex of people with Crohn's disease and of others", CROHNS)
AGE = Question("ibd_age", "ibd", "age", "the age of people with Crohn's disease and of others", CROHNS)
APNEA = Question(
    "apnea",
    "sleep_apnea",
    "exposure_type",
    "mice in air, or in the changing oxygen of sleep apnea",
    "Droppings of mice in air, or in the changing oxygen of sleep apnea (Qiita study 10422)",
    "mice",
)
AMAZON = "Surfaces of houses in the Amazon (Qiita study 10333)"
VILLAGE = Question("houses_village", "house_surfaces", "village", "the village of a house", AMAZON, "houses")
SURFACE = Question("houses_surface", "house_surfaces", "description", "the kind of a surface", AMAZON, "houses")
QUESTIONS = (IBD, SEX, AGE, APNEA, VILLAGE, SURFACE)

TEXT = """\
{what}: {samples} samples of {count} {them}, in five folds of {them}.
For each fold an encoder is pretrained on the samples of the other {them}, and a predictor trained on it; `scratch` is
the same network without pretraining: it has the same clades and the same linear model to begin with, and all else of it
is trained from labels alone. Forest and linear model are tuned by inner folds of {them} on the same samples. Scores
are of the held-out samples of all folds together, and intervals over {them} drawn with replacement.
"""

DISTANCES = """\
`..._unifrac_mse` is the mean squared error of the encoder's distances between held-out samples of a fold. Their own
mean would have {baseline:.4f}: {within:.0%} of these pairs are within {them}, and near, where it is {within_all:.1%}
of all pairs of the study, whose mean has {all:.4f}. Between samples of different held-out {them} the encoder has
{between:.4f}, and the mean {between_baseline:.4f}. UniFrac on a tree that average linkage makes of all sequences,
held-out ones too, has an error of {linkage:.4f} once a parabola is fitted to training samples.
"""


class _Distances(NamedTuple):
    """Of pairs of held-out samples ``[P]``: squared errors, whether both are of one subject, and what is true."""

    squared: Float64
    within: Bool
    true: Float64
    linkage: Float64

    @property
    def spread(self) -> Float64:
        """Squared errors of the mean of all pairs."""
        return np.asarray((self.true - self.true.mean()) ** 2)


class _Fold(NamedTuple):
    """What one fold gave."""

    judged: Judged
    disturbed: dict[str, list[Judged]]
    distances: _Distances


def find_microbiome() -> Path:
    """Return the folder with the four real studies.

    Raises
    ------
    DataError
        It is not there: says where it was looked for.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = (Path(named) if named else REPOSITORY.parent / "shared" / "data") / "microbiome"
    if not (folder / "ibd/table.biom").is_file():
        raise DataError(f"{folder}: no real studies there; set {DATA_VARIABLE} to the folder above 'microbiome'.")
    return folder


def cross_validated(question: Question) -> Section:
    """Cross-validate network, forest and linear model, the network pretrained and from scratch."""
    start, cpu = time.perf_counter(), time.process_time()
    study = converted(question.study)
    linkage = linkage_distances(study)
    folds = [_fold(question, fold, linkage) for fold in range(N_FOLDS)]
    together = joined([own.judged for own in folds])
    rows = [scored(name, [joined(own) for own in _by_draw(name, folds)]) for name in folds[0].disturbed]
    name, kind = question.name, {"auroc": "auc"}.get(together.score, together.score)
    scores = {model: own[together.score] for model, own in together.scores().items()}
    distances = _Distances(*(np.concatenate(own) for own in zip(*(own.distances for own in folds), strict=True)))
    results = {f"microbes.{name}_{model}_{kind}": value for model, value in scores.items()}
    results[f"microbes.{name}_unifrac_mse"] = float(distances.squared.mean())
    results[f"microbes.{name}_unifrac_mse_between"] = float(distances.squared[~distances.within].mean())
    results[f"microbes.{name}_unifrac_mse_linkage"] = float(distances.linkage.mean())
    wall, processor = time.perf_counter() - start, time.process_time() - cpu
    lines = [
        TEXT.format(
            what=question.samples,
            samples=len(together.true),
            count=len(set(together.groups.tolist())),
            them=question.groups,
        ),
        *_scores(together),
        "",
        *(verdict(together, other) for other in together.predicted if other != NETWORK),
        "",
        *_disturbed(rows),
        "",
        _told(question, study, folds, distances),
        f"`python -m benchmarks.results microbes_{name}`: {wall:.0f} s, {processor:.0f} s of processor time.",
    ]
    return Section(f"Microbes: {question.title}, {question.groups} held out", lines, results)


def _by_draw(condition: str, folds: Sequence[_Fold]) -> list[tuple[Judged, ...]]:
    """Return the folds of each draw of a condition."""
    return list(zip(*(own.disturbed[condition] for own in folds), strict=True))


def _scores(judged: Judged) -> list[str]:
    """Return all scores by model, as a table."""
    scores = judged.scores()
    kinds = list(scores[NETWORK])
    return table(["model", *kinds], [[name, *(f"{own[kind]:.3f}" for kind in kinds)] for name, own in scores.items()])


def _disturbed(rows: Sequence[Row]) -> list[str]:
    """Return the scores on disturbed samples, and what each disturbance costs."""
    names, whole = list(rows[0].means), rows[0].means
    cells = [
        [row.condition, *(f"{row.means[own]:.3f} ({row.means[own] - whole[own]:+.3f})" for own in names)]
        for row in rows
        if row.condition != AS_IT_IS
    ]
    return table([f"held-out samples, mean of {N_DRAWS} draws", *names], cells)


def _told(question: Question, study: Study, folds: Sequence[_Fold], distances: _Distances) -> str:
    """Tell of the errors of distances, and of those of their mean."""
    spread = np.concatenate([own.distances.spread for own in folds])
    apart = [own.distances.true[~own.distances.within] for own in folds]
    groups, pairs = group_codes(study)[0], np.triu_indices(len(study), 1)
    return DISTANCES.format(
        them=question.groups,
        baseline=spread.mean(),
        within=distances.within.mean(),
        within_all=np.mean(groups[pairs[0]] == groups[pairs[1]]),
        all=_known(study)[pairs].var(),
        between=distances.squared[~distances.within].mean(),
        between_baseline=np.concatenate([(own - own.mean()) ** 2 for own in apart]).mean(),
        linkage=distances.linkage.mean(),
    )


def converted(name: str) -> Study:
    """Convert a study to below the data root, where dataset_config/microbes/ibd.yaml looks for it, and return it."""
    target, folder = roots().data / f"{name}.h5", find_microbiome()
    source = (REPOSITORY / f"examples/microbiome/{name}.yaml").read_text(encoding="utf-8")
    config = target.with_suffix(".yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(source.replace(f" {name}/", f" {folder}/{name}/"), encoding="utf-8")
    convert_study(read_conversion(config), target)
    return read_study(target)


def _fold(question: Question, fold: int, linkage: Float64) -> _Fold:
    """Train both networks of a fold, and judge them beside classical models that are fitted once."""
    common = settings_of(question, fold)
    loaded, directory = train_fold(common)
    _, scratch = train_fold((*common, *SCRATCH))
    data = family.data(loaded.stages[-1].experiment, directory.record()["seed"])
    line, predictor = fit_line(data), best_of("predictor", directory)
    judged = judge(predictor, data, line)
    predicted = dict(judged.predicted) | {
        "scratch": judge(best_of("predictor", scratch), data, line).predicted[NETWORK]
    }
    if data.facts.kind == "regression":
        mean = np.nanmean(data.facts.train_targets, axis=0)
        predicted["mean"] = torch.from_numpy(mean).expand(len(judged.true), -1)
    scale = loaded.stages[-1].experiment.model.architecture_config.distance_scale
    return _Fold(
        Judged(judged.facts, predicted, judged.true, judged.groups),
        judge_disturbed(predictor, line, held_out(predictor, data.study), N_DRAWS),
        _distances(best_of("encoder", directory), data, scale, linkage),
    )


def settings_of(question: Question, fold: int) -> tuple[str, ...]:
    """Return the settings that all trainings of a fold have."""
    return (
        "model_config=microbes/ibd",
        "dataset_config=microbes/ibd",
        f"dataset_config.study={question.study}.h5",
        f"dataset_config.target={question.target}",
        f"dataset_config.folds={{n: {N_FOLDS}, fold: {fold}}}",
        EXPERIMENT,
        *QUIET,
        *limits(),
    )


def train_fold(overrides: Sequence[str]) -> tuple[Any, Any]:
    loaded = load(family, tuple(overrides), None)
    return loaded, run(family, loaded, argv=[family.command, *overrides])


def _distances(encoder: TrainedMicrobes, data: MicrobesData, scale: float | None, linkage: Float64) -> _Distances:
    """Return what an encoder, and a tree of the sequences alone, say of the pairs of held-out samples."""
    rows, true = data.rows("test"), _known(data.study)
    vectors = encoder.embed(data.study).to_numpy()[rows]
    predicted = predicted_distances(torch.from_numpy(vectors), scale).numpy()
    first, second = np.triu_indices(len(rows), 1)
    known = true[rows[first], rows[second]]
    return _Distances(
        (predicted[first, second] - known) ** 2,
        data.groups[rows[first]] == data.groups[rows[second]],
        known,
        fitted_errors(linkage, true, data.rows("train"), rows),
    )


def _known(study: Study) -> Float64:
    """Return the distances ``[N, N]`` of a study that has them."""
    if study.distances is None:
        raise DataError(f"the study '{study.name}' has no distances; convert it with a tree.")
    return study.distances.astype(np.float64)
