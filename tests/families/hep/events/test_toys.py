"""The toy events: their physics, their weights, and that they come back the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from checks import assert_takes_less_than
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events import toys
from tabstar_lit.families.hep.events.file import EventFile, EventWriter
from tabstar_lit.families.hep.events.toy_files import has_toy

N = 20_000


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> EventFile:
    return toys.toy_events(tmp_path_factory.mktemp("toys") / "toy.h5", N, seed=3)


def weighted_mean(values: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> float:
    return float(np.average(values, weights=weights))


def test_a_transverse_boost_keeps_masses_and_sets_the_momentum() -> None:
    rng = np.random.default_rng(0)
    pair, _ = toys._resonance(rng, 500)
    pt, phi = rng.exponential(50.0, 500), rng.uniform(-np.pi, np.pi, 500)
    boosted = toys.boost_transversely(pair, pt, phi)
    before, after = pair.sum(axis=1), boosted.sum(axis=1)
    np.testing.assert_allclose(before[:, 1:3], 0, atol=1e-9)
    np.testing.assert_allclose(after[:, 1:3], pt[:, None] * np.stack([np.cos(phi), np.sin(phi)], axis=1), atol=1e-9)
    np.testing.assert_allclose(toys._mass(after), toys._mass(before), rtol=1e-12)
    np.testing.assert_allclose(boosted[..., 0], np.linalg.norm(boosted[..., 1:], axis=-1), rtol=1e-9)  # still massless


def test_the_resonance_decays_at_its_mass() -> None:
    mass = toys._mass(toys._resonance(np.random.default_rng(1), 20_000)[0].sum(axis=1))
    assert np.median(mass) == pytest.approx(toys.MASS_GEV, abs=0.2)
    # A Breit-Wigner cut at 0.05 and 0.95 of its distribution has its quartiles at tan(0.45 / 2 * pi) half-widths.
    quartiles = toys.MASS_GEV + 0.5 * toys.WIDTH_GEV * np.tan(0.225 * np.pi) * np.array([-1, 1])
    np.testing.assert_allclose(np.quantile(mass, [0.25, 0.75]), quartiles, atol=0.2)


def test_weights_turn_the_drawn_spectrum_into_the_true_one() -> None:
    """The mean of pt under the weights is that of pt^-4.5, by a closed formula."""
    pair, weights = toys._dijets(np.random.default_rng(2), 400_000)
    low, high = toys.PT_MIN_GEV, toys.PT_MAX_GEV
    mean = (3.5 / 2.5) * (low**-2.5 - high**-2.5) / (low**-3.5 - high**-3.5)
    assert weights.mean() == pytest.approx(1, rel=0.01)
    assert weighted_mean(np.hypot(pair[:, 0, 1], pair[:, 0, 2]), weights) == pytest.approx(mean, rel=0.01)


def test_yields_and_spread_of_the_weights(toy: EventFile) -> None:
    labels, weights = toy.labels(), toy.weights()
    assert np.bincount(labels).tolist() == [N // 2, N // 2]
    assert weights[labels == 1].sum() == pytest.approx(100, rel=0.02)
    assert weights[labels == 0].sum() == pytest.approx(10_000, rel=0.02)
    assert weights.min() > 0
    background = weights[labels == 0]
    assert background.std() > 0.4 * background.mean()


def test_flat_columns_follow_from_the_jets(toy: EventFile) -> None:
    """Recomputed event by event from the stored jets, by another formula for the mass of two massless jets."""
    jets, offsets = toy.read_objects("jets", ["pt", "eta", "phi"]), toy.offsets("jets")
    flat = toy.read(["ht", "n_jets", "m_jj", "deta_jj"])
    for event in range(300):
        pt, eta, phi = (jets[name][offsets[event] : offsets[event + 1]].astype(float) for name in ("pt", "eta", "phi"))
        assert flat["n_jets"][event] == len(pt)
        assert flat["ht"][event] == pytest.approx(pt.sum(), rel=1e-5)
        assert list(pt) == sorted(pt, reverse=True)
        if len(pt) < 2:
            assert np.isnan(flat["m_jj"][event])
            continue
        squared = 2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1]))
        assert flat["m_jj"][event] == pytest.approx(np.sqrt(squared), rel=1e-3)
        assert flat["deta_jj"][event] == pytest.approx(abs(eta[0] - eta[1]), abs=1e-5)


def test_jets_are_within_acceptance_and_physical(toy: EventFile) -> None:
    jets = toy.read_objects("jets", list(toy.objects["jets"].columns))
    assert jets["pt"].min() >= toys.JET_PT_GEV
    assert np.abs(jets["eta"]).max() <= toys.JET_ETA
    assert np.all(jets["energy"] >= jets["pt"] * np.cosh(jets["eta"]) * (1 - 1e-5))
    assert set(np.unique(jets["btag"])) == {0, 1, 2}
    assert (np.diff(toy.offsets("jets")) == 0).any(), "some events have no jet"


def test_the_classes_differ_but_overlap(toy: EventFile) -> None:
    names = [name for name in toy.columns if name != "mass"]
    features, labels, weights = np.stack(list(toy.read(names).values()), axis=1), toy.labels(), toy.weights()
    half = N // 2
    scale = np.where(labels == 1, weights / 100, weights / 10_000)
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    scores = model.fit(features[:half], labels[:half], scale[:half]).predict_proba(features[half:])[:, 1]
    assert 0.8 < roc_auc_score(labels[half:], scores, sample_weight=weights[half:]) < 0.97


def test_equal_seeds_give_equal_files_and_others_do_not(toy: EventFile, tmp_path: Path) -> None:
    assert toys.toy_events(tmp_path / "again.h5", N, seed=3).fingerprint == toy.fingerprint
    assert toys.toy_events(tmp_path / "other.h5", N, seed=4).fingerprint != toy.fingerprint


def test_a_toy_is_made_once_and_in_seconds(tmp_path: Path) -> None:
    with assert_takes_less_than(10):  # two seconds on an idle core
        path = toys.ensure_toy(tmp_path / "toy.h5")
    stamp = path.stat().st_mtime_ns
    assert toys.ensure_toy(path).stat().st_mtime_ns == stamp
    assert toys.ensure_toy(path, 100).stat().st_mtime_ns != stamp
    assert EventFile.open(path).n_events == 100


def test_toys_of_another_release_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(toys, "TOY_VERSION", toys.TOY_VERSION - 1)
        path = toys.toy_events(tmp_path / "toy.h5", 100).path
    assert not has_toy(path, toys.toy_source(100))
    toys.ensure_toy(path, 100)
    assert has_toy(path, toys.toy_source(100))
    assert not has_toy(path, toys.toy_source(200))
    assert not has_toy(tmp_path / "none.h5", toys.toy_source())


def foreign(path: Path) -> None:
    """Write an event file with the columns of the toy whose events came from somewhere else."""
    with EventWriter(path, toys._schema(), sources=[{"file": "toy", "sha256": "0"}], conversion="mine") as file:
        file.append(next(toys._chunks(20, 0)))


def truncated(path: Path) -> None:
    content = toys.toy_events(path, 100).path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("mine"), "not an HDF5 file.*Delete it, or move it.*toy events are made anew"),
        (truncated, "truncated.*Delete it, or move it.*toy events are made anew"),
        (foreign, r"holds other events than the toys.*Move it, or train on it with dataset_config\.files=toy\.h5"),
    ],
)
def test_what_is_no_toy_is_not_overwritten(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "toy.h5"
    make(path)
    content = path.read_bytes()
    for function in (toys.ensure_toy, lambda path: has_toy(path, toys.toy_source())):
        with pytest.raises(DataError, match=words) as refused:
            function(path)
        assert "convert events" not in str(refused.value)
    assert path.read_bytes() == content


def test_one_event_is_no_toy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2"):
        toys.toy_events(tmp_path / "toy.h5", 1)
