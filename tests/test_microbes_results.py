"""Quality and speed of the microbes family: figures are of the samples they claim, and what is compared is equal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import microbes, microbes_labels, microbes_large, microbes_results, results
from click.testing import CliRunner

from tabstar_lit.families.microbes.classical import models
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.reports.disturbed import DISTURBANCES
from tabstar_lit.families.microbes.reports.judged import Judged

SHORT = (
    "model_config.training_config.max_epochs=1",
    "model_config.architecture_config.embedding_dim=8",
    "model_config.architecture_config.heads=1",
    "dataset_config.max_asvs=8",
    "dataset_config.baseline=none",
    "experiment_config.tqdm_refresh_rate=0",
    "experiment_config.tracker=none",
)


def test_real_stool_is_judged_in_folds_of_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    assert shared_data.is_dir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(microbes_results, "N_FOLDS", 2)
    monkeypatch.setattr(microbes_results, "N_DRAWS", 1)
    monkeypatch.setattr(microbes_results, "QUIET", (*microbes_results.QUIET, *SHORT))
    monkeypatch.setattr(models, "N_TREES", 10)
    options = ["microbes_ibd", "--device", "cpu", "--max-time", "00:00:05:00"]
    done = CliRunner().invoke(results.main, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = dict(re.findall(r"^RESULT (\S+)=(\S+)$", done.output, re.MULTILINE))
    names = {"network", "scratch", "forest", "linear"}
    assert set(figures) == {
        "microbes.ibd_unifrac_mse",
        "microbes.ibd_unifrac_mse_between",
        "microbes.ibd_unifrac_mse_linkage",
        *(f"microbes.ibd_{name}_auc" for name in names),
    }
    assert 0 < float(figures["microbes.ibd_unifrac_mse"]) < 1
    assert 0 < float(figures["microbes.ibd_unifrac_mse_linkage"]) < 0.002
    page = (tmp_path / "docs" / "results.md").read_text()
    assert "428 samples of 23 subjects" in page
    assert "| scratch |" in page
    assert all(f"| {condition} |" in page for condition in DISTURBANCES)
    pattern = r"mean would have (0\.0\d+): (\d+)% of these .* it is 4\.5% of all pairs .* mean has 0\.0085\."
    told = re.search(pattern, page.replace("\n", " "))
    assert told is not None
    assert 0.006 < float(told[1]) < 0.015
    assert 5 < int(told[2]) < 30  # pairs of one subject are more among samples of a few


def test_data_are_asked_for_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(microbes_results.DATA_VARIABLE, str(tmp_path))
    done = CliRunner().invoke(results.main, ["microbes_ibd"])
    assert done.exit_code == 2
    assert "no real studies there" in done.output


def test_memory_of_many_samples_is_that_of_their_distances() -> None:
    done = CliRunner().invoke(microbes_large.main, ["--samples", "300", "--tips", "200"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = {
        name: float(value)
        for name, value in re.findall(r"^BENCH microbes\.unifrac_large_(\S+)=(\S+)$", done.output, re.MULTILINE)
    }
    assert figures["matrix_gib"] == pytest.approx(300 * 300 * 8 / 2**30, rel=1e-3)
    assert figures["peak_gib"] < figures["peak_gib_before"] + 0.1
    assert figures["pairs_per_second"] > 0
    assert 200 <= figures["branches"] < 400


def test_speeds_are_of_equal_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"N_TIPS": 41, "N_SAMPLES": 24, "SAMPLES_OF_SKBIO": 6, "FEATURES_EACH": 9, "REPEATS": 1}.items():
        monkeypatch.setattr(microbes, name, value)
    monkeypatch.setattr(microbes, "epoch_vs_padded", lambda: 9.0)
    figures = microbes.figures()
    assert figures["microbes.unifrac_branches"] > 60
    assert figures["microbes.epoch_vs_padded"] == 9.0
    for name in ("unifrac", "weighted_unifrac"):
        assert figures[f"microbes.{name}_pairs_per_second"] > 0
        assert figures[f"microbes.{name}_pairs_per_processor_second"] > 0
        assert figures[f"microbes.{name}_vs_skbio_speed"] > 0
    real = microbes.unifrac
    monkeypatch.setattr(microbes, "unifrac", lambda *own: real(*own) + 1e-9)
    with pytest.raises(RuntimeError, match="differs from scikit-bio's by 1e-09"):
        microbes.figures()


def test_pretraining_is_judged_by_shares_of_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    assert shared_data.is_dir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(microbes_labels, "N_FOLDS", 2)
    monkeypatch.setattr(microbes_labels, "DRAWS", {0.3: 1, 1.0: 1})
    monkeypatch.setattr(microbes_labels, "RESAMPLINGS", 20)
    monkeypatch.setattr(microbes_results, "QUIET", (*microbes_results.QUIET, *SHORT))
    monkeypatch.setattr(microbes_labels, "EPOCHS", 1)
    done = CliRunner().invoke(results.main, ["microbes_apnea_labels", "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = dict(re.findall(r"^RESULT (\S+)=(\S+)$", done.output, re.MULTILINE))
    names = {*microbes_labels.NETWORKS, "linear"}
    assert set(figures) == {f"microbes.apnea_labels_{share}_{name}_auc" for share in (30, 100) for name in names}
    assert all(0 <= float(value) <= 1 for value in figures.values())
    page = (tmp_path / "docs" / "results.md").read_text()
    assert re.search(r"\| 30% \|.*\| [+-]0\.\d+ \([+-]0\.\d+ to [+-]0\.\d+\) \|", page)


def test_a_lead_is_of_the_same_samples_and_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(60) % 2
    good = torch.stack([1 - true, true], dim=1).double() + torch.rand(60, 2, generator=generator, dtype=torch.float64)
    chance = torch.rand(60, 2, generator=generator, dtype=torch.float64)
    facts = StudyFacts(10, 5, "classification", ("state",), ("a", "b"))
    draws = [Judged(facts, {"good": good, "same": good, "chance": chance}, true, np.arange(60) // 6) for _ in range(2)]
    assert microbes_labels.lead(draws, "good", "same") == (0, 0, 0)
    mean, low, high = microbes_labels.lead(draws, "good", "chance")
    assert 0.1 < low < mean < high
    assert mean == pytest.approx(draws[0].scores()["good"]["auroc"] - draws[0].scores()["chance"]["auroc"])
