"""The factor of loose events as Parquet, the sum of fakes with its uncertainties, and the commands around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fakes_bench import FakesBench
from known_factor import known_model

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventFile, EventSchema, EventWriter
from tabstar_lit.families.hep.fakes.ensemble import PLAIN
from tabstar_lit.families.hep.fakes.factor.apply import apply_factor
from tabstar_lit.families.hep.fakes.factor.closure import measure_closure
from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form

SHIFTS = (-0.1, 0.0, 0.4)


def write(
    path: Path, classes: tuple[str, ...], columns: tuple[str, ...] = ("pt", "abs_eta"), together: int = 1
) -> Path:
    """Write 40 events of some classes, in groups of so many neighbours."""
    values = {name: np.linspace(25, 80, 40) if name == "pt" else np.linspace(0, 2.4, 40) for name in columns}
    schema = EventSchema(classes, {name: ColumnInfo(name) for name in columns}, has_weights=True)
    with EventWriter(path, schema) as writer:
        ids = np.arange(40, dtype=np.uint64)
        writer.append(EventChunk(values, np.arange(40) % len(classes), np.ones(40), ids, group_ids=ids // together))
    return path


def test_every_loose_event_gets_its_factor(fakes_file: Path, tmp_path: Path) -> None:
    done = apply_factor(known_model(fakes_file, SHIFTS), fakes_file, tmp_path / "out.parquet", batch_size=64)
    table = pq.read_table(tmp_path / "out.parquet")
    found = {name: np.asarray(column) for name, column in table.to_pydict().items()}
    file = EventFile.open(fakes_file)
    loose = np.flatnonzero(np.isin(file.labels(), [file.classes.index(name) for name in ("loose_data", "loose_mc")]))
    assert found["event_id"].tolist() == file.event_ids()[loose].tolist()
    assert set(found["label"]) == {"loose_data", "loose_mc"}
    assert found["weight"] == pytest.approx(file.weights()[loose])
    points = np.stack([file.column(name).astype(float) for name in ("pt", "abs_eta")], axis=1)[loose]
    log_f = np.log(closed_form(file).factor(points))
    assert found["log_f_mean"] == pytest.approx(log_f + np.mean(SHIFTS), abs=1e-5)
    assert found["log_f_std"] == pytest.approx(np.full(len(loose), np.std(SHIFTS, ddof=1)), abs=1e-5)
    assert found["F"] == pytest.approx(np.exp(found["log_f_mean"]))
    assert found["sigma_F"] == pytest.approx(found["F"] * found["log_f_std"])
    sign = np.where(found["label"] == "loose_mc", -1, 1)
    assert found["fake_weight"] == pytest.approx(sign * found["weight"] * found["F"])
    assert (done.n_data, done.n_mc) == ((sign > 0).sum(), (sign < 0).sum())
    assert done.prediction.total == pytest.approx(found["fake_weight"].sum())
    assert done.prediction.statistical == pytest.approx(np.sqrt((found["fake_weight"] ** 2).sum()))
    heads = [(sign * found["weight"] * np.exp(log_f + shift)).sum() for shift in SHIFTS]
    assert done.prediction.model == pytest.approx(np.std(heads, ddof=1), rel=1e-4)


def test_where_ratios_are_averaged_the_yield_is_the_mean_of_the_heads(fakes_file: Path, tmp_path: Path) -> None:
    model = known_model(fakes_file, SHIFTS)
    model.config["architecture_config"]["ensemble"] = {"average": "ratio"}
    done = apply_factor(model, fakes_file, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert done.prediction.total == pytest.approx(done.prediction.by_head.mean())
    assert found["log_f_std"].to_numpy() == pytest.approx(np.std(SHIFTS, ddof=1), abs=1e-5)
    closure = measure_closure(model)
    assert closure.log_factor == pytest.approx(np.log(np.exp(closure.log_factors).mean(1)))
    assert known_model(fakes_file).ensemble == PLAIN


def test_what_training_adds_to_the_spread_is_told_apart(fakes_file: Path, tmp_path: Path) -> None:
    """Heads 0 and 3, and 1 and 4, learned from equal samples."""
    shifts = (-0.3, 0.0, 0.3, -0.2, 0.06)
    model = known_model(fakes_file, shifts)
    model.config["twins"] = 2  # type: ignore[index]  # a dictionary
    done = apply_factor(model, fakes_file, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pandas()
    training = np.sqrt((0.1**2 + 0.06**2) / 4)
    assert found["log_f_training"].to_numpy() == pytest.approx(training, abs=1e-5)
    assert found["log_f_sampling"].to_numpy() == pytest.approx(np.sqrt(np.var(shifts, ddof=1) - training**2), abs=1e-5)
    by_head = done.prediction.by_head
    expected = np.sqrt(((by_head[0] - by_head[3]) ** 2 + (by_head[1] - by_head[4]) ** 2) / 4)
    assert done.prediction.training == pytest.approx(expected)
    assert f"and training {expected:.4g}" in str(done.prediction)
    assert np.isnan(
        apply_factor(known_model(fakes_file, shifts), fakes_file, tmp_path / "2.parquet").prediction.training
    )


def test_the_events_of_a_group_vary_as_one(fakes_file: Path, tmp_path: Path) -> None:
    model, classes = known_model(fakes_file), ("loose_data", "tight_data", "loose_mc", "tight_mc")
    paired = write(tmp_path / "pairs.h5", classes, together=8)  # two of each class
    done = apply_factor(model, paired, tmp_path / "out.parquet")
    terms = np.array(pq.read_table(tmp_path / "out.parquet")["fake_weight"].to_pylist())
    expected = np.sqrt((terms.reshape(-1, 4).sum(1) ** 2).sum())
    assert done.prediction.statistical == pytest.approx(expected)
    found = measure_closure(model, paired, split=None, variables=["pt"], bins=1)
    assert found.observed == (10, pytest.approx(np.sqrt(5 * 2**2)))
    assert found.prompt == (10, pytest.approx(np.sqrt(5 * 2**2)))
    predicted = np.sqrt(((terms.reshape(-1, 4).sum(1) + 2) ** 2).sum())
    assert found.predicted == pytest.approx((10 + terms.sum(), predicted))
    (pt,) = found.variables
    assert (pt.observed_error[0], pt.statistical[0]) == pytest.approx((np.sqrt(20), predicted))
    assert pt.variance[0] == pytest.approx((terms.reshape(-1, 4).sum(1) ** 2).sum())  # seen and simulated cancel


def test_one_head_says_nothing_about_the_model(fakes_file: Path, tmp_path: Path) -> None:
    done = apply_factor(known_model(fakes_file, pt_cut={"max": 60}), fakes_file, tmp_path / "out.parquet")
    assert done.prediction.model == 0
    assert "no model uncertainty" in str(done.prediction)
    assert 0 < done.left_out < 1000


def test_other_events_need_the_features_and_no_more(fakes_file: Path, tmp_path: Path) -> None:
    model = known_model(fakes_file)
    other = write(tmp_path / "other.h5", ("loose_data", "something"))
    assert apply_factor(model, other, tmp_path / "out.parquet").n_data == 20
    for path, words in (
        (write(tmp_path / "a.h5", ("loose_data",), ("pt",)), "no column 'abs_eta'"),
        (
            write(tmp_path / "b.h5", ("tight_data", "ttbar")),
            "no loose events .* loose_data, loose_mc; the file has tight",
        ),
    ):
        with pytest.raises(DataError, match=words):
            apply_factor(model, path, tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()
    with pytest.raises(CheckpointError, match="the denominator of a fake-factor"):
        apply_factor(known_model(fakes_file, role="denominator"), other, tmp_path / "none.parquet")


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["fakes", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_commands_on_a_trained_checkpoint(trained: FakesBench, tmp_path: Path) -> None:
    best = trained.best("ratio")
    code, output = invoke("apply", best, trained.events, "-o", tmp_path / "out.parquet")
    assert code == 0
    assert "predicted fakes:" in output
    assert "(model)" in output
    code, output = invoke("closure", best, "-o", tmp_path / "closure", "--bins", 5, "--model-errors", "--split", "all")
    assert code == 0
    assert "tight data" in output
    assert "abs_eta" in output
    assert (tmp_path / "closure" / "closure.csv").exists()
    assert (tmp_path / "closure" / "closure_pt.png").exists()


def test_a_loaded_model_and_the_verb_predict_give_what_apply_writes(trained: FakesBench, tmp_path: Path) -> None:
    best = trained.best("ratio")
    assert invoke("apply", best, trained.events, "-o", tmp_path / "a.parquet", "--split", "val")[0] == 0
    arguments = ["predict", str(best), str(trained.events), "-o", str(tmp_path / "b.parquet"), "--split", "val"]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    model = tabstar_lit.load(best)
    assert (model.family, model.path, model.config["role"]) == ("fakes", best, "ratio")
    table = model.predict(trained.events, split="val")
    assert {"event_id", "F", "sigma_F"} <= set(table)
    for name in ("a", "b"):
        pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / f"{name}.parquet"))
    with pytest.raises(CheckpointError, match="is the numerator"):
        tabstar_lit.load(trained.best("numerator")).predict(trained.events)


def test_mistakes_end_with_code_2(trained: FakesBench, tmp_path: Path) -> None:
    ratio, numerator, out = trained.best("ratio"), trained.best("numerator"), tmp_path / "out"
    foreign = write(tmp_path / "foreign.h5", ("tight_data", "ttbar"))
    for arguments, words in (
        (("apply", numerator, trained.events, "-o", out), "is the numerator"),
        (("closure", numerator, "-o", out), "is the numerator"),
        (("apply", ratio, foreign, "-o", out), "no loose events"),
        (("closure", ratio, "--split", "calib", "-o", out), "the calib split has no events"),
        (("closure", ratio, "--variable", "mass", "-o", out), "--variable mass"),
        (("closure", "nowhere.ckpt", "-o", out), "nowhere.ckpt"),
    ):
        code, output = invoke(*arguments)
        assert (code, words in output) == (2, True), output
    assert not out.exists()
