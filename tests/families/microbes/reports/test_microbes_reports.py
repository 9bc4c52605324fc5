"""Reports: folds with one summary, disturbed samples, another study; network and classical models side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from checks import assert_refused, message_of_refusal
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from tabstar_lit.commands.cli import main
from tabstar_lit.families.microbes.classical import models
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.reports.disturbed import DISTURBANCES
from tabstar_lit.families.microbes.reports.folds import summary, verdict
from tabstar_lit.families.microbes.reports.judged import NETWORK, Judged, joined
from tabstar_lit.families.microbes.reports.robustness import robustness
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study, read_study, write_study
from tabstar_lit.families.microbes.trained import restore

FACTS = StudyFacts(max_bases=1, max_asvs=1, kind="classification", targets=("y",), classes=("no", "yes"))
TINY = (
    "model_config.architecture_config.embedding_dim=16",
    "model_config.architecture_config.heads=2",
    "model_config.training_config.max_epochs=1",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
    "dataset_config.baseline=none",
)


def judged(n: int = 60, lead: float = 2.0, seed: int = 0) -> Judged:
    """Return a network that knows the class of samples better than a forest does, by groups of three."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n // 3), 3)
    true = (groups % 2).astype(np.int64)
    scores = {name: (2 * true - 1) * signal + rng.normal(size=n) for name, signal in ((NETWORK, lead), ("forest", 0.3))}
    predicted = {name: torch.from_numpy(np.stack([-own, own], axis=1)).softmax(-1) for name, own in scores.items()}
    return Judged(FACTS, predicted, torch.from_numpy(true), groups)


def test_scores_are_those_of_scikit_learn_and_folds_add_up() -> None:
    parts = [judged(seed=seed) for seed in range(3)]
    whole = joined(parts)
    assert len(whole.true) == 180
    for name, own in whole.predicted.items():
        expected = roc_auc_score(whole.true.numpy(), own[:, 1].numpy())
        assert whole.scores()[name]["auroc"] == pytest.approx(expected)
    text = summary(parts, "A title")
    assert (
        f"| all | 180 | 20 | {whole.scores()[NETWORK]['auroc']:.3f} | {whole.scores()['forest']['auroc']:.3f} |" in text
    )
    assert "The network is better than the forest model" in text


def test_a_difference_is_sure_only_where_groups_agree() -> None:
    low, high = judged(lead=2.0).difference("forest")
    assert 0 < low < high
    low, high = judged(lead=0.3, seed=1).difference("forest")
    assert low < 0 < high
    low, high = judged(lead=-2.0).difference("forest")
    assert low < high < 0


def test_a_lead_among_models_that_are_no_use_says_so() -> None:
    own = judged(lead=-0.5)
    useless = replace(own, predicted={**own.predicted, "forest": own.predicted["forest"].flip(1)})
    assert useless.scores()["forest"]["auroc"] < 0.5
    assert verdict(useless, "forest").endswith("Neither is better than guessing.")
    assert "guessing" not in verdict(own, "forest")


def test_disturbances_change_what_they_say_and_no_more() -> None:
    study = generate(n_subjects=6)
    n_counts, n_asvs = len(study.counts), len(study.asv_ids)
    lost, zeros, added = (disturb(study, 0) for disturb in DISTURBANCES.values())
    gone = set(study.members.flat.tolist()) - set(lost.members.flat.tolist())
    assert 0 < len(gone) <= 0.1 * n_asvs
    for own in (lost, zeros):
        for row in range(len(study)):
            before = dict(zip(study.members[row].tolist(), counts_of(study, row), strict=True))
            after = dict(zip(own.members[row].tolist(), counts_of(own, row), strict=True))
            assert after.items() <= before.items()
    assert len(zeros.counts) == pytest.approx(0.9 * n_counts, rel=0.02)
    for row in range(len(study)):
        before = dict(zip(study.members[row].tolist(), counts_of(study, row), strict=True))
        after = dict(zip(added.members[row].tolist(), counts_of(added, row), strict=True))
        assert before.items() <= after.items()
        assert len(after) - len(before) == round(0.01 * (n_asvs - len(before)))
        assert (np.diff(added.members[row]) > 0).all()
    for disturb in DISTURBANCES.values():
        assert disturb(study, 0).checksum == disturb(study, 0).checksum != disturb(study, 1).checksum


def counts_of(study: Study, row: int) -> list[int]:
    counts: list[int] = study.counts[study.members.offsets[row] : study.members.offsets[row + 1]].tolist()
    return counts


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two folds of a small study were trained and judged."""
    folder = tmp_path_factory.mktemp("folds")
    write_study(folder / "data/study.h5", generate(n_subjects=16))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(models, "N_TREES", 10)
        own = ("dataset_config.study=study.h5", "experiment_config.run_name=cv", *TINY)
        command = ["microbes", "folds", "-n", "2", *own, "-o", "folds.md"]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "fold 2 of 2: auroc network" in done.output
    assert {path.name for path in (folder / "runs/logs/microbes_study").iterdir()} >= {"cv_fold0", "cv_fold1"}
    return folder


def test_folds_test_every_sample_once_without_parting_groups(folds: Path) -> None:
    frame = pd.read_parquet(folds / "folds.parquet")
    assert len(frame) == 64
    assert (frame.groupby("group")["fold"].nunique() == 1).all()
    assert (frame.groupby("group").size() == 4).all()
    expected = roc_auc_score(frame["true_0"], frame["network_1"])
    text = (folds / "folds.md").read_text()
    assert f"| network | {expected:.3f} |" in text
    assert "95 % interval" in text


def test_a_predictor_is_judged_on_disturbed_samples_and_on_another_study(
    folds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folds)
    monkeypatch.setattr(models, "N_TREES", 10)
    checkpoint = next(folds.rglob("predictor/*val_loss*.ckpt"))
    write_study(folds / "other.h5", generate(seed=1, n_subjects=8))
    for more in ([], ["--on", "other.h5"]):
        command = ["microbes", "robustness", str(checkpoint), "data/study.h5", "--repeats", "1", "-o", "r.md", *more]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        text = (folds / "r.md").read_text()
        assert "| samples | network auroc | forest auroc | linear auroc |" in text
        assert all(condition in text for condition in DISTURBANCES)
    trained, study = restore(checkpoint), read_study(folds / "data/study.h5")
    rows = robustness(trained, study, repeats=1)
    held_out = set(trained.config["study"]["samples"]["test"])
    predicted = trained.outputs(study)[[name in held_out for name in study.sample_ids]]
    true = study.classes["status"].codes[[name in held_out for name in study.sample_ids]]
    assert rows[0].means[NETWORK] == pytest.approx(roc_auc_score(true, predicted[:, 1].numpy()), abs=1e-6)


def test_the_wrong_study_and_the_wrong_role_are_refused(folds: Path) -> None:
    checkpoint = next(folds.rglob("predictor/*val_loss*.ckpt"))
    other = generate(seed=1, n_subjects=8)
    assert "lacks" in message_of_refusal(robustness, restore(checkpoint), other)
    encoder = restore(next(folds.rglob("encoder/*val_loss*.ckpt")))
    assert "is an encoder" in message_of_refusal(robustness, encoder, other)


def test_folds_need_a_predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["microbes", "folds", "stages=[encoder]", *TINY, "-o", "folds.md"]
    assert_refused(CliRunner().invoke(main, command), "the last stage must train a predictor")
