"""Scores from a checkpoint alone: equal to the training module's, whatever the chunks, on any file that fits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import uproot
from hand_made_events import CLASSES, COLUMNS, JETS, make_chunk, write_events
from saved_classifier import FLAT, MLP, PARTICLES, TINY, Saved, logits_of, save, write

import tabstar_lit
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import CheckpointError, ConfigError, DataError
from tabstar_lit.families.hep.deployment import prediction
from tabstar_lit.families.hep.deployment.prediction import predict_events
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventSchema, EventWriter
from tabstar_lit.nn.attention import MultiHeadAttention

N = 400
CHUNK = make_chunk(N)
TWO = {"classes": {"background": ["ttbar", "wjets"], "signal": ["signal"]}}
JAGGED: dict[str, Any] = {
    "features": ["*", "jets.*"],
    "max_objects": 3,
    "order_by": {"jets": "pt"},
    "missing": "indicator",
}
ENSEMBLE = {**MLP, "embeddings": {"ple": True}, "ensemble": {"members": 3}, "dropout": 0.3}
CASES = {
    "ensemble": (ENSEMBLE, {"features": FLAT, "ple_bins": 8, **TWO}),
    "three classes": ({"model": "DeepSets", "n_hidden": 8}, {"features": FLAT, "spectators": ["flat"]}),
    "particles": (PARTICLES, {**JAGGED, **TWO, "split": {"by": "event", "calib": 0.1}}),
    "fused": (
        {"model": "SetTransformer", "encoder_depth": 1, "decoder_depth": 1, **TINY, "flat_model": MLP},
        {**JAGGED, "folds": {"n": 4, "fold": 1}},
    ),
}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events") / "events.h5", CHUNK)


@pytest.fixture
def flat(events: Path, tmp_path: Path) -> Saved:
    return save(tmp_path, events, MLP, features=FLAT, spectators=["flat"])


def scores(saved: Saved, data: Path, **options: Any) -> pd.DataFrame:
    output = saved.path.with_name("scores.parquet")
    n_events = predict_events(restore(saved.path), data, output, device="cpu", **options)
    table = pd.read_parquet(output)
    assert len(table) == n_events
    return table


def log_odds(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    return table[[name for name in table if name.startswith("logit")]].to_numpy()


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_training_module(name: str, events: Path, tmp_path: Path) -> None:
    architecture, settings = CASES[name]
    saved = save(tmp_path, events, architecture, **settings)
    table = scores(saved, events)
    np.testing.assert_array_equal(table["event_id"], CHUNK.event_ids)
    np.testing.assert_array_equal(table["label"], np.array(CLASSES)[CHUNK.labels])
    np.testing.assert_array_equal(table["weight"], CHUNK.weights)
    for split in ("train", "val", "test"):
        rows, logits = logits_of(saved.module, saved.data, split)
        np.testing.assert_allclose(log_odds(table)[rows], logits, atol=1e-6)
        only = scores(saved, events, split=split)
        np.testing.assert_array_equal(only["event_id"], CHUNK.event_ids[rows])
        np.testing.assert_allclose(log_odds(only), logits, atol=1e-6)


def test_chunks_and_batches_change_nothing(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save(tmp_path, events, PARTICLES, **JAGGED)
    whole = scores(saved, events, split="train")
    monkeypatch.setattr(prediction, "STORED_ROWS", 64)
    parts = scores(saved, events, split="train", batch_size=7)
    pd.testing.assert_frame_equal(whole, parts, check_exact=False, atol=1e-6)


def test_a_loaded_classifier_returns_what_is_written(events: Path, tmp_path: Path) -> None:
    saved = save(tmp_path, events, PARTICLES, **JAGGED, spectators=["flat"])
    model = tabstar_lit.load(saved.path)
    assert (model.family, model.path) == ("signal", saved.path)
    assert model.config["dataset_config"]["files"] == str(events)
    assert not model.network.training
    options: dict[str, Any] = {"split": "test", "batch_size": 7, "spectators": True}
    returned = model.predict(str(events), device="cpu", **options)
    pd.testing.assert_frame_equal(returned, scores(saved, events, **options))


@pytest.mark.parametrize("signal", ["signal", "background"])
def test_the_signal_class_has_the_sigmoid_wherever_it_stands(signal: str, events: Path, tmp_path: Path) -> None:
    table = scores(save(tmp_path, events, MLP, features=FLAT, signal=signal, **TWO), events)
    np.testing.assert_allclose(table[f"p_{signal}"], 1 / (1 + np.exp(-table["logit"])), atol=1e-6)
    np.testing.assert_allclose(table["p_signal"] + table["p_background"], 1, atol=1e-6)


def test_three_classes_have_the_softmax(flat: Saved, events: Path) -> None:
    table = scores(flat, events)
    assert [*table] == [
        *("event_id", "label", "weight"),
        *(f"logit_{name}" for name in CLASSES),
        *(f"p_{name}" for name in CLASSES),
    ]
    expected = torch.from_numpy(log_odds(table)).softmax(1)
    np.testing.assert_allclose(table[[f"p_{name}" for name in CLASSES]], expected, atol=1e-6)


def test_spectators_are_carried_along(flat: Saved, events: Path) -> None:
    assert (scores(flat, events, spectators=True)["flat"] == 7).all()


def test_columns_keep_apart_and_spectators_may_be_missing(flat: Saved, tmp_path: Path) -> None:
    """New events without labels and jets, one of their columns named as one of ours."""
    saved = save(tmp_path, one_more_column(tmp_path / "a.h5"), MLP, features=["met"], spectators=["weight", "flat"])
    columns = {"met": COLUMNS["met"], "weight": ColumnInfo("weight")}
    with EventWriter(tmp_path / "b.h5", EventSchema((), columns, {}, has_weights=False)) as writer:
        own = {"met": CHUNK.columns["met"][:9], "weight": np.arange(9)}
        ids, ones = CHUNK.event_ids[:9], np.ones(9)
        writer.append(EventChunk(own, labels=-ones.astype(int), weights=ones, event_ids=ids, objects={}))
    table = scores(saved, tmp_path / "b.h5", spectators=True)
    np.testing.assert_array_equal(table["spectator_weight"], np.arange(9))
    assert "flat" not in table
    assert table["label"].isna().all()
    np.testing.assert_allclose(log_odds(table), log_odds(scores(saved, tmp_path / "a.h5"))[:9], atol=1e-6)


def one_more_column(path: Path) -> Path:
    schema = EventSchema(CLASSES, COLUMNS | {"weight": ColumnInfo("weight")}, {"jets": JETS}, has_weights=True)
    with EventWriter(path, schema) as writer:
        writer.append(dataclasses.replace(CHUNK, columns=CHUNK.columns | {"weight": np.zeros(N)}))
    return path


def test_a_missing_column_is_named_with_the_nearest(flat: Saved, tmp_path: Path) -> None:
    columns = {"mett": CHUNK.columns["met"], "m_jj": CHUNK.columns["m_jj"], "channel": CHUNK.columns["channel"]}
    schema = EventSchema(CLASSES, {"mett": ColumnInfo("mett"), **{k: COLUMNS[k] for k in FLAT[1:]}}, {}, True)
    with EventWriter(tmp_path / "other.h5", schema) as writer:
        writer.append(dataclasses.replace(CHUNK, columns=columns, objects={}))
    with pytest.raises(DataError, match=r"other\.h5: no column 'met'. Did you mean 'mett'\?"):
        scores(flat, tmp_path / "other.h5")
    assert not flat.path.with_name("scores.parquet").exists()


def test_splits_that_are_not_there_are_refused(flat: Saved, events: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'tset'. Did you mean 'test'\?"):
        scores(flat, events, split="tset")
    with pytest.raises(DataError, match=r"the calib split has no events.*dataset_config\.split\.calib: 0\.0"):
        scores(flat, events, split="calib")


def test_a_restored_network_is_not_compiled(events: Path, tmp_path: Path) -> None:
    jagged = {"model": "DeepSets", "n_hidden": 8, "compile": True, "flat_model": {**MLP, "compile": True}}
    network = restore(save(tmp_path, events, jagged, **JAGGED).path).network
    assert all(module._compiled_call_impl is None for module in network.modules())


def test_a_restored_network_leaves_the_attention_kernel_to_torch(events: Path, tmp_path: Path) -> None:
    forced = {"sdp_backend": {"enable_math": False, "enable_flash": False}}
    beside = {"model": "EventTransformer", "transformer_depth": 1, "heads": 2, "embedding_dim": 8, **forced}
    network = restore(save(tmp_path, events, {**PARTICLES, **forced, "flat_model": beside}, **JAGGED).path).network
    attentions = [module for module in network.modules() if isinstance(module, MultiHeadAttention)]
    assert len(attentions) == 3
    assert all(module.kernels == [] for module in attentions)


def test_an_unknown_device_is_refused(flat: Saved, events: Path) -> None:
    with pytest.raises(ConfigError, match=r"--device toaster: "):
        predict_events(restore(flat.path), events, flat.path.with_name("scores.parquet"), device="toaster")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda payload: payload.pop("dataset_config"), r"keeps no dataset_config, .*older release"),
        (lambda payload: payload["architecture_config"].update(n_layer=2), "this release does not know: .*n_layer"),
        (lambda payload: payload["preprocessing"].update(version=99), "preprocessing in version 99"),
        (lambda payload: payload.update(output_dim=5), r"do not fit the network"),
    ],
    ids=["older", "architecture", "preprocessing", "weights"],
)
def test_checkpoints_that_cannot_be_restored(flat: Saved, change: Any, words: str) -> None:
    content = torch.load(flat.path, weights_only=True)
    change(content["tabstar_lit"]["payload"])
    torch.save(content, flat.path)
    with pytest.raises((CheckpointError, DataError), match=words):
        restore(flat.path)


def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "scores.parquet"
    target.write_text("old")
    with pytest.raises(TypeError), whole_file(target) as part:
        part.write_text(len("half"))  # type: ignore[arg-type]  # fails once the file is open
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    assert target.read_text() == "old"
    with pytest.raises(DataError, match="cannot be written"), whole_file(target / "below" / "a.parquet"):
        pass


def test_scores_go_back_into_root(flat: Saved, events: Path, tmp_path: Path) -> None:
    table = scores(flat, events, spectators=True)
    output = tmp_path / "scores.root"
    assert predict_events(restore(flat.path), events, output, device="cpu", spectators=True, root=True) == N
    with uproot.open(output) as file:
        tree = file["scores"]
        assert tree.num_entries == N
        assert tree.keys() == list(table)
        assert tree["event_id"].typename == "uint64_t"
        for name in table.columns.drop("label"):
            np.testing.assert_array_equal(tree[name].array(library="np"), table[name].to_numpy())
        assert tree["label"].array().tolist() == table["label"].tolist()


def test_particles_without_pairwise_terms_need_no_momenta(tmp_path: Path) -> None:
    jets = {name: info for name, info in JETS.items() if name != "pt"}
    schema = EventSchema(CLASSES, COLUMNS, {"jets": jets}, has_weights=True)
    path = tmp_path / "no_momenta.h5"
    with EventWriter(path, schema) as writer:
        writer.append(CHUNK)
    plain = {**PARTICLES, "particle_attention": None}
    features = ["*", *(f"jets.{name}" for name in jets)]
    saved = save(tmp_path, path, plain, features=features, **TWO)
    np.testing.assert_allclose(
        log_odds(scores(saved, path))[saved.data.rows("val")],
        logits_of(saved.module, saved.data, "val")[1],
        atol=1e-6,
    )
    with pytest.raises(DataError, match=r"no_momenta\.h5: cannot tell which columns of 'jets' are pt"):
        save(tmp_path, path, PARTICLES, features=features, **TWO)


def test_weights_that_are_not_finite_are_refused(flat: Saved, events: Path) -> None:
    with torch.no_grad():
        next(iter(flat.module.network.parameters()))[0] = float("nan")
    write(flat.module, flat.path)
    with pytest.raises(CheckpointError, match=r"1 of \d+ weights hold NaN or infinities, first '.*diverged"):
        restore(flat.path)
    with pytest.raises(CheckpointError, match="hold NaN or infinities"):
        tabstar_lit.load(flat.path)
