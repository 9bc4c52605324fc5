"""Piles of SeeSawML, one a file or merged into one: their own metadata say what is padding and what the labels are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from by_hand import convert, lists

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.hep.events.conversion import Report, convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion

METADATA = {"labels": {"ttH": 0, "ttbar": 3, "never": 5}, "pad_values": {"jets": 999.0, "muons": 999.0}}
CONFIG = """
sources: [{file: FILES, label_codes: events.label_type, weight: events.weights}]
columns: {x: events.x}
objects: {jets: {columns: {pt: jets.jet_pt, kind: {from: jets.jet_type, kind: categorical}}}}
"""


def tables(first: int, n: int) -> dict[str, np.ndarray]:
    """Return ``n`` events with up to two jets, the third of which has none; numbers go on from ``first``."""
    events = np.zeros(n, [("x", "f4"), ("weights", "f4"), ("label_type", "i8")])
    events["x"], events["weights"] = first + np.arange(n), 1.0
    events["label_type"] = np.where(np.arange(n) % 2, 3, 0)
    jets = np.full((n, 2), 999, [("jet_pt", "f4"), ("jet_type", "i8")])
    jets["jet_pt"][:, 0], jets["jet_type"][:, 0] = 10 + events["x"], 2
    jets["jet_pt"][0, 1], jets["jet_type"][0, 1] = 999, 1  # a jet whose pt happens to be the value of padding: lost
    jets[2:3] = (999, 999)
    return {"events": events, "jets": jets}


def write(path: Path, content: dict[str, Any], metadata: object = METADATA) -> None:
    with h5py.File(path, "w") as file:
        for name, table in content.items():
            file[name] = table
        file["metadata"] = metadata if isinstance(metadata, str) else json.dumps(metadata)


def test_a_pile_says_itself_what_is_padding_and_what_the_labels_are(tmp_path: Path) -> None:
    write(tmp_path / "p0.hdf5", tables(0, 4))
    file = convert(tmp_path, CONFIG.replace("FILES", "p0.hdf5"))
    assert lists(file, "jets", "pt") == [[10], [11], [], [13]]
    assert file.classes == ("ttH", "ttbar")  # those that occur, in the order of the metadata
    assert file.labels().tolist() == [0, 1, 0, 1]
    assert file.objects["jets"].columns["kind"].categories == ("2",)


def test_merged_piles_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    parts = {
        f"{name}/p{number}": table for number, first in ((10, 5), (2, 0)) for name, table in tables(first, 5).items()
    }
    write(tmp_path / "merged.hdf5", parts)
    file = convert(tmp_path, "chunk_rows: 3" + CONFIG.replace("FILES", "merged.hdf5"))
    assert file.column("x").tolist() == list(range(10))
    one = {name: np.concatenate([tables(first, 5)[name] for first in (0, 5)]) for name in ("events", "jets")}
    write(tmp_path / "one.hdf5", one)
    other = convert(tmp_path, CONFIG.replace("FILES", "one.hdf5"), "one.h5")
    assert lists(file, "jets", "pt") == lists(other, "jets", "pt")
    assert file.labels().tolist() == other.labels().tolist()
    assert file.event_ids().tolist() == other.event_ids().tolist()


def test_what_is_padding_is_said_once(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"p{number}.hdf5", tables(5 * number, 5))
    report = _converted(tmp_path, CONFIG.replace("FILES", "'p*.hdf5'"))
    assert report.n_read == 15
    assert report.notes == ("slots of jets that are 999 throughout are padding, as 'metadata' says",)


def test_a_mistake_is_told_once_however_many_piles_have_it(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"p{number}.hdf5", tables(5 * number, 5))
    with pytest.raises(ConfigError, match=r"no column 'events\.y' in p0\.hdf5 and 3 more files\.") as caught:
        _converted(tmp_path, CONFIG.replace("FILES", "'p*.hdf5'").replace("events.x", "events.y"))
    assert str(caught.value).count("'events.y'") == len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({}, "p0.hdf5 has no 'labels' in its metadata: give a label."),
        ("[1, 2]", "p0.hdf5 has no 'labels' in its metadata: give a label."),
        ({"labels": ["a"]}, r"'labels' of 'metadata' is no mapping of names to numbers, but \['a'\]"),
    ],
)
def test_metadata_without_labels_are_no_help(tmp_path: Path, metadata: object, error: str) -> None:
    write(tmp_path / "p0.hdf5", tables(0, 5), metadata)
    with pytest.raises((ConfigError, DataError), match=error):
        convert(tmp_path, CONFIG.replace("FILES", "p0.hdf5"))


def test_piles_that_disagree_on_their_labels_are_named(tmp_path: Path) -> None:
    write(tmp_path / "p0.hdf5", tables(0, 5))
    write(tmp_path / "p1.hdf5", tables(5, 5), {"labels": {"ttH": 3, "ttbar": 0}})
    with pytest.raises(ConfigError, match=r"files give the labels other numbers, or none: p0\.hdf5"):
        convert(tmp_path, CONFIG.replace("FILES", "'p*.hdf5'"))


def test_tables_of_other_piles_cannot_be_used_together(tmp_path: Path) -> None:
    own = tables(0, 5)
    write(tmp_path / "m.hdf5", {"events/p0": own["events"], "events/p1": own["events"], "jets/p0": own["jets"]})
    with pytest.raises(DataError, match=r"different numbers of events: .*events\.\w+ 10 in 2 piles.*jets"):
        convert(tmp_path, CONFIG.replace("FILES", "m.hdf5"))


def test_a_source_has_one_way_of_labelling(tmp_path: Path) -> None:
    text = "sources: [{file: a.h5, label: a, label_codes: events.label_type}]\ncolumns: {x: }"
    with pytest.raises(ConfigError, match="label and label_codes both give the classes"):
        convert(tmp_path, text)


def _converted(folder: Path, text: str) -> Report:
    (folder / "events.yaml").write_text(text)
    return convert_events(read_conversion(folder / "events.yaml"), folder / "events.h5")
