"""Quality of antibodies: held-out complexes and binders are ranked by what was measured, and the page says how well."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks import antibody_pairs, antibody_ranking, antibody_results, results
from benchmarks.antibody_ranking import Ranked, correlation, fitted_ridge, mean_within, ranking_sentence
from click.testing import CliRunner

N_ROWS = {
    "biomap_affinity.csv.gz": 300,
    "nanobody_antigen_pairs.csv.gz": 30,
    "alphabind_her2_scfv.csv.gz": 80,
    "absci_her2_spr_controls.csv": 60,
    "absci_her2_zero_shot.csv": 60,
    "her2_trastuzumab.fasta": None,
}
"""Lines of each file that are kept; None: all."""
SHORT = (
    "model_config.architecture_config.width=16",
    "model_config.architecture_config.heads=2",
    "model_config.training_config.max_epochs=1",
    "model_config.training_config.max_steps=2",
    "tracking_config.samples=2",
    "tracking_config.bootstraps=10",
    "experiment_config.tqdm_refresh_rate=0",
)
RANKERS = ("likelihood", "likelihood_pkd", "parent", "ridge")


@pytest.fixture
def few_pairs(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the first lines of every file where the experiments look for all, and train for two steps."""
    folder = tmp_path / "few" / "antibody"
    folder.mkdir(parents=True)
    for name, count in N_ROWS.items():
        content = (shared_data / "antibody" / name).read_bytes()
        packed = name.endswith(".gz")
        lines = (gzip.decompress(content) if packed else content).splitlines(keepends=True)
        kept = b"".join(lines if count is None else lines[: count + 1])
        (folder / name).write_bytes(gzip.compress(kept) if packed else kept)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(antibody_pairs.DATA_VARIABLE, str(tmp_path / "few"))
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    for module in (antibody_ranking, antibody_results):
        monkeypatch.setattr(module, "LEAST_RANKED", 2)
    for name in ("COMPLEXES", "HER2"):
        monkeypatch.setattr(antibody_results, name, (*getattr(antibody_results, name), *SHORT))
    return tmp_path


def measure(folder: Path, name: str) -> tuple[dict[str, float], str]:
    done = CliRunner().invoke(results.main, [name, "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = dict(re.findall(r"^RESULT (\S+)=(\S+)$", done.output, re.MULTILINE))
    return {key: float(value) for key, value in figures.items()}, (folder / "docs/results.md").read_text()


def test_held_out_complexes_are_ranked_within_their_clusters(few_pairs: Path) -> None:
    figures, page = measure(few_pairs, "antibody_complexes")
    ranked = {name for name in figures if name.endswith("_spearman")}
    assert {f"complexes.{name}_spearman" for name in ("likelihood", "likelihood_pkd", "ridge")} <= ranked
    assert {f"complexes.her2_{assay}_{name}_spearman" for assay in antibody_pairs.ASSAYS for name in RANKERS} <= ranked
    assert all(-1 <= figures[name] <= 1 for name in ranked)
    assert figures["complexes.antigen_effect_low"] <= figures["complexes.antigen_effect"]
    assert re.search(r"the mean within \d+ clusters of antigens with at least 2 measured", page)
    assert "Does likelihood rank by affinity? likelihood " in page
    assert "The antigen is" in page


def test_held_out_binders_are_ranked_within_their_assay(few_pairs: Path) -> None:
    figures, page = measure(few_pairs, "antibody_her2")
    expected = {f"her2.{assay}_{name}_spearman" for assay in antibody_pairs.ASSAYS for name in RANKERS}
    assert {name for name in figures if name.endswith("_spearman")} == expected
    for name in expected:
        row = re.search(rf"\| {name.removeprefix('her2.').removesuffix('_spearman')} +\| ([+-][\d.]+)", page)
        assert row is not None
        assert float(row[1]) == pytest.approx(figures[name], abs=1e-3)


def test_correlations_are_those_of_ranks_with_intervals() -> None:
    affinity = np.arange(30.0)
    own = correlation(affinity**3, affinity)
    assert (own.rho, own.low, own.high) == pytest.approx((1, 1, 1))
    assert correlation(np.zeros(30), affinity) == Ranked(0, 0, 0)
    mixed = correlation(np.random.default_rng(1).normal(size=30), affinity)
    assert mixed.low < mixed.rho < mixed.high


def test_a_mean_within_groups_does_not_compare_antibodies_of_two() -> None:
    affinity = np.concatenate([np.arange(20.0), 100 - np.arange(20.0)])
    scores, groups = np.concatenate([np.arange(20.0), np.arange(20.0)]), [np.arange(20), np.arange(20, 40)]
    assert mean_within(scores, affinity, groups[:1]) == pytest.approx((1, 1, 1))
    assert mean_within(scores, affinity, groups) == pytest.approx((0, 0, 0))
    noisy = mean_within(scores + np.random.default_rng(0).normal(0, 9, 40), affinity, groups[:1])
    assert 0 < noisy.low < noisy.rho < noisy.high < 1


def test_a_ridge_over_letters_learns_what_they_add_to_an_affinity() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACDEFGHIK"), 20)) for _ in range(300)]
    affinity = np.array([5 + 0.4 * text.count("K") for text in texts])
    found = fitted_ridge(texts[:250], affinity[:250]).predict(texts[250:])
    assert correlation(found, affinity[250:]).low > 0.8


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (Ranked(0.4, 0.1, 0.6), "likelihood +0.40, it does"),
        (Ranked(0.1, -0.1, 0.3), "likelihood +0.10, not shown"),
        (Ranked(-0.3, -0.5, -0.1), "likelihood -0.30, it ranks the wrong way"),
    ],
)
def test_a_sentence_says_whether_likelihood_ranks(own: Ranked, told: str) -> None:
    sentence = ranking_sentence({"likelihood": own, "ridge": Ranked(0.9, 0.8, 1)})
    assert sentence == f"Does likelihood rank by affinity? {told}."


def test_pairs_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(antibody_pairs.DATA_VARIABLE, str(tmp_path))
    done = CliRunner().invoke(results.main, ["antibody_her2"])
    assert done.exit_code == 2
    assert "The pairs are not on this machine" in done.output
