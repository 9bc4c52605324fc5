"""Quality of the antibody family: a task whose rule is known, real complexes, and ranking against measured affinity."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.experiment import EXPERIMENT, Trained, limits, train
from benchmarks.page import Section, embedded, how_it_was_made, results_table
from benchmarks.tabstar_results import DATA_VARIABLE, REPOSITORY
from tabstar_lit.commands.train import load
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.run import evaluate
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.conversion.config import read_conversion
from tabstar_lit.families.antibody.conversion.convert import convert_pairs
from tabstar_lit.families.antibody.family import family
from tabstar_lit.families.antibody.numbering.domains import find_domains
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.fasta import read_fasta
from tabstar_lit.families.antibody.pairs.file import Pairs, read_pairs
from tabstar_lit.families.antibody.pairs.tokens import antibody_text, chains_of
from tabstar_lit.families.antibody.restore import AntibodyGenerator, restore

Array = np.ndarray[Any, np.dtype[Any]]

RESAMPLES = 1000
LEAST_RANKED = 8
"""Measured antibodies that a cluster of antigens must have to be ranked by itself."""
ASKED = 9.0
"""pKd that is asked for where likelihoods are taken with an affinity."""

TRACKED = "experiment_config.tracker=none"
TRAINING = ("experiment_config.plot_metrics_n_epoch=null", TRACKED, EXPERIMENT)
NETWORK = (
    "model_config=antibody/tiny",
    "model_config.training_config.label_smoothing=0",
    "model_config.training_config.optimizer.optimizer_params.lr=1e-3",
    "model_config.training_config.scheduler.scheduler_params.max_lr=1e-3",
    "model_config.training_config.scheduler.scheduler_params.min_lr=1e-4",
)
"""The smallest network: what two processor cores learn in minutes."""
COMPLEXES = (
    *NETWORK,
    "dataset_config=antibody/complexes",
    "dataset_config.max_antigen_tokens=256",
    "model_config.training_config.max_epochs=10",
)
HER2 = (
    *NETWORK,
    "dataset_config=antibody/her2",
    "dataset_config.max_antigen_tokens=32",  # the antigen is the same for all
    "dataset_config.max_samples=4000",
    "model_config.training_config.max_epochs=5",
)
ASSAYS = {"alphaseq": "her2_alphaseq", "spr": "her2_spr"}
"""The two assays behind the HER2 binders, ranked apart: between them there is more than affinity."""

TOY_TEXT = """\
What `train_antibody` does without arguments: antigens with a motif that CDR-H3 has to answer letter by letter, and an
affinity that four residues have to tell. No antigen of the validation pairs was trained on. `antibody.rule_accuracy` is
the share of the residues the rule asks for that are the likeliest ones; `antibody.written_rule_accuracy` the share that
sampled antibodies have. The effects are how much larger the loss of a token is with the antigen, or the affinity, of
another pair.
"""

COMPLEXES_TEXT = """\
{pairs} pairs of antibodies and nanobodies with their antigens, {known} of them with measured affinity, in {clusters}
clusters of antigens; {test} pairs of clusters that were neither trained nor validated on are tested. {sentence}
Antibodies are written for these antigens at temperature 1, without cuts. `recovery` counts residues that are the
likeliest after the true ones before them, which flatters it: most of what it gets right is germline.
"""

RANKED_TEXT = """\
Spearman's correlation of what is ranked by with the measured affinity, with 95 % intervals over resampled antibodies.
`likelihood` is the mean log-likelihood of a token without an affinity asked for, `likelihood_pkd` with pKd {asked:g}
asked for; `parent` is the edit distance to trastuzumab. The ridge counts 1- to 3-mers of the antibody and is fitted to
the affinities of training pairs. HER2 binders are ranked within each assay, AlphaSeq and surface plasmon resonance,
those alone that were measured: all of them together would be ranked by the assay they come from.
"""


class Ranked(NamedTuple):
    """How well something ranks antibodies.

    Attributes
    ----------
    rho, low, high : float
        Spearman's correlation and its interval.
    """

    rho: float
    low: float
    high: float


# -- experiments -------------------------------------------------------------------------------------------------------


def toy() -> Section:
    """Train the default, on the generated task."""
    trained = train(family, (EXPERIMENT, "experiment_config.plot_metrics_n_epoch=2"))
    names = ("rule_accuracy", "written_rule_accuracy", "antigen_effect", "pkd_effect", "written_validity")
    results = {f"antibody.{name}": trained.value(f"val_{name}") for name in names}
    results["antibody.default_seconds"] = trained.wall_s
    return Section(
        "The default of train_antibody",
        [
            TOY_TEXT,
            *results_table(results),
            *embedded("antibody_effects", "Effects by epoch"),
            *how_it_was_made([trained]),
        ],
        results,
        {"antibody_effects": trained.figures / "effects.png"},
    )


def complexes() -> Section:
    """Train on complexes, test on held-out clusters of antigens, and rank held-out complexes and HER2 binders."""
    for name in ("complexes", "her2", *ASSAYS.values()):
        converted(name)
    trained, tested = train_and_test(COMPLEXES)
    data = opened(COMPLEXES)
    generator = restore(best_checkpoint(trained))
    within, clusters = rank_by_cluster(generator, data)
    zero_shot = rank_assays(generator, opened(HER2))
    names = (
        "perplexity",
        "recovery_h_cdr3",
        "recovery_cdr",
        "recovery_mutated",
        "antigen_effect",
        "antigen_effect_low",
    )
    names += ("antigen_effect_high", "pkd_effect", "written_vocabulary_h_cdr3", "written_uniqueness")
    names += ("written_novelty", "written_validity", "written_h_cdr3_similarity")
    results = {f"complexes.{name}": tested[f"test_{name}"] for name in names if f"test_{name}" in tested}
    results |= {f"complexes.{name}_spearman": value for name, value in within.items()}
    results |= {f"complexes.her2_{name}_spearman": own.rho for name, own in zero_shot.items()}
    text = COMPLEXES_TEXT.format(
        pairs=len(data.pairs),
        known=int(np.isfinite(data.pairs.pkd).sum()),
        clusters=len(set(data.pairs.clusters[data.pairs.antigen].tolist())),
        test=len(data.split["test"]),
        sentence=antigen_sentence(tested),
    )
    ranked = f"Held-out complexes: the mean over {clusters} clusters with at least {LEAST_RANKED} measured antibodies."
    return Section(
        "Complexes, clusters of antigens held out",
        [
            text,
            *results_table(results),
            RANKED_TEXT.format(asked=ASKED) + ranked + "\n",
            "HER2 binders held out below; this network never saw one of them, the ridge did.\n",
            *ranked_table(zero_shot),
            *how_it_was_made([trained], conversion_commands("complexes", "her2", *ASSAYS.values())),
        ],
        results,
    )


def her2() -> Section:
    """Train on variants of trastuzumab, and rank held-out ones beside simple baselines."""
    for name in ("her2", *ASSAYS.values()):
        converted(name)
    trained, tested = train_and_test(HER2)
    ranked = rank_assays(restore(best_checkpoint(trained)), opened(HER2))
    results = {f"her2.{name}_spearman": own.rho for name, own in ranked.items()}
    results |= {
        f"her2.{name}": tested[f"test_{name}"] for name in ("perplexity", "pkd_effect") if f"test_{name}" in tested
    }
    return Section(
        "Variants of trastuzumab, ranked",
        [
            RANKED_TEXT.format(asked=ASKED),
            *results_table(results),
            *ranked_table(ranked),
            *how_it_was_made([trained], conversion_commands("her2", *ASSAYS.values())),
        ],
        results,
    )


# -- training and ranking ----------------------------------------------------------------------------------------------


def train_and_test(overrides: Sequence[str]) -> tuple[Trained, Mapping[str, float]]:
    """Train as the command does, then score the test pairs with the best weights."""
    trained = train(family, (*overrides, *TRAINING))
    best = best_checkpoint(trained)
    chosen = (*overrides, *limits(), EXPERIMENT, TRACKED, f"model_config.load_checkpoint={best}")
    loaded = load(family, chosen, None)
    files = RunFiles(evaluate(family, loaded, best, argv=shlex.split(shlex.join([family.command, *chosen]))).root)
    return trained, {name: float(value) for name, value in list(files.stages.values())[-1]["test"].items()}


def best_checkpoint(trained: Trained) -> Path:
    """Return the best weights of a run."""
    (stage,) = trained.files.stages.values()
    return Path(trained.files.record["checkpoints_dir"]) / stage["best_checkpoint"]


def opened(overrides: Sequence[str]) -> AntibodyData:
    """Open the pairs as a training does."""
    experiment = load(family, (*overrides, EXPERIMENT), None).experiment
    return AntibodyData(experiment.dataset_config, read_pairs(roots().data / experiment.dataset_config.files), 0)


def rank_assays(generator: AntibodyGenerator, data: AntibodyData) -> dict[str, Ranked]:
    """Rank the held-out HER2 binders of each assay by likelihood and by the baselines."""
    pairs, held_out = data.pairs, {data.pairs.antibodies[row] for row in data.split["test"]}
    training = measured(pairs, data.split["train"])
    found = {}
    for assay, name in ASSAYS.items():
        own = read_pairs(roots().data / f"{name}.h5")
        rows = measured(own, np.array([row for row, text in enumerate(own.antibodies) if text in held_out]))
        texts = [own.antibodies[row] for row in rows]
        scores = {
            **likelihoods(generator, own, rows),
            "parent": -np.array([Levenshtein.distance(text, parent_text()) for text in texts], dtype=np.float64),
            "ridge": ridge([pairs.antibodies[row] for row in training], pairs.pkd[training], texts),
        }
        found |= {f"{assay}_{ranker}": correlation(by, own.pkd[rows]) for ranker, by in scores.items()}
    return found


def measured(pairs: Pairs, rows: Array) -> Array:
    """Return those of the rows whose affinity was measured and is no bound."""
    return np.asarray(rows[np.isfinite(pairs.pkd[rows]) & (pairs.censored[rows] == 0)])


def rank_by_cluster(generator: AntibodyGenerator, data: AntibodyData) -> tuple[dict[str, float], int]:
    """Return the mean correlation within held-out clusters of antigens, and how many there are."""
    pairs, rows = data.pairs, data.split["test"]
    rows, training = measured(pairs, rows), measured(pairs, data.split["train"])
    known = [pairs.antibodies[row] for row in training]
    scores = likelihoods(generator, pairs, rows) | {
        "ridge": ridge(known, pairs.pkd[training], [pairs.antibodies[r] for r in rows])
    }
    clusters = pairs.clusters[pairs.antigen[rows]]
    numbers = [number for number in np.unique(clusters) if enough(pairs.pkd[rows[clusters == number]])]
    means = {
        name: statistics.fmean(correlation(own[clusters == n], pairs.pkd[rows[clusters == n]]).rho for n in numbers)
        for name, own in scores.items()
    }
    return means, len(numbers)


def enough(pkd: Array) -> bool:
    """Tell whether there are enough different affinities to rank."""
    return len(pkd) >= LEAST_RANKED and len(set(pkd.tolist())) > 1


def likelihoods(generator: AntibodyGenerator, pairs: Pairs, rows: Array) -> dict[str, Array]:
    """Return the mean log-likelihood of a token of each antibody, with and without an affinity asked for."""
    chains = [chains_of(pairs.antibodies[row]) for row in rows]
    frame = pd.DataFrame(
        {
            "antigen": [pairs.antigens[pairs.antigen[row]] for row in rows],
            "heavy": [heavy for heavy, _ in chains],
            "light": [light for _, light in chains],
        }
    )
    asked = {"likelihood": None, "likelihood_pkd": ASKED}
    return {name: generator.predict(frame, pkd=pkd)["per_token"].to_numpy() for name, pkd in asked.items()}


def ridge(known: Sequence[str], pkd: Array, texts: Sequence[str]) -> Array:
    """Return the affinities that a ridge over k-mers predicts."""
    counts = CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    model = make_pipeline(counts, StandardScaler(with_mean=False), RidgeCV(np.logspace(0, 6, 13)))
    return np.asarray(model.fit(known, pkd).predict(texts))


def correlation(scores: Array, pkd: Array) -> Ranked:
    """Return Spearman's correlation with an interval over resampled antibodies; 0 where all scores are equal."""
    rng = np.random.default_rng(0)
    values = [_rho(scores[rows], pkd[rows]) for rows in rng.integers(0, len(pkd), (RESAMPLES, len(pkd)))]
    low, high = np.quantile(values, [0.025, 0.975])
    return Ranked(_rho(scores, pkd), float(low), float(high))


def _rho(scores: Array, pkd: Array) -> float:
    if len(set(scores.tolist())) < 2 or len(set(pkd.tolist())) < 2:
        return 0.0
    return float(spearmanr(scores, pkd).statistic)


def parent_text() -> str:
    """Return the variable domains of trastuzumab, the parent of the HER2 binders."""
    records = {record.name: record.letters for record in read_fasta(find_antibodies() / "her2_trastuzumab.fasta")}
    (heavy,), (light,) = find_domains([records["trastuzumab_heavy"], records["trastuzumab_light"]])
    return antibody_text(heavy.letters, light.letters)


def antigen_sentence(tested: Mapping[str, float]) -> str:
    """Say in a sentence whether the antigen is read."""
    mean, low, high = (tested[f"test_antigen_effect{end}"] for end in ("", "_low", "_high"))
    told = f"another antigen makes the loss {mean:+.3f} nats a token larger (95 % interval {low:+.3f} to {high:+.3f})"
    return f"The antigen is read: {told}." if low > 0 else f"The antigen is not shown to be read: {told}."


def ranked_table(ranked: Mapping[str, Ranked]) -> list[str]:
    """Return a table of correlations."""
    rows = [(name, f"{own.rho:+.3f}", f"{own.low:+.3f} to {own.high:+.3f}") for name, own in ranked.items()]
    return table(("ranked by", "Spearman", "95 % interval"), rows)


# -- the data ----------------------------------------------------------------------------------------------------------


def find_antibodies() -> Path:
    """Return the folder of the real pairs.

    Raises
    ------
    DataError
        It is not there.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = (Path(named) if named else REPOSITORY.parent / "shared" / "data") / "antibody"
    if not folder.is_dir():
        raise DataError(
            f"The pairs are not on this machine: no folder {folder}. Let {DATA_VARIABLE} name the folder that holds "
            "antibody, or run the other experiments alone: make results ARGS=antibody_toy"
        )
    return folder


def converted(name: str) -> None:
    """Bring a pairs file below the data root up to date."""
    conversion = read_conversion(REPOSITORY / "examples" / "antibody" / f"{name}.yaml")._replace(
        folder=find_antibodies()
    )
    output = roots().data / f"{name}.h5"
    output.parent.mkdir(parents=True, exist_ok=True)
    convert_pairs(conversion, output)


def conversion_commands(*names: str) -> list[str]:
    """Return what a user types to make the pairs files."""
    return [f"tabstar_lit convert antibody examples/antibody/{name}.yaml -o data/{name}.h5" for name in names]
