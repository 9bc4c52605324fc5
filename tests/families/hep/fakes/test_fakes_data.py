"""Events of the stages: which are served, what is carried along, what cuts leave out, and how models weigh them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes_bench import ROLES, FakesBench, open_events

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.restore import Restored, restore
from tabstar_lit.families.hep.fakes.replicas import poisson_copies

Edit = Callable[..., Path]


def targets_of(data: Any, split: str) -> set[str]:
    """Return the names of the classes whose events a split serves."""
    batches = list(data.split_dataloader(split))
    return {data.classes[number] for batch in batches for number in batch.targets.tolist()}


# -- what is served ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "above", "below"),
    [
        ("numerator", "tight_data", "tight_mc"),
        ("denominator", "loose_data", "loose_mc"),
        ("ratio", "tight_data", "loose_data"),
    ],
)
def test_a_stage_serves_the_two_samples_it_tells_apart(fakes_file: Path, role: str, above: str, below: str) -> None:
    data = open_events(fakes_file, role)
    assert {name: side for name, side in zip(data.classes, data.sides, strict=True) if side >= 0} == {
        above: 1,
        below: 0,
    }
    for split in ("train", "val", "test"):
        assert targets_of(data, split) == {above, below}


def test_the_ratio_may_be_learned_from_simulation(fakes_file: Path) -> None:
    data = open_events(fakes_file, "ratio", use_data_in_ratio=False)
    assert targets_of(data, "train") == {"tight_mc", "loose_mc"}
    assert data.sides == (-1, -1, 1, 0)


def test_without_simulation_two_classes_are_left(fakes_file: Path) -> None:
    data = open_events(fakes_file, "ratio", subtract_mc=False)
    assert data.classes == ("tight_data", "loose_data")
    assert targets_of(data, "val") == {"tight_data", "loose_data"}
    labels = EventFile.open(fakes_file).labels()
    assert set(labels[data.rows("train")]) == {0, 1}


def test_all_stages_prepare_events_in_the_same_way(fakes_file: Path) -> None:
    payloads = [open_events(fakes_file, role).payload() for role in ROLES]
    assert payloads[0] == payloads[1] == payloads[2]
    prints = {open_events(fakes_file, role).fingerprint for role in ROLES}
    assert len(prints) == 3


def test_every_number_rides_along_in_the_unit_of_the_file(fakes_file: Path) -> None:
    data = open_events(fakes_file, features=["abs_eta"], feature_scaling={"numer_scaler_type": "quantile"})
    assert data.spectators == ("abs_eta", "pt")
    assert data.inputs.events.numerical == ("abs_eta",)
    file = EventFile.open(fakes_file)
    batch = next(iter(data.val_dataloader()))
    for place, name in enumerate(data.spectators):
        np.testing.assert_array_equal(batch.spectators[:, place], file.column(name)[batch.rows])
    np.testing.assert_allclose(batch.event_weights, file.weights()[batch.rows], rtol=1e-6)


def test_labels_of_a_file_are_put_together_to_regions(fakes_file: Path) -> None:
    regions = {
        "tight": {"data": ["loose_data"], "mc": ["tight_mc", "loose_mc"]},
        "loose": {"data": ["tight_data"]},
    }
    data = open_events(fakes_file, "ratio", subtract_mc=False, regions=regions)
    file = EventFile.open(fakes_file)
    assert set(file.labels()[data.rows("train")]) == {0, 1}
    batch = next(iter(data.val_dataloader()))
    np.testing.assert_array_equal(batch.targets == 0, file.labels()[batch.rows] == 1)


# -- cuts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ({"pt_cut": {"min": 40.0}}, lambda pt, eta: pt >= 40),
        ({"pt_cut": {"min": 40.0, "max": 60.0}}, lambda pt, eta: (pt >= 40) & (pt < 60)),
        ({"crack_veto": {"variable": "abs_eta"}}, lambda pt, eta: (eta <= 1.37) | (eta >= 1.52)),
    ],
)
def test_cuts_leave_events_out_of_every_split_and_every_fit(fakes_file: Path, cut: Any, kept: Any) -> None:
    file = EventFile.open(fakes_file)
    expected = kept(file.column("pt"), file.column("abs_eta"))
    data, whole = open_events(fakes_file, **cut), open_events(fakes_file)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(data.rows(split), whole.rows(split)[expected[whole.rows(split)]])
        assert len(data.rows(split)) < len(whole.rows(split))
    assert data.payload()["events"] != whole.payload()["events"]
    assert data.fingerprint != whole.fingerprint


def test_a_slice_without_events_is_refused_by_name(fakes_file: Path) -> None:
    with pytest.raises(DataError, match=r"the slice '299.9:300' of pt has no tight_data events to train on"):
        open_events(fakes_file, pt_slices=["20:299.9", "299.9:300"])


# -- trained models ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(trained: FakesBench) -> dict[str, Restored]:
    return {"tight": restore(trained.best("numerator")), "loose": restore(trained.best("denominator"))}


@pytest.mark.parametrize("use_data", [True, False])
def test_each_head_learns_from_the_subtraction_of_its_own_number(
    trained: FakesBench, models: dict[str, Restored], use_data: bool
) -> None:
    """Compared with ``1 - 1/r`` and ``r - 1`` in double precision, computed from the checkpoints by hand."""
    settings = {"heads": 3, "models": models, "use_data_in_ratio": use_data, "training": {"poisson_bootstrap": True}}
    data, plain = open_events(trained.events, "ratio", **settings), open_events(trained.events, "ratio", heads=3)
    file = EventFile.open(trained.events)
    for split in ("train", "val"):
        rows = data.rows(split)
        batch = data.preprocessor.batch(file, rows)
        tight = (torch.tensor(data.sides)[batch.targets] == 1).unsqueeze(1)
        ratios = torch.where(tight, models["tight"].log_ratios(batch), models["loose"].log_ratios(batch)).double().exp()
        factors = (1 - 1 / ratios if use_data else ratios - 1).numpy()
        signed = file.weights()[rows, None] * factors
        copies = poisson_copies(file.group_ids()[rows], 3, 7) if split == "train" else np.ones((len(rows), 3))
        expected = signed * copies if split == "train" else np.repeat(signed.mean(1, keepdims=True), 3, axis=1)
        np.testing.assert_allclose(data.weights.loss[rows], expected, rtol=2e-4, atol=1e-4)
        np.testing.assert_allclose(data.weights.events[rows], signed.mean(1), rtol=2e-4, atol=1e-4)
    assert data.fingerprint != plain.fingerprint  # the models are part of the data


def test_the_same_models_are_the_same_data_on_every_processor(
    trained: FakesBench, models: dict[str, Restored], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another processor, that is, where the ratios of the same weights differ in their last digits."""
    settings: dict[str, Any] = {"heads": 3, "training": {"poisson_bootstrap": True}}
    here = open_events(trained.events, "ratio", models=models, **settings)
    swapped = {"tight": models["tight"], "loose": replace(models["loose"], network=deepcopy(models["loose"].network))}
    with torch.no_grad():
        next(swapped["loose"].network.parameters()).mul_(1.5)
    other = open_events(trained.events, "ratio", models=swapped, **settings)
    computed = Restored.log_ratios
    monkeypatch.setattr(Restored, "log_ratios", lambda model, events: computed(model, events) + 1e-6)
    elsewhere = open_events(trained.events, "ratio", models=models, **settings)
    assert not torch.equal(elsewhere.weights.loss, here.weights.loss)
    assert elsewhere.earlier_fingerprints != here.earlier_fingerprints
    assert elsewhere.fingerprint == here.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "training",
    [
        {"poisson_bootstrap": True},
        {"poisson_bootstrap": True, "twins": 1},
        {"poisson_bootstrap": True, "balanced_replicas": True},
        {"mc_norm_sigma": 0.1},
        {"weight_clip_quantile": 0.9},
    ],
    ids=str,
)
def test_what_weighs_the_heads_is_part_of_the_data(fakes_file: Path, training: dict[str, Any]) -> None:
    plain, drawn = open_events(fakes_file, heads=4), open_events(fakes_file, heads=4, training=training)
    fewer = {name: value for name, value in training.items() if name not in {"twins", "balanced_replicas"}}
    assert drawn.fingerprint != plain.fingerprint
    if fewer != training:
        assert drawn.fingerprint != open_events(fakes_file, heads=4, training=fewer).fingerprint


def test_a_single_head_learns_from_the_mean_of_an_ensemble(trained: FakesBench, models: dict[str, Restored]) -> None:
    one = open_events(trained.events, "ratio", heads=1, models=models).weights
    three = open_events(trained.events, "ratio", heads=3, models=models).weights
    assert one.loss.shape[1] == 1
    torch.testing.assert_close(one.loss[:, 0], three.events)


# -- events that nothing can be learned from ---------------------------------------------------------------------------


def test_labels_that_are_missing_are_named(fakes_file: Path) -> None:
    with pytest.raises(DataError, match=r"regions\.tight\.data: .* no event is labelled 'tight_dat'.*'tight_data'"):
        open_events(fakes_file, regions={"tight": {"data": ["tight_dat"], "mc": ["tight_mc"]}})
    with pytest.raises(DataError, match=r"regions\.loose\.mc: .*'none'"):
        open_events(fakes_file, regions={"loose": {"data": ["loose_data"], "mc": ["none"]}})


def test_columns_that_are_missing_are_named(fakes_file: Path) -> None:
    with pytest.raises(DataError, match=r"pt_variable: .* no numerical column 'p'"):
        open_events(fakes_file, pt_variable="p")
    with pytest.raises(DataError, match=r"crack_veto\.variable: .* no numerical column 'eta'.*'abs_eta'"):
        open_events(fakes_file, crack_veto={})


def test_a_region_that_a_cut_empties_is_refused(fakes_file: Path) -> None:
    with pytest.raises(DataError, match=r"The train split has no events of class 'tight_data'"):
        open_events(fakes_file, pt_cut={"min": 299.99})
