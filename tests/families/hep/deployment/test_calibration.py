"""Calibration: fits against scipy and scikit-learn, and a checkpoint that is used like the one it came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hand_made_events import make_chunk, write_events
from saved_classifier import FLAT, MLP, build, fit, logits_of, write
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from tabstar_lit.engine.tracking.columns import stack
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.loading import latest_checkpoint, load_weights
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.hep.deployment import calibration_fit
from tabstar_lit.families.hep.deployment.calibration import calibrate_checkpoint
from tabstar_lit.families.hep.deployment.calibration_fit import Method, Sample
from tabstar_lit.families.hep.deployment.prediction import predict_events
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.signal.tracker import SignalTracker

N = 1200


def sample(k: int, temperature: float = 2.5, n: int = 30_000, shift: float = 0.0) -> Sample:
    """Weighted events whose labels follow ``z / T + shift`` of the last class, for logits ``z``."""
    rng = np.random.default_rng(k)
    logits = rng.normal(scale=4.0, size=(n, k))
    true = logits / temperature
    true[:, -1] += shift
    both = np.concatenate([np.zeros((n, 1)), true], axis=1) if k == 1 else true
    noise = rng.gumbel(size=both.shape)
    targets, weights = (both + noise).argmax(axis=1), torch.from_numpy(rng.exponential(size=n))
    return Sample(torch.from_numpy(logits), torch.from_numpy(targets), weights, weights)


def loss(values: Any, events: Sample) -> float:
    """Weighted cross-entropy in numpy."""
    values = np.concatenate([values * 0, values], axis=1) if values.shape[1] == 1 else values
    own = log_softmax(values, axis=1)[np.arange(len(values)), events.targets]
    return float(-np.average(own, weights=events.weights))


@pytest.mark.parametrize("k", [1, 3])
def test_the_temperature_is_that_of_the_events_and_of_scipy(k: int) -> None:
    events = sample(k, temperature=2.5)
    affine = calibration_fit.fit("temperature", events)
    assert 1 / float(affine.weight[0, 0]) == pytest.approx(2.5, rel=0.05)
    expected = minimize_scalar(lambda t: loss(events.logits.numpy() / t, events), bracket=(1.0, 5.0), tol=1e-10)
    assert 1 / float(affine.weight[0, 0]) == pytest.approx(expected.x, rel=1e-4)
    torch.testing.assert_close(affine.weight, affine.weight[0, 0] * torch.eye(k, dtype=torch.float64))
    assert not affine.bias.any()


@pytest.mark.parametrize("method", ["vector", "matrix"])
def test_with_two_classes_vector_and_matrix_are_platts(method: Method) -> None:
    events = sample(1, shift=-1.0)
    affine = calibration_fit.fit(method, events)
    platt = LogisticRegression(C=np.inf, tol=1e-10).fit(events.logits, events.targets, events.weights)
    assert float(affine.weight) == pytest.approx(platt.coef_.item(), rel=1e-5)
    assert float(affine.bias) == pytest.approx(platt.intercept_.item(), rel=1e-5)


def test_matrix_scaling_is_multinomial_regression_on_the_logits() -> None:
    events = sample(3, shift=0.7)
    affine = calibration_fit.fit("matrix", events)
    regression = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    expected = regression.fit(events.logits, events.targets, events.weights).predict_proba(events.logits)
    np.testing.assert_allclose(affine(events.logits).softmax(1), expected, atol=1e-5)


def test_vector_scaling_is_the_minimum_scipy_finds() -> None:
    events = sample(3, shift=0.7)
    affine = calibration_fit.fit("vector", events)
    found = minimize(lambda x: loss(events.logits.numpy() * x[:3] + x[3:], events), np.r_[np.ones(3), np.zeros(3)])
    assert loss(affine(events.logits).numpy(), events) <= found.fun + 1e-10
    np.testing.assert_allclose(affine.weight.diag(), found.x[:3], atol=1e-3)
    assert not (affine.weight - torch.diag(affine.weight.diag())).any()


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_size_of_logits_does_not_matter(factor: float) -> None:
    events = sample(3)
    large = dataclasses.replace(events, logits=events.logits * factor)
    expected = calibration_fit.fit("matrix", events)
    affine = calibration_fit.fit("matrix", large)
    torch.testing.assert_close(affine.weight * factor, expected.weight, rtol=1e-4, atol=1e-6)


def test_samples_without_a_best_calibration_are_refused() -> None:
    events = sample(1)
    perfect = dataclasses.replace(events, targets=(events.logits[:, 0] > 0).long())
    with pytest.raises(DataError, match="apart without a single error"):
        calibration_fit.fit("temperature", perfect)
    upside_down = dataclasses.replace(events, targets=1 - events.targets)
    with pytest.raises(DataError, match="say nothing about the classes"):
        calibration_fit.fit("temperature", upside_down)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return events whose met tells the classes apart a little."""
    chunk = make_chunk(N)
    chunk = dataclasses.replace(chunk, columns=chunk.columns | {"met": chunk.columns["met"] + 40 * chunk.labels})
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", chunk)


SETTINGS: dict[str, Any] = {
    "features": FLAT,
    "split": {"by": "event", "calib": 0.2, "test": 0.2},
    "use_mc_weights": True,
    "use_class_weights": True,
}
TWO = {"background": ["ttbar", "wjets"], "signal": ["signal"]}


def trained(folder: Path, events: Path, **settings: Any) -> tuple[Path, Any, Any]:
    """Return an over-confident classifier: its logits are three times what training made of them."""
    module, data = build(events, MLP, **SETTINGS | settings)
    fit(module, data)
    head = module.network.head
    head.weight.data *= 3
    head.bias.data *= 3
    return write(module, folder / "model.ckpt"), module, data


@pytest.mark.parametrize("classes", [None, TWO], ids=["three classes", "two classes"])
@pytest.mark.parametrize("method", ["temperature", "vector", "matrix"])
def test_a_calibrated_checkpoint_is_used_like_the_original(
    method: Method, classes: Any, events: Path, tmp_path: Path
) -> None:
    path, module, data = trained(tmp_path, events, classes=classes)
    before = path.read_bytes()
    output = tmp_path / "calibrated.ckpt"
    report = calibrate_checkpoint(path, output, method=method, device="cpu")
    assert path.read_bytes() == before
    (calib, test) = report.qualities
    assert (calib.split, test.split) == ("calib", "test")
    for quality in report.qualities:
        assert quality.loss[1] < quality.loss[0] - 0.01
        assert quality.error[1] < quality.error[0]
    # The loss before is that of the training on these events, with its weights.
    whole = [module.compute(batch) for batch in data.split_dataloader("calib")]
    expected = sum(part.loss.item() * float(part.size) for part in whole) / sum(float(part.size) for part in whole)
    assert calib.loss[0] == pytest.approx(expected, rel=1e-5)
    predict_events(restore(output), events, tmp_path / "scores.parquet", split="test", device="cpu")
    table = pd.read_parquet(tmp_path / "scores.parquet")
    _, logits = logits_of(module, data, "test")
    columns = [name for name in table if name.startswith("logit")]
    np.testing.assert_allclose(table[columns], report.affine(logits.double()), rtol=1e-4, atol=1e-5)


def test_a_calibrated_checkpoint_is_plain_weights_and_can_be_calibrated_again(events: Path, tmp_path: Path) -> None:
    path, module, _ = trained(tmp_path, events)
    first, again = tmp_path / "first.ckpt", tmp_path / "again.ckpt"
    calibrate_checkpoint(path, first, method="matrix", device="cpu")
    report = calibrate_checkpoint(first, again, device="cpu")
    assert str(report).startswith("temperature T = ")
    direct = calibrate_checkpoint(path, tmp_path / "direct.ckpt", device="cpu")
    torch.testing.assert_close(report.affine.weight, direct.affine.weight)
    assert load_weights(first).keys() == module.network.state_dict().keys()
    assert latest_checkpoint(tmp_path).path == path
    assert any("holds weights only" in reason for _, reason in latest_checkpoint(tmp_path).skipped)
    payload = read_checkpoint(again)[CHECKPOINT_KEY]["payload"]
    assert payload["calibration"]["method"] == "temperature"


def test_evaluation_takes_the_calibration_over(events: Path, tmp_path: Path) -> None:
    path, module, data = trained(tmp_path, events)
    report = calibrate_checkpoint(path, tmp_path / "calibrated.ckpt", method="vector", device="cpu")
    module.adopt(read_checkpoint(tmp_path / "calibrated.ckpt")[CHECKPOINT_KEY]["payload"])
    whole = [module.compute(batch) for batch in data.split_dataloader("test")]
    loss_after = sum(part.loss.item() * float(part.size) for part in whole) / sum(float(part.size) for part in whole)
    assert report.qualities[1].loss[1] == pytest.approx(loss_after, rel=1e-5)


@pytest.mark.parametrize("classes", [None, TWO], ids=["three classes", "two classes"])
def test_the_error_that_metrics_call_ece_is_told_from_that_by_the_weights_of_the_loss(
    events: Path, tmp_path: Path, classes: Any
) -> None:
    path, module, data = trained(tmp_path, events, classes=classes)
    report = calibrate_checkpoint(path, tmp_path / "calibrated.ckpt", method="vector", device="cpu")
    tracker = SignalTracker(tmp_path, classes=data.classes, signal=data.signal_index, check_every=1, plot_every=None)
    test = report.qualities[1]
    for moment in (0, 1):
        rows = stack(module.compute(batch).columns for batch in data.split_dataloader("test"))
        ece = tracker.metrics({"events": {name: column.detach() for name, column in rows.items()}})["ece"]
        assert test.error_of_events[moment] == pytest.approx(ece, rel=1e-5)
        assert test.error[moment] != pytest.approx(ece, rel=1e-2), "class weights are in one of them only"
        module.adopt(read_checkpoint(tmp_path / "calibrated.ckpt")[CHECKPOINT_KEY]["payload"])
    heads, _, *lines = str(report).splitlines()[1:]
    assert heads.split("  ")[-1].strip() == "of the events"
    assert float(lines[1].split()[-2]) == pytest.approx(test.error_of_events[0], abs=1e-5)


def test_events_kept_for_calibration_are_asked_for(events: Path, tmp_path: Path) -> None:
    path, _, _ = trained(tmp_path, events, split={"by": "event"})
    output = tmp_path / "calibrated.ckpt"
    with pytest.raises(DataError, match=r"Train with dataset_config\.split\.calib=0\.1, or .*--data FILE --split all"):
        calibrate_checkpoint(path, output)
    with pytest.raises(DataError, match="name it with --data"):
        calibrate_checkpoint(path, output, split="all")
    with pytest.raises(CheckpointError, match="is the checkpoint itself"):
        calibrate_checkpoint(path, path)
    assert not output.exists()
    report = calibrate_checkpoint(path, output, data=events, split="all", device="cpu")
    assert [(quality.split, quality.n_events) for quality in report.qualities] == [("all", N)]


def test_the_file_of_the_training_may_have_moved(events: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes(events.read_bytes())
    path, _, _ = trained(tmp_path, copy)
    moved = copy.rename(tmp_path / "moved.h5")
    with pytest.raises(DataError, match=r"copy\.h5.* is not there: say where it is with --data"):
        calibrate_checkpoint(path, tmp_path / "calibrated.ckpt")
    calibrate_checkpoint(path, tmp_path / "calibrated.ckpt", data=moved, device="cpu")


def test_a_class_without_events_is_named(events: Path, tmp_path: Path) -> None:
    path, _, _ = trained(tmp_path, events)
    chunk = make_chunk(90)
    other = write_events(tmp_path / "other.h5", dataclasses.replace(chunk, labels=np.minimum(chunk.labels, 1)))
    with pytest.raises(DataError, match=r"other\.h5: all: class 'signal' has no events with a positive weight"):
        calibrate_checkpoint(path, tmp_path / "calibrated.ckpt", data=other, split="all", device="cpu")
