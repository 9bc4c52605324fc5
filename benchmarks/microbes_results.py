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
from tabstar_lit.arrays import Float64
from tabstar_lit.commands.train import load
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.run import run
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.conversion.config import read_conversion
from tabstar_lit.families.microbes.conversion.convert import convert_study
from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.reports.folds import judge_run, verdict
from tabstar_lit.families.microbes.reports.judged import NETWORK, Judged, joined
from tabstar_lit.families.microbes.trained import restore

N_FOLDS = 5
QUIET = ("experiment_config.plot_metrics_n_epoch=null",)
SCRATCH = (
    "stages=[predictor]",
    "~stage_config.predictor.model_config.load_modules",
    "model_config.freeze_base=false",
)

TEXT = """\
Stool of people with Crohn's disease and of others (Qiita study 2538): {samples} samples of {subjects} subjects at 5,000
reads, in five folds of subjects. For each fold an encoder is pretrained on the samples of the other subjects, and a
predictor trained on it; `scratch` is the same predictor without pretraining, all of its weights trained. Forest and
linear model are tuned by inner folds of subjects on the same samples. Scores are of the held-out samples of all folds
together, and intervals over subjects drawn with replacement.

`..._unifrac_mse` is the mean squared error of the encoder's distances between held-out samples of a fold; that of their
mean is {baseline:.4f}. No network is needed to come near: UniFrac on a tree that average linkage makes of the
sequences, by the share of letters in which they differ, has an error of {linkage:.4f} once a parabola is fitted to
training samples. With subjects held out, whoever has only {subjects} of them knows little for sure.
"""


class _Fold(NamedTuple):
    """What one fold gave."""

    pretrained: Judged
    scratch: Judged
    squared: Float64
    spread: Float64
    linkage: Float64


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


def ibd() -> Section:
    """Cross-validate network, forest and linear model on Crohn's disease, pretrained and from scratch."""
    return _cross_validated("ibd", "Crohn's disease")


def sex() -> Section:
    """Do the same with the sex of the subjects."""
    return _cross_validated("sex", "the sex of subjects")


def _cross_validated(target: str, what: str) -> Section:
    start, cpu = time.perf_counter(), time.process_time()
    _convert()
    folds = [_fold(target, fold) for fold in range(N_FOLDS)]
    whole = joined([own.pretrained for own in folds])
    together = Judged(
        whole.facts,
        whole.predicted | {"scratch": joined([own.scratch for own in folds]).predicted[NETWORK]},
        whole.true,
        whole.groups,
    )
    scores = {name: own[whole.score] for name, own in together.scores().items()}
    squared, spread, linkage = (
        float(np.mean(np.concatenate([getattr(own, k) for own in folds]))) for k in ("squared", "spread", "linkage")
    )
    subjects = len(set(whole.groups.tolist()))
    text = TEXT.format(samples=len(whole.true), subjects=subjects, baseline=spread, linkage=linkage)
    rows = [[name, f"{value:.3f}"] for name, value in scores.items()]
    wall, processor = time.perf_counter() - start, time.process_time() - cpu
    took = (
        f"`python -m benchmarks.results microbes_{_name(target)}`: {wall:.0f} s, {processor:.0f} s of processor time."
    )
    others = (name for name in together.predicted if name != NETWORK)
    lines = [text, *table(["model", whole.score], rows), "", *(verdict(together, name) for name in others), "", took]
    results = {f"microbes.{_name(target)}_{name}_auc": value for name, value in scores.items()}
    results[f"microbes.{_name(target)}_unifrac_mse"] = squared
    results[f"microbes.{_name(target)}_unifrac_mse_linkage"] = linkage
    return Section(f"Microbes: {what}, subjects held out", lines, results)


def _name(target: str) -> str:
    return "ibd" if target == "ibd" else f"ibd_{target}"


def _convert() -> None:
    """Convert the study to below the data root, where dataset_config/microbes/ibd.yaml looks for it."""
    target = roots().data / "ibd.h5"
    recipe = find_microbiome() / "ibd.yaml"
    source = (REPOSITORY / "examples/microbiome/ibd.yaml").read_text(encoding="utf-8")
    config = target.with_suffix(".yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(source.replace("ibd/", f"{recipe.parent}/ibd/"), encoding="utf-8")
    convert_study(read_conversion(config), target)


def _fold(target: str, fold: int) -> _Fold:
    place = f"dataset_config.folds={{n: {N_FOLDS}, fold: {fold}}}"
    common = ("dataset_config=microbes/ibd", f"dataset_config.target={target}", place, EXPERIMENT, *QUIET, *limits())
    pretrained, directory, loaded = _judged(("model_config=microbes/ibd", *common))
    scratch, _, _ = _judged(("model_config=microbes/ibd", *common, *SCRATCH))
    record = directory.record()["stages"]["encoder"]
    trained = restore(directory.checkpoints / record["best_checkpoint"])
    data = family.data(loaded.stages[-1].experiment, directory.record()["seed"])
    rows = data.rows("test")
    vectors = trained.embed(data.study).to_numpy()[rows]
    scale = loaded.stages[-1].experiment.model.architecture_config.distance_scale
    predicted = predicted_distances(torch.from_numpy(vectors), scale).numpy()
    pairs = np.triu_indices(len(rows), 1)
    true = data.study.distances[np.ix_(rows, rows)][pairs].astype(np.float64)
    known = data.study.distances.astype(np.float64)
    linkage = fitted_errors(linkage_distances(data.study), known, data.rows("train"), rows)
    return _Fold(pretrained, scratch, (predicted[pairs] - true) ** 2, (true - true.mean()) ** 2, linkage)


def _judged(overrides: Sequence[str]) -> tuple[Judged, Any, Any]:
    loaded = load(family, tuple(overrides), None)
    directory = run(family, loaded, argv=[family.command, *overrides])
    return judge_run(family, loaded, directory), directory, loaded
