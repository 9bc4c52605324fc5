"""Quality of the antibody family: a task whose rule is known, real complexes, and ranking against measured affinity."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.antibody_pairs import ASSAYS, conversion_commands, converted
from benchmarks.antibody_ranking import (
    ASKED,
    LEAST_RANKED,
    rank_assays,
    rank_by_cluster,
    ranked_table,
    ranking_sentence,
)
from benchmarks.experiment import EXPERIMENT, Trained, limits, train
from benchmarks.page import Section, embedded, how_it_was_made, results_table
from tabstar_lit.commands.train import load
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.run import evaluate
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.families.antibody.family import family
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.file import read_pairs
from tabstar_lit.families.antibody.restore import restore

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
TESTED = (
    "perplexity",
    "recovery_h_cdr3",
    "recovery_cdr",
    "recovery_mutated",
    "antigen_effect",
    "antigen_effect_low",
    "antigen_effect_high",
    "pkd_effect",
    "written_vocabulary_h_cdr3",
    "written_uniqueness",
    "written_novelty",
    "written_validity",
    "written_h_cdr3_similarity",
)
"""Metrics of held-out complexes that the page tells."""

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

WITHIN_TEXT = """\
Held-out complexes: the mean within {clusters} clusters of antigens with at least {least} measured antibodies.
{sentence}
"""

HER2_TEXT = """\
HER2 binders held out: this network never saw one of them, the ridge did. {sentence}
"""


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
    results = {f"complexes.{name}": tested[f"test_{name}"] for name in TESTED if f"test_{name}" in tested}
    results |= {f"complexes.{name}_spearman": own.rho for name, own in within.items()}
    results |= {f"complexes.her2_{name}_spearman": own.rho for name, own in zero_shot.items()}
    text = COMPLEXES_TEXT.format(
        pairs=len(data.pairs),
        known=int(np.isfinite(data.pairs.pkd).sum()),
        clusters=len(set(data.pairs.clusters[data.pairs.antigen].tolist())),
        test=len(data.split["test"]),
        sentence=antigen_sentence(tested),
    )
    return Section(
        "Complexes, clusters of antigens held out",
        [
            text,
            *results_table(results),
            RANKED_TEXT.format(asked=ASKED),
            WITHIN_TEXT.format(clusters=clusters, least=LEAST_RANKED, sentence=ranking_sentence(within)),
            *ranked_table(within),
            HER2_TEXT.format(sentence=ranking_sentence(zero_shot)),
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
            RANKED_TEXT.format(asked=ASKED) + ranking_sentence(ranked) + "\n",
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


def antigen_sentence(tested: Mapping[str, float]) -> str:
    """Say in a sentence whether the antigen is read."""
    mean, low, high = (tested[f"test_antigen_effect{end}"] for end in ("", "_low", "_high"))
    told = f"another antigen makes the loss {mean:+.3f} nats a token larger (95 % interval {low:+.3f} to {high:+.3f})"
    return f"The antigen is read: {told}." if low > 0 else f"The antigen is not shown to be read: {told}."
