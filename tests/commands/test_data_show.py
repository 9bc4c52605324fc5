"""``tabstar_lit data show`` as typed by a user."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tabstar_lit.commands.cli import main
from tabstar_lit.families.hep.events.toys import toy_events


def test_show_prints_tables_and_writes_figures(tmp_path: Path) -> None:
    file = toy_events(tmp_path / "toy.h5", 500)
    arguments = ["data", "show", str(file.path), "-o", str(tmp_path / "figures")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "500 events, weighted" in done.stdout
    assert f"{file.weights()[file.labels() == 1].sum():.6g}" in done.stdout
    weights = file.weights()
    assert f"{weights.sum() ** 2 / (weights**2).sum():.6g}" in done.stdout
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"met.png", "jets.png", "jets.btag.png"} <= figures
    assert len(figures) == len(file.columns) + 1 + len(file.objects["jets"].columns)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for name, words in (("notes.txt", "not an HDF5 file"), ("none.h5", "no such file")):
        done = CliRunner().invoke(main, ["data", "show", str(tmp_path / name)])
        assert done.exit_code == 2
        assert words in done.stderr
