"""``convert events`` and ``data show`` as typed: what is printed, the second run, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.data.hdf5 import write_text
from tabstar_lit.families.hep.events.file import EventFile

CONFIG = "sources: [{file: t.csv, label: {b: k == 'b', s: k == 's'}}]\ncuts: x > 0\ncolumns: {x: {unit: GeV}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t.csv").write_text("x,k\n0,b\n1,b\n2,s\n3,s\n")
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def convert(output: str = "new/e.h5") -> Result:
    return typed("convert", "events", "c.yaml", "-o", output)


def test_the_summary_counts_what_was_read_and_kept_and_says_what_is_next(folder: Path) -> None:
    done = convert()
    assert done.exit_code == 0, done.output
    wrote, hint, further = done.stdout.splitlines()
    assert wrote == "wrote new/e.h5: 3 of 4 events, classes b, s"
    assert hint == "look into it with: tabstar_lit data show new/e.h5"
    assert further.endswith("model_config=signal/mlp dataset_config=signal/events dataset_config.files=new/e.h5")
    shown = typed(*hint.partition("tabstar_lit ")[2].split())
    assert shown.exit_code == 0
    assert shown.stdout.startswith("new/e.h5: 3 events, without weights, fingerprint ")
    assert EventFile.open(folder / "new" / "e.h5").column("x").tolist() == [1, 2, 3]


def test_the_second_run_writes_nothing_until_something_changes(folder: Path) -> None:
    convert()
    before = (folder / "new" / "e.h5").stat()
    again = convert()
    assert (again.exit_code, again.stdout) == (0, "new/e.h5 is up to date: nothing was written\n")
    after = (folder / "new" / "e.h5").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    (folder / "c.yaml").write_text(CONFIG.replace("x > 0", "x < 3"))
    assert convert().stdout.startswith("wrote new/e.h5: 3 of 4 events")


def test_events_without_labels_have_no_classes(folder: Path) -> None:
    (folder / "c.yaml").write_text("sources: [{file: t.csv}]\ncolumns: {x: }\n")
    assert convert().stdout.splitlines()[0] == "wrote new/e.h5: 4 of 4 events, no classes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", "events", "c.yaml"), ("Missing option '-o' / '--output'",)),
        (("convert", "events", "none.yaml", "-o", "e.h5"), ("none.yaml: no such file",)),
        (
            ("convert", "events", "list.yaml", "-o", "e.h5"),
            ("list.yaml:1:1: expected a mapping of keys",),
        ),
        (("convert", "events", "latin.yaml", "-o", "e.h5"), ("latin.yaml:1:1: not UTF-8 text",)),
        (("convert", "events", "c.yaml", "-o", "t.csv"), ("t.csv: is one of the sources; choose another output",)),
        (("convert", "events", "c.yaml", "-o", "t.csv/e.h5"), ("t.csv/e.h5: cannot be written", "another output")),
        (("data", "show", "other.h5"), ("other.h5: files of kind 'theirs' cannot be shown", "tabstar_lit.events")),
        (("data", "show", "foreign.h5"), ("files of kind 'unknown' cannot be shown",)),
        (("data", "show", "kind.h5"), ("kind.h5:",)),
        (("data", "show", "."), (".: no such file",)),
    ],
)
def test_mistakes_end_with_a_message_and_the_exit_code_of_mistakes(
    folder: Path, arguments: Sequence[str], words: Sequence[str]
) -> None:
    (folder / "list.yaml").write_text("- a\n")
    (folder / "latin.yaml").write_bytes("sources: é".encode("latin-1"))
    for name, kind in (("other.h5", "theirs"), ("foreign.h5", None), ("kind.h5", "tabstar_lit.events")):
        with h5py.File(folder / name, "w") as file:
            file["x"] = np.arange(3)
            if kind:
                write_text(file, "kind", kind)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = typed(*arguments)
    assert done.exit_code == 2, done.output
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_show_says_how_many_figures_it_wrote_and_where(folder: Path) -> None:
    convert()
    done = typed("data", "show", "new/e.h5", "-o", "figures")
    assert done.stdout.splitlines()[-1] == "wrote 1 figures to figures"
    assert [path.name for path in (folder / "figures").iterdir()] == ["x.png"]
