"""What of an event file is used: patterns, classes, signal and momenta, by name."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hand_made_events import dataset, make_chunk, write_events
from pydantic import ValidationError

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.batch import Columns, Inputs
from tabstar_lit.families.hep.config import Momentum
from tabstar_lit.families.hep.events.file import (
    ColumnInfo,
    EventChunk,
    EventFile,
    EventSchema,
    EventWriter,
    ObjectChunk,
)
from tabstar_lit.families.hep.events.location import EXAMPLES, events_paths, open_events
from tabstar_lit.families.hep.preparation.selection import class_table, momentum, select

HERE = Path("x.h5")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> EventFile:
    return EventFile.open(write_events(tmp_path_factory.mktemp("selection") / "events.h5", make_chunk(30)))


def tracks_file(
    path: Path, *columns: str, categorical: tuple[str, ...] = (), flat: tuple[str, ...] = ("x",)
) -> EventFile:
    """Two events with one track each, whose columns have these names."""
    infos = {name: ColumnInfo(name) for name in columns}
    infos |= {name: ColumnInfo(name, "categorical", categories=("0",)) for name in categorical}
    schema = EventSchema(("b", "s"), {name: ColumnInfo(name) for name in flat}, {"tracks": infos}, has_weights=False)
    ids = np.arange(2, dtype=np.uint64)
    tracks = ObjectChunk(np.array([1, 1]), {name: np.zeros(2) for name in infos})
    with EventWriter(path, schema) as writer:
        writer.append(
            EventChunk(
                columns={name: np.zeros(2) for name in flat},
                labels=np.array([0, 1]),
                weights=np.ones(2),
                event_ids=ids,
                group_ids=ids,
                objects={"tracks": tracks},
            )
        )
    return EventFile.open(path)


@pytest.mark.parametrize(
    ("features", "spectators", "expected"),
    [
        (["*"], [], {"": ("met", "m_jj", "flat", "channel", "n_jets")}),
        (["*"], ["met", "flat"], {"": ("m_jj", "channel", "n_jets")}),
        (["*", "met"], ["met", "flat"], {"": ("m_jj", "channel", "n_jets", "met")}),
        (["flat", "*"], [], {"": ("flat", "met", "m_jj", "channel", "n_jets")}),
        (["jets.mass", "met", "jets.pt"], [], {"": ("met",), "jets": ("mass", "pt")}),
        (["jets.phi", "jets.*"], [], {"": (), "jets": ("phi", "pt", "eta", "mass", "btag", "flavour")}),
        (["m*"], [], {"": ("met", "m_jj")}),
        (["flat", "m*"], ["met"], {"": ("flat", "m_jj")}),
        (["n_jets", "?et", "*j*"], [], {"": ("n_jets", "met", "m_jj")}),
        (["met", "jets.p*", "jets.[m-p]*"], [], {"": ("met",), "jets": ("pt", "phi", "mass")}),
    ],
)
def test_patterns_stand_for_columns_in_the_order_they_are_given(
    file: EventFile, features: list[str], spectators: list[str], expected: dict[str, tuple[str, ...]]
) -> None:
    chosen = select(dataset(HERE, features=features, spectators=spectators), file)
    assert chosen.features == expected
    assert chosen.spectators == tuple(spectators)


def test_patterns_of_spectators_are_in_the_order_of_the_file_and_left_out_of_features(file: EventFile) -> None:
    chosen = select(dataset(HERE, features=["*"], spectators=["flat", "m*"]), file)
    assert chosen.spectators == ("flat", "met", "m_jj")
    assert chosen.features == {"": ("channel", "n_jets")}


def test_a_name_comes_before_a_pattern_that_looks_like_it(tmp_path: Path) -> None:
    odd = tracks_file(tmp_path / "odd.h5", "pt[0]", "pt0", flat=("x[0]", "x0"))
    assert select(dataset(HERE, features=["x[0]", "tracks.pt[0]"]), odd).features == {
        "": ("x[0]",),
        "tracks": ("pt[0]",),
    }
    assert select(dataset(HERE, features=["x0"], spectators=["x[0]"]), odd).spectators == ("x[0]",)


def test_events_of_one_class_are_no_matter_of_the_configuration(tmp_path: Path) -> None:
    schema = EventSchema(("zz",), {"x": ColumnInfo("x")})
    with EventWriter(tmp_path / "one.h5", schema) as writer:
        writer.append(EventChunk({"x": np.zeros(2)}, np.zeros(2, int), np.ones(2), np.arange(2, dtype=np.uint64)))
    with pytest.raises(DataError, match=r"all events are of one class, 'zz', and a classifier needs two"):
        select(dataset(HERE), EventFile.open(tmp_path / "one.h5"))


def test_an_event_column_with_a_dot_in_its_name_is_no_column_of_objects(tmp_path: Path) -> None:
    both = tracks_file(tmp_path / "dot.h5", "pt", flat=("x", "tracks.pt"))
    assert select(dataset(HERE, features=["tracks.pt"]), both).features == {"": ("tracks.pt",)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"features": ["*"], "spectators": ["met", "m_jj", "flat", "channel", "n_jets"]},
            r"leave no feature of .*events",
        ),
        ({"features": ["jets"]}, r"dataset_config\.features: .*'jets' have no column ''"),
        ({"features": ["muons.*"]}, r"dataset_config\.features: .*no column 'muons\.\*'"),
        ({"features": ["met", "jest*"]}, r"dataset_config\.features: .*no column 'jest\*'"),
        ({"features": ["jets.x*"]}, r"dataset_config\.features: .*'jets' have no column 'x\*'"),
        ({"spectators": ["x*"]}, r"dataset_config\.spectators: .*no column of the events 'x\*'"),
        ({"spectators": ["jets.pt"]}, r"spectators: .*variables of disco.*no column of the events 'jets\.pt'"),
        ({"classes": ["signal", {"signal": ["wjets"]}]}, "a class or a label stands twice"),
        ({"classes": {}}, r"needs two classes, but there is none\. .*labels \(ttbar, wjets, signal\)"),
        ({"signal": ["ttbar", "wjets", "signal"]}, "leaves no background"),
        ({"classes": {"s": ["signal"], "b": ["wjets"]}, "signal": "signal"}, r"signal: no class is called 'signal'"),
    ],
)
def test_selections_that_cannot_be_are_refused(file: EventFile, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        select(dataset(HERE, **settings), file)


@pytest.mark.parametrize(
    ("settings", "signal"),
    [
        ({}, ("signal",)),
        ({"classes": ["signal", "ttbar"]}, ("signal",)),
        ({"classes": ["wjets", "ttbar"]}, ("ttbar",)),
        ({"classes": [{"typeII": ["signal"]}, {"background": ["wjets"]}]}, ("typeII",)),
        ({"classes": ["ttbar", {"background": ["wjets"]}, {"last": ["signal"]}]}, ("last",)),
        ({"signal": "wjets"}, ("wjets",)),
        ({"signal": ["wjets", "ttbar"]}, ("wjets", "ttbar")),
        ({"signal": ["wjets", "wjets"]}, ("wjets",)),
    ],
)
def test_the_signal_is_the_class_of_that_name_else_the_last_or_as_given(
    file: EventFile, settings: dict[str, Any], signal: tuple[str, ...]
) -> None:
    assert select(dataset(HERE, **settings), file).signal == signal


def test_labels_of_another_file_find_their_class_by_name() -> None:
    classes = {"background": ("wjets", "ttbar"), "signal": ("signal",)}
    assert class_table(classes, ("signal", "zjets", "ttbar", "wjets")).tolist() == [1, -1, 0, 0, -1]
    assert class_table(classes, ())[np.array([-1])].tolist() == [-1]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("pt", "eta", "phi", "energy", "mass"), ("pt", "eta", "phi", "energy", None)),
        (("PT", "Eta", "PHI", "M"), ("PT", "Eta", "PHI", None, "M")),
        (("pT", "ETA", "Phi", "m", "E"), ("pT", "ETA", "Phi", "E", None)),
        (("Pt", "pt", "eta", "phi", "e"), ("pt", "eta", "phi", "e", None)),
    ],
)
def test_momenta_are_guessed_from_names_the_energy_before_the_mass(
    tmp_path: Path, columns: tuple[str, ...], expected: tuple[str | None, ...]
) -> None:
    found = momentum(dataset(HERE), tracks_file(tmp_path / "e.h5", *columns), "tracks")
    assert tuple(found.model_dump().values()) == expected


@pytest.mark.parametrize("lacking", ["pt", "eta", "phi", "mass"])
def test_momenta_that_cannot_be_guessed_say_what_there_is(tmp_path: Path, lacking: str) -> None:
    names = [name for name in ("pt", "eta", "phi", "mass") if name != lacking]
    tracks = tracks_file(tmp_path / "e.h5", *names, categorical=(lacking,))
    with pytest.raises(
        DataError, match=rf"of 'tracks' are pt.*they have {', '.join(names)}, {lacking}\. Say so: .*tracks"
    ):
        momentum(dataset(HERE), tracks, "tracks")


def test_momenta_are_taken_as_given_but_must_be_numbers(file: EventFile) -> None:
    as_list = dataset(HERE, momenta={"jets": ["mass", "phi", "eta", "pt"]})
    assert momentum(as_list, file, "jets") == Momentum(pt="mass", eta="phi", phi="eta", energy="pt")
    named = dataset(HERE, momenta={"jets": {"pt": "btag", "mass": "pt"}})
    assert momentum(named, file, "jets") == Momentum(pt="btag", mass="pt")
    coded = dataset(HERE, momenta={"jets": ["pt", "eta", "phi", "flavour"]})
    with pytest.raises(DataError, match=r"momenta\.jets: column 'flavour' is categorical, a momentum needs numbers"):
        momentum(coded, file, "jets")


@pytest.mark.parametrize(
    ("parts", "n_problems"), [({"mass": "m"}, 0), ({"energy": "e"}, 0), ({}, 1), ({"mass": "m", "energy": "e"}, 1)]
)
def test_a_momentum_has_an_energy_or_a_mass(parts: dict[str, str], n_problems: int) -> None:
    assert len(list(Momentum(**parts).problems())) == n_problems


@pytest.mark.parametrize(
    "settings",
    [
        {"features": []},
        {"features": [""]},
        {"max_objects": 0},
        {"max_objects": {"jets": 0}},
        {"split": {"val": 1.5}},
        {"folds": {"n": 1}},
        {"ple_bins": 0},
        {"max_memory_gb": 0},
        {"negative_weights": "keep"},
        {"dataloader_kwargs": {"batch_size": 0}},
        {"momenta": {"jets": ["pt", "eta", "phi"]}},
        {"dataset_kwargs": {"imbalanced_sampler_kwargs": {"sampling_strategy": {"signal": 0}}}},
    ],
)
def test_settings_outside_their_range_are_no_configuration(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        dataset(HERE, **settings)


def test_what_a_network_is_built_for_survives_a_checkpoint_also_of_an_older_release() -> None:
    events = Columns(("met",), ("channel",), (3,), ((0.0, 0.5),), 0, (("e", "mu"),))
    inputs = Inputs(events, {"jets": dataclasses.replace(events, max_objects=4)}, ("b", "s"), ("s",))
    plain = json.loads(json.dumps(inputs.to_plain()))
    assert Inputs.from_plain(plain) == inputs
    for key in ("classes", "signal"):
        del plain[key]
    del plain["events"]["categories"]
    assert Inputs.from_plain(plain) == Inputs(dataclasses.replace(events, categories=()), inputs.objects)


def test_an_event_file_is_looked_for_as_given_then_below_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    (root / "sub").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(root))
    name = Path("sub/events.h5")
    assert events_paths(dataset(name))[0] == name, "found nowhere: the message names what was given"
    (root / name).touch()
    assert events_paths(dataset(name))[0] == root / name
    (here / "sub").mkdir()
    (here / name).touch()
    assert events_paths(dataset(name))[0] == name
    assert events_paths(dataset(name).model_copy(update={"files": None}))[0] == root / "signal_toy.h5"


def test_shipped_data_sets_of_files_have_an_example_to_make_them(repository: Path) -> None:
    folders = [repository / "dataset_config" / family for family in ("signal", "fakes")]
    shipped = [yaml.safe_load(path.read_text()) for folder in folders for path in folder.glob("*.yaml")]
    files = {Path(config["files"]).stem for config in shipped if config.get("files")}
    assert files == {*EXAMPLES, "events"}  # the last are the reader's own
    assert all((repository / "examples/events" / f"{name}.yaml").is_file() for name in EXAMPLES)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("evnts.h5", "Did you mean 'events.h5'?"),
        ("sub/partt.h5", "Did you mean 'sub/part.h5'?"),
        ("zz.h5", "Make it with: tabstar_lit convert events CONFIG.yaml -o {root}/zz.h5"),
        ("sub/zz.h5", "Make it with: tabstar_lit convert events CONFIG.yaml -o sub/zz.h5"),
        ("higgsml.h5", "Make it with: tabstar_lit convert events examples/events/higgsml.yaml -o {root}/higgsml.h5"),
    ],
)
def test_an_event_file_that_is_not_there_says_where_it_was_looked_for_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    for path in (root / "events.h5", here / "sub/part.h5", here / "higgsmk.h5"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(root))
    places = f"neither in the working directory, {here}, nor below the data root, {root}"
    message = f"dataset_config.files: {name}: no such file, {places}. {remedy.format(root=root)}"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        open_events(dataset(Path(name)))
    with pytest.raises(DataError, match=r"/away\.h5: no such file\. Make it with"):
        open_events(dataset(tmp_path / "away.h5"))
