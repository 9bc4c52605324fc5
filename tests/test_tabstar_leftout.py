"""The experiment with tables left out: three ways to learn them, on the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from benchmarks import tabstar_heads
from benchmarks.tabstar_leftout import ARMS, Budget, columns_of, run
from benchmarks.tabstar_results import DATA_VARIABLE, MANIFEST

from tabstar_lit.errors import DataError


def write_tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    entries = []
    for name, task in (("big", "classification"), ("small", "classification"), ("sums", "regression")):
        x = rng.normal(size=160)
        frame = pd.DataFrame({"x": x, "word": np.where(x > 0, "up", "down")})
        frame["note"] = [f"note {i} {'high' if own > 0 else 'low'}" for i, own in enumerate(x)]
        frame["y"] = x if task == "regression" else np.where(x > 0.3, "yes", np.where(x < -0.5, "no", "so so"))
        frame.to_csv(folder / f"{name}.csv", index=False)
        entries.append({"name": name, "file": f"{name}.csv", "target": "y", "task": task})
    (folder / MANIFEST).write_text(yaml.safe_dump(entries))


def test_every_way_is_scored_on_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write_tables(tmp_path)
    budget = Budget(seeds=2, pretrain_epochs=1, seen=150, rows=32, model="tabstar/tiny", left_out=("small", "sums"))
    section = run(budget)
    assert set(section.results) == {f"tabstar.leftout_{kind}_{arm}" for kind in ("auc", "r2") for arm in ARMS}
    assert section.results["tabstar.leftout_auc_hgb"] > 0.95
    assert section.results["tabstar.leftout_r2_hgb"] > 0.8
    text = "\n".join(section.lines)
    assert "2 tables are left out of a pretraining on the other 1" in text
    assert [line for line in section.lines if line.startswith("| small | ") and line.count("±") == 3]
    trained = {path.name for path in (tmp_path / "runs/logs/leftout").rglob("metrics.jsonl") for path in [path.parent]}
    assert trained == {
        *(f"others_pretraining_{seed}" for seed in (0, 1)),
        *(f"{name}_{arm}_{seed}" for name in ("small", "sums") for arm in ARMS[:2] for seed in (0, 1)),
    }


def test_ways_of_regression_are_compared_and_so_is_their_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write_tables(tmp_path)
    budget = Budget(seeds=2, pretrain_epochs=1, seen=150, rows=32, model="tabstar/tiny", left_out=("small", "sums"))
    section = tabstar_heads.run(budget, ("trees", "six"))
    assert section.results["tabstar.regression_head_gain"] > 0.2
    assert abs(section.results["tabstar.regression_gain_over_start"]) < 0.2
    header = next(line for line in section.lines if line.startswith("| table | "))
    assert header.endswith("| the trees alone |")
    assert [line for line in section.lines if line.startswith("| sums | ") and line.count("±") == 3]
    assert not [line for line in section.lines if line.startswith("| small | ")]


def test_text_with_many_values_becomes_a_few_numbers() -> None:
    frame = pd.DataFrame({"n": [1.0, np.nan] * 60, "few": ["a", None, "b"] * 40})
    frame["text"] = [f"word{i} and word{i % 5}" for i in range(120)]
    seen = columns_of(frame, seed=0).fit_transform(frame)
    assert seen.shape == (120, 1 + 1 + 30)
    assert np.isnan(seen[1, 0])


def test_without_the_tables_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match="not on this machine"):
        run(Budget())
