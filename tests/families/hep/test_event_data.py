"""The data module of events: what reaches a network, from memory and streamed, and what is refused."""

from __future__ import annotations

import dataclasses
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hand_made_events import dataset, make_chunk, write_events

from tabstar_lit.errors import ConfigError, TabstarLitError
from tabstar_lit.families.hep.batch import EventBatch, Inputs
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.events.file import EventChunk, EventFile
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.blocks import merge
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor, arrange

N = 1500
CHUNK = make_chunk(N)
FEATURES = ["*", "jets.*"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", CHUNK)


def replaced(**columns: Any) -> EventChunk:
    return dataclasses.replace(CHUNK, columns=CHUNK.columns | columns)


def collected(data: EventData, epoch: int = 0) -> EventBatch:
    """All training batches of an epoch, in the order of the file."""
    served = data.train_dataset()
    parts = [served[key] for key in data.train_plan().batches(epoch)]
    return merge(parts, torch.argsort(torch.cat([part.rows for part in parts])))


def leaves(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    return [leaf for part in (batch.values() if isinstance(batch, dict) else batch) for leaf in leaves(part)]


def test_flat_features_are_the_scaled_columns(path: Path) -> None:
    data = EventData(dataset(path, spectators=["m_jj"], features=["met", "m_jj", "channel"]), seed=0)
    rows, batch = data.rows("train"), collected(data)
    met, m_jj = (CHUNK.columns[name].astype(np.float32).astype(float)[rows] for name in ("met", "m_jj"))
    expected = np.stack([(met - met.mean()) / met.std(), (m_jj - np.nanmean(m_jj)) / np.nanstd(m_jj)], axis=1)
    np.testing.assert_allclose(batch.features.numerical, np.nan_to_num(expected), atol=1e-5)
    np.testing.assert_array_equal(batch.spectators[:, 0], m_jj.astype(np.float32))
    # Codes follow the sorted categories e, mu, tau; 0 is for missing ones.
    np.testing.assert_array_equal(
        batch.features.categorical[:, 0], np.array([2, 1, 3, 0])[CHUNK.columns["channel"][rows]]
    )
    np.testing.assert_array_equal(batch.targets, CHUNK.labels[rows])
    np.testing.assert_allclose(batch.event_weights, CHUNK.weights[rows], rtol=1e-6)
    np.testing.assert_array_equal(batch.rows, rows)
    assert data.inputs.events.cardinalities == (4,)
    assert (batch.loss_weights == 1).all()


def test_objects_are_padded_ordered_and_cut(path: Path) -> None:
    settings = {"features": ["jets.eta", "jets.flavour"], "max_objects": 2, "order_by": {"jets": "pt"}}
    data = EventData(dataset(path, **settings), seed=0, momenta=True)
    jets = data.val_dataset()[data.val_plan().batches(0)[0]].features.objects["jets"]
    flat, counts = CHUNK.objects["jets"].columns, CHUNK.objects["jets"].counts
    ends = np.cumsum(counts)
    assert jets.mask.shape[1] == data.inputs.objects["jets"].max_objects == 2
    for slot, row in enumerate(data.rows("val")[:64]):
        own = np.arange(ends[row] - counts[row], ends[row])
        kept = own[np.argsort(-flat["pt"][own])][:2]
        n = len(kept)
        assert jets.mask[slot].tolist() == [True] * n + [False] * (2 - n)
        pt, eta, mass = flat["pt"][kept], flat["eta"][kept], flat["mass"][kept]
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
        expected = np.stack([pt, eta, flat["phi"][kept], energy], axis=1)
        np.testing.assert_allclose(jets.momenta[slot, :n], expected, rtol=1e-5)
        codes = np.array([2, 3, 1])[flat["flavour"][kept]]  # sorted: b, g, q
        np.testing.assert_array_equal(jets.categorical[slot, :n, 0], codes)
        assert not jets.numerical[slot, n:].any()
        assert not jets.momenta[slot, n:].any()


def test_memory_padded_or_not_and_stream_serve_the_same(path: Path) -> None:
    settings: dict[str, Any] = {"features": FEATURES, "missing": "indicator", "spectators": ["met"]}
    cached = EventData(dataset(path, **settings), seed=1, momenta=True)
    tight = EventData(dataset(path, **settings, cache="memory", max_memory_gb=1e-4), seed=1, momenta=True)
    stream = EventData(dataset(path, **settings, max_memory_gb=1e-4), seed=1, momenta=True)
    assert (cached.streamed, tight.streamed, stream.streamed) == (False, False, True)
    np.testing.assert_array_equal(collected(cached, 3).rows, cached.rows("train"))
    for first, *others in zip(*(leaves(collected(data, 3)) for data in (cached, tight, stream)), strict=True):
        for other in others:
            torch.testing.assert_close(other, first, rtol=0, atol=0, equal_nan=True)
    orders = [[key.rows.tolist() for key in data.train_plan().batches(0)] for data in (cached, stream)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_serve_each_split_whole(path: Path, workers: int) -> None:
    options = {"batch_size": 100, "num_workers": workers}
    split = {"val": 0.2, "test": 0.2, "calib": 0.2}
    data = EventData(dataset(path, split=split, dataloader_kwargs=options, features=FEATURES), seed=0)
    loaders = {"train": data.train_dataloader(), "val": data.val_dataloader(), "test": data.test_dataloader()}
    loaders["calib"] = data.split_dataloader("calib")
    rows = {name: torch.cat([batch.rows for batch in loader]).numpy() for name, loader in loaders.items()}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(N))
    groups = {name: set(CHUNK.group_ids[own].tolist()) for name, own in rows.items()}
    assert sum(map(len, groups.values())) == len(set(CHUNK.group_ids.tolist()))


@pytest.mark.parametrize("scaler", ["standard", "minmax", "quantile", "power"])
def test_nothing_held_out_leaks_into_what_is_learned(path: Path, tmp_path: Path, scaler: str) -> None:
    settings = {"features": FEATURES, "feature_scaling": {"numer_scaler_type": scaler}, "ple_bins": 8}
    data = EventData(dataset(path, **settings), seed=0, bin_edges=True)
    held_out = np.ones(N, dtype=bool)
    held_out[data.rows("train")] = False
    jets = CHUNK.objects["jets"]
    columns = CHUNK.columns | {
        "met": np.where(held_out, 1e4, CHUNK.columns["met"]),
        "m_jj": np.where(held_out, np.nan, CHUNK.columns["m_jj"]),
    }
    own = np.repeat(held_out, jets.counts)
    objects = {"jets": dataclasses.replace(jets, columns=jets.columns | {"pt": np.where(own, 9e3, jets.columns["pt"])})}
    other = write_events(tmp_path / "other.h5", dataclasses.replace(CHUNK, columns=columns, objects=objects))
    again = EventData(dataset(other, **settings), seed=0, bin_edges=True)
    assert json_text(again.payload()) == json_text(data.payload())
    edges = data.inputs.events.bin_edges[0]
    assert len(edges) == 9
    assert all(low < high for low, high in pairwise(edges))
    assert data.inputs.events.bin_edges[data.inputs.events.numerical.index("flat")][1] > 0


def test_a_checkpoint_prepares_new_events_as_training_did(path: Path, tmp_path: Path) -> None:
    settings = {"features": FEATURES, "missing": "indicator", "feature_scaling": {"numer_scaler_type": "quantile"}}
    data = EventData(dataset(path, **settings), seed=0, momenta=True)
    file = io.BytesIO()
    torch.save(data.payload(), file)
    file.seek(0)
    payload = torch.load(file, weights_only=True)
    restored = Preprocessor.from_payload(payload)
    assert restored.inputs == data.inputs == Inputs.from_plain(payload["inputs"])
    key = data.val_plan().batches(0)[0]
    batch = restored.batch(EventFile.open(path), key.rows)
    for mine, theirs in zip(leaves(batch), leaves(data.val_dataset()[key]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    events = data.inputs.events
    assert events.numerical == ("met", "m_jj", "flat", "m_jj_missing")
    missing = np.isnan(CHUNK.columns["m_jj"][key.rows])
    np.testing.assert_array_equal(batch.features.numerical[:, 3], missing)


def test_classes_merge_by_name_and_others_are_left_out(path: Path) -> None:
    merged = [{"background": ["wjets", "ttbar"]}, "signal"]
    data = EventData(dataset(path, classes=merged), seed=0)
    np.testing.assert_array_equal(collected(data).targets, CHUNK.labels[data.rows("train")] == 2)
    assert (data.classes, data.output_dim, data.signal_index) == (("background", "signal"), 1, 1)
    data = EventData(dataset(path, classes=["signal", "wjets"], signal="signal"), seed=0)
    assert (data.output_dim, data.signal_index) == (1, 0)
    assert set(CHUNK.labels[data.rows("train")]) == {1, 2}
    data = EventData(dataset(path, signal=["wjets", "signal"]), seed=0)
    assert (data.output_dim, data.signal_index) == (3, (1, 2))


@pytest.mark.parametrize("use_mc_weights", [True, False])
def test_class_weights_balance_the_classes(path: Path, use_mc_weights: bool) -> None:
    settings = {"use_class_weights": True, "use_mc_weights": use_mc_weights}
    plain, normed = (EventData(dataset(path, **settings, norm_class_weights=norm), seed=0) for norm in (False, True))
    train = plain.rows("train")
    weights = CHUNK.weights[train] if use_mc_weights else np.ones(len(train))
    sums = np.bincount(CHUNK.labels[train], weights=weights)
    np.testing.assert_allclose(plain.class_weights, weights.sum() / (3 * sums))
    batch = collected(normed)
    assert batch.loss_weights.double().mean() == pytest.approx(1, abs=1e-6)
    totals = np.bincount(batch.targets, weights=batch.loss_weights)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


@pytest.mark.parametrize("policy", ["absolute", "zero", "drop"])
def test_negative_weights_follow_the_policy(tmp_path: Path, policy: str) -> None:
    weights = np.where(np.arange(N) % 7 == 0, -CHUNK.weights, CHUNK.weights)
    path = write_events(tmp_path / "signed.h5", dataclasses.replace(CHUNK, weights=weights))
    data = EventData(dataset(path, use_mc_weights=True, negative_weights=policy), seed=0)
    batch, rows = collected(data), data.rows("train")
    expected = np.abs(weights) if policy == "absolute" else np.maximum(weights, 0)
    np.testing.assert_allclose(batch.loss_weights, expected[rows], rtol=1e-6)
    np.testing.assert_allclose(batch.event_weights, weights[rows], rtol=1e-6)
    assert (weights[rows] >= 0).all() == (policy == "drop")
    assert (weights[data.rows("val")] < 0).any()
    with pytest.raises(TabstarLitError, match=r"215 of 1500 event weights are negative, rows 0, 7, 14, 21, 28, …"):
        EventData(dataset(path, use_mc_weights=True), seed=0)


def test_resampling_is_for_training_only(path: Path) -> None:
    data = EventData(dataset(path, dataset_kwargs={"imbalanced_sampler": "RandomUnderSampler"}), seed=0)
    counts = np.bincount(collected(data).targets)
    assert len(set(counts.tolist())) == 1
    assert len(data.train_plan()) == -(-counts.sum() // 64)
    np.testing.assert_array_equal(np.concatenate([key.rows for key in data.val_plan().batches(0)]), data.rows("val"))


def test_categories_taken_as_numbers(path: Path) -> None:
    scaling = {"categ_scaler_type": None, "numer_scaler_type": None, "per_feature": {"met": "minmax"}}
    data = EventData(dataset(path, features=["n_jets", "met"], feature_scaling=scaling), seed=0)
    numbers = collected(data).features.numerical
    np.testing.assert_array_equal(numbers[:, 0], CHUNK.columns["n_jets"][data.rows("train")])
    assert (float(numbers[:, 1].min()), float(numbers[:, 1].max())) == pytest.approx((0, 1), abs=1e-6)
    with pytest.raises(TabstarLitError, match=r"column 'channel': .*categories cannot be taken as numbers"):
        EventData(dataset(path, features=["channel"], feature_scaling={"categ_scaler_type": None}), seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["mett"]}, "no column 'mett'. Did you mean 'met'"),
        ({"features": ["jets.ptt"]}, "'jets' have no column 'ptt'. Did you mean 'pt'"),
        ({"features": ["jet.pt"]}, "no column 'jet.pt'. Did you mean 'jets.pt'"),
        ({"spectators": ["m_j"]}, "spectators: .* 'm_j'. Did you mean 'm_jj'"),
        ({"classes": ["ttbar", "signl"]}, "no event is labelled 'signl'. Did you mean 'signal'"),
        ({"classes": ["ttbar"]}, "a classifier needs two classes"),
        ({"classes": {"a": ["ttbar"], "b": ["ttbar"]}}, "stands twice"),
        ({"signal": "ttbr"}, "no class is called 'ttbr'. Did you mean 'ttbar'"),
        ({"order_by": {"jets": "pT"}}, "order_by: .* no column 'pT'"),
        ({"max_objects": {"jet": 3}}, "max_objects: .* no objects 'jet'. Did you mean 'jets'"),
        ({"feature_scaling": {"per_feature": {"metx": "power"}}}, "'metx' is none of the features"),
        (
            {"features": ["channel"], "feature_scaling": {"per_feature": {"channel": "standard"}}},
            "per_feature: 'channel' is categorical in .*categ_scaler_type: null",
        ),
        (
            {"features": ["jets.flavour"], "feature_scaling": {"per_feature": {"jets.flavour": None}}},
            "per_feature: 'jets.flavour' is categorical",
        ),
        (
            {"spectators": ["channel"]},
            "column 'channel': .*cannot be taken as numbers. A spectator.* must be numerical",
        ),
        ({"features": ["m_jj"], "missing": "error"}, "column 'm_jj': .* missing .*first in rows"),
        ({"features": FEATURES, "momenta": {"jets": ["pt", "eta", "phi", "e"]}}, "no column 'e'"),
        ({"split": {"test": 0.0}}, "the test split has no events"),
    ],
)
def test_names_and_values_that_cannot_be_are_refused(path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TabstarLitError, match=message):
        EventData(dataset(path, **settings), seed=0, momenta=True).test_dataloader()


def test_weights_that_cannot_be_are_refused(tmp_path: Path) -> None:
    none = write_events(tmp_path / "none.h5", CHUNK, has_weights=False)
    with pytest.raises(TabstarLitError, match="the events have no weights"):
        EventData(dataset(none, use_mc_weights=True), seed=0)
    zero = write_events(tmp_path / "zero.h5", dataclasses.replace(CHUNK, weights=np.zeros(N)))
    with pytest.raises(TabstarLitError, match="the weights of all events are zero"):
        EventData(dataset(zero, use_mc_weights=True), seed=0)
    partly = dataclasses.replace(CHUNK, weights=np.where(CHUNK.labels == 1, 0.0, CHUNK.weights))
    with pytest.raises(TabstarLitError, match="the weights of all 'wjets' events are zero"):
        EventData(dataset(write_events(tmp_path / "partly.h5", partly), use_mc_weights=True), seed=0)
    rare = dataclasses.replace(CHUNK, labels=np.where(np.arange(N) < 1, 2, CHUNK.labels % 2))
    with pytest.raises(TabstarLitError, match="split has no events of class 'signal'"):
        EventData(dataset(write_events(tmp_path / "rare.h5", rare)), seed=0)


@pytest.mark.parametrize("use_mc_weights", [False, True])
@pytest.mark.parametrize("split", ["val", "test", "calib"])
def test_metrics_need_a_positive_sum_of_weights_whatever_the_loss_uses(
    path: Path, tmp_path: Path, split: str, use_mc_weights: bool
) -> None:
    settings = {"split": {"val": 0.2, "test": 0.2, "calib": 0.2}, "use_mc_weights": use_mc_weights}
    settings |= {"negative_weights": "absolute"} if use_mc_weights else {}
    good = EventData(dataset(path, **settings), seed=0)
    good.require_scorable()
    rows = good.rows(split)
    signal = rows[CHUNK.labels[rows] == 2]
    weights = CHUNK.weights.copy()
    weights[signal] *= -1
    cancelling = write_events(tmp_path / "cancelling.h5", dataclasses.replace(CHUNK, weights=weights))
    with pytest.raises(
        TabstarLitError, match=rf"{split} split: the weights of the {len(signal)} events of class"
    ) as no:
        EventData(dataset(cancelling, **settings), seed=0).require_scorable()
    assert f"'signal' sum to {weights[signal].sum():g}," in str(no.value)
    weights[signal] = 0
    zero = write_events(tmp_path / "zero.h5", dataclasses.replace(CHUNK, weights=weights))
    with pytest.raises(
        TabstarLitError, match=r"'signal' sum to 0, .*data show.*another weight, or without one|are zero"
    ):
        EventData(dataset(zero, **settings), seed=0).require_scorable()


def test_weights_of_training_events_do_not_matter_to_metrics(path: Path, tmp_path: Path) -> None:
    weights = CHUNK.weights.copy()
    rows = {split: EventData(dataset(path), seed=0).rows(split) for split in ("train", "val")}
    weights[rows["train"]] *= -1
    negative = write_events(tmp_path / "negative.h5", dataclasses.replace(CHUNK, weights=weights))
    EventData(dataset(negative), seed=0).require_scorable()
    weights[rows["val"]] *= -1
    negative = write_events(tmp_path / "both.h5", dataclasses.replace(CHUNK, weights=weights))
    with pytest.raises(TabstarLitError, match="val split: the weights of the"):
        EventData(dataset(negative), seed=0).require_scorable()


def test_values_far_from_training_and_unknown_categories_of_new_files(path: Path, tmp_path: Path) -> None:
    data = EventData(dataset(path, features=["met", "n_jets"]), seed=0)
    few = dataclasses.replace(data.preprocessor.events.categories[0], categories=("0", "2"))
    own = dataclasses.replace(
        data.preprocessor, events=dataclasses.replace(data.preprocessor.events, categories=(few,))
    )
    codes = own.batch(EventFile.open(path), np.arange(100)).features.categorical[:, 0]
    np.testing.assert_array_equal(codes, np.array([1, 0, 2, 0, 0, 0])[CHUNK.columns["n_jets"][:100]])
    tiny = EventData(dataset(write_events(tmp_path / "tiny.h5", replaced(met=CHUNK.columns["met"] * 1e-30))), seed=0)
    huge = write_events(tmp_path / "huge.h5", replaced(met=np.where(np.arange(N) == 8, 3e38, CHUNK.columns["met"])))
    with pytest.raises(TabstarLitError, match=r"huge.h5: column 'met': .*too far.*first in rows"):
        tiny.preprocessor.batch(EventFile.open(huge), np.arange(5, 20))


@pytest.mark.parametrize("cache", ["memory", "stream"])
def test_values_that_no_batch_could_hold_are_found_at_the_start(tmp_path: Path, cache: str) -> None:
    """Also where they are read anew each epoch, and in rows that do not train."""
    held_out = [5, 1400]
    jets = CHUNK.objects["jets"]
    odd = dataclasses.replace(
        CHUNK, objects={"jets": dataclasses.replace(jets, columns=jets.columns | {"mass": jets.columns["mass"].copy()})}
    )
    path = write_events(tmp_path / "odd.h5", odd)
    with h5py.File(path, "r+") as file:
        for name, rows, value in (("flat", held_out, np.inf), ("met", [3], np.inf)):
            file[f"events/{name}"][rows] = value
        file["objects/jets/mass"][7] = np.nan
    for settings, words in (
        ({"features": ["channel"], "missing": "error"}, "column 'channel': .* are missing, which neither"),
        ({"features": ["n_jets"], "spectators": ["flat"]}, r"column 'flat': 2 values are infinite; .* 5, 1400"),
        ({"features": ["jets.pt"]}, r"column 'jets.mass': 1 values are missing \(NaN\).* rows 7"),
    ):
        with pytest.raises(TabstarLitError, match=words):
            EventData(dataset(path, cache=cache, **settings), seed=0, momenta=True)


def test_bins_must_be_given_and_fingerprints_tell_data_apart(path: Path) -> None:
    with pytest.raises(ConfigError, match="ple_bins is null"):
        EventData(dataset(path), seed=0, bin_edges=True)
    base, same, other = (
        EventData(dataset(path, **settings), seed=seed).fingerprint
        for settings, seed in (({}, 0), ({}, 1), ({"split": {"seed": 1}}, 0))
    )
    assert base == same != other


def test_arrange_keeps_the_order_of_the_file_without_keys() -> None:
    rows, counts = arrange(np.array([0, 3, 3, 5]), None, 2)
    assert (rows.tolist(), counts.tolist()) == ([0, 1, 3, 4], [2, 0, 2])
    keys = np.array([1.0, np.nan, 2.0, 5.0, 5.0])
    assert arrange(np.array([0, 3, 3, 5]), keys, 3)[0].tolist() == [2, 0, 1, 3, 4]


def test_settings_that_work_against_each_other() -> None:
    wrong = dataset(
        Path("x.h5"),
        features=["a", "a"],
        use_class_weights=True,
        dataset_kwargs={"imbalanced_sampler": "RandomOverSampler"},
    )
    assert [problem.path for problem in wrong.problems()] == [("features", 1), ("use_class_weights",)]
    assert [problem.path for problem in dataset(Path("x.h5"), norm_class_weights=True).problems()] == [
        ("norm_class_weights",)
    ]
    unused = dataset(Path("x.h5"), negative_weights="drop")
    assert [problem.path for problem in unused.problems()] == [("negative_weights",)]
    assert not list(dataset(Path("x.h5"), negative_weights="drop", use_mc_weights=True).problems())
    arguments = {"imbalanced_sampler_kwargs": {"sampling_strategy": {"signal": 9}}}
    unused = dataset(Path("x.h5"), dataset_kwargs=arguments)
    assert [problem.path for problem in unused.dataset_kwargs.problems()] == [("imbalanced_sampler_kwargs",)]
    used = dataset(Path("x.h5"), dataset_kwargs={"imbalanced_sampler": "RandomOverSampler", **arguments})
    assert not list(used.dataset_kwargs.problems())
    to_target = dataset(Path("x.h5"), dataset_kwargs={"imbalanced_sampler": "RandomResamplerToTarget"})
    assert len(list(to_target.dataset_kwargs.problems())) == 1


def test_some_training_events_come_in_whole_batches_from_all_over_the_file(path: Path) -> None:
    data = EventData(dataset(path, dataloader_kwargs={"batch_size": 16}), seed=0)
    rows = data.rows("train")
    for asked, sizes in ((50, [16, 16, 16]), (5, [16])):
        batches = list(data.events.some("train", asked))
        assert [len(batch.targets) for batch in batches] == sizes
        drawn = torch.cat([batch.rows for batch in batches]).numpy()
        assert set(drawn) <= set(rows)
        assert len(set(drawn)) == sum(sizes)
        assert (drawn[0], drawn[-1]) == (rows[0], rows[-1])
    whole = torch.cat([batch.rows for batch in data.events.some("train", 10 * len(rows))])
    np.testing.assert_array_equal(whole, rows)
    streamed = EventData(dataset(path, cache="stream"), seed=0)
    assert list(streamed.some("train")) == []
