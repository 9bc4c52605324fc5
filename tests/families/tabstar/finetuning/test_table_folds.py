"""Folds of a table: every row is predicted once, by a model that was fitted on none of its cells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from trained_tables import Bench

from tabstar_lit.commands.cli import main
from tabstar_lit.families.tabstar.finetuning.folds import scores_of
from tabstar_lit.families.tabstar.tables.corpus import Corpus


def folds(bench: Bench, folder: Path, *words: str) -> Result:
    told = [
        "model_config=tabstar/probe", f"model_config.base={bench.checkpoint}", "experiment_config.run_name=cv",
        "model_config.training_config.max_epochs=1", "experiment_config.accelerator=cpu",
        "experiment_config.tracker=none", "experiment_config.plot_metrics_n_epoch=null",
        f"experiment_config.save_dir={folder}/logs", f"experiment_config.tracker_path={folder}/figures",
        f"model_config.training_config.model_save_path={folder}/models",
    ]  # fmt: skip
    manifest = bench.corpus.with_name("manifest.yaml")
    return CliRunner().invoke(main, ["tabstar", "folds", str(manifest), *told, "-o", str(folder / "cv.md"), *words])


def test_every_row_is_predicted_once_by_a_model_that_never_saw_it(bench: Bench, tmp_path: Path) -> None:
    done = folds(bench, tmp_path, "-n", "3")
    assert done.exit_code == 0, done.output
    raw, predicted = bench.raw["trips"], pd.read_parquet(tmp_path / "cv.parquet")
    np.testing.assert_array_equal(predicted["true"], raw["late"].astype(str))
    assert [*predicted] == ["fold", "true", "prediction", "p_0", "p_1"]
    np.testing.assert_allclose(predicted[["p_0", "p_1"]].sum(axis=1), 1)
    whole = Corpus.open(bench.corpus).load("trips").row_ids
    for fold in range(3):
        trained = Corpus.open(tmp_path / f"cv_folds/fold_{fold}.h5").load("trips")
        assert set(trained.row_ids) == set(whole[predicted["fold"] != fold])
        own = raw["minutes"][(predicted["fold"] != fold).to_numpy()].reset_index(drop=True)[~trained.is_validation]
        (minutes,) = (column for column in trained.schema["columns"] if column["name"] == "minutes")
        assert minutes["mean"] == pytest.approx(own.mean())
    text = (tmp_path / "cv.md").read_text()
    area = roc_auc_score(predicted["true"] == "1", predicted["p_1"])
    own = [roc_auc_score(part["true"] == "1", part["p_1"]) for _, part in predicted.groupby("fold")]
    row = re.search(r"\| mean ± spread \|  \| ([\d.]+) ± ([\d.]+) \|", text)
    assert row is not None
    np.testing.assert_allclose([float(row[1]), float(row[2])], [np.mean(own), np.std(own, ddof=1)], atol=1e-4)
    assert f"| all rows together | {len(raw)} | {area:.5g}" in text
    assert [path.name for path in sorted((tmp_path / "models").rglob("*_last.ckpt"))] == [
        f"cv_fold{fold}_last.ckpt" for fold in range(3)
    ]


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 60)
    true = rng.choice(["a", "b", "c"], 60)
    frame = pd.DataFrame(probabilities, columns=["p_a", "p_b", "p_c"])
    frame = frame.assign(true=true, prediction=np.array(["a", "b", "c"])[probabilities.argmax(1)])
    expected = roc_auc_score(true, probabilities, multi_class="ovr")
    accuracy = accuracy_score(true, frame["prediction"])
    assert scores_of(frame) == pytest.approx({"ROC-AUC": expected, "accuracy": accuracy})
    numbers = pd.DataFrame({"true": rng.normal(size=60), "prediction": rng.normal(size=60)})
    scores = scores_of(numbers)
    assert scores["R2"] == pytest.approx(r2_score(numbers["true"], numbers["prediction"]))
    assert scores["RMSE"] == pytest.approx(np.sqrt(((numbers["true"] - numbers["prediction"]) ** 2).mean()))


def test_a_table_that_is_not_there_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = folds(bench, tmp_path, "--table", "tripz")
    assert done.exit_code == 2
    assert "no table 'tripz'. Did you mean 'trips'?" in done.stderr
