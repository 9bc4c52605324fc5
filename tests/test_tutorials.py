"""Every tutorial runs from an empty folder, and its notebook says what its script says."""

from __future__ import annotations

import runpy
from pathlib import Path

import jupytext
import pytest

from tabstar_lit.families import FAMILIES, get_family

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
SCRIPTS = sorted(FOLDER.glob("*.py"))


def test_every_family_has_one() -> None:
    text = "".join(script.read_text() for script in SCRIPTS)
    commands = [get_family(name).command for name in FAMILIES]
    assert [command for command in commands if f'"{command}"' not in text] == ["train_tabstar"]
    assert "TabSTARClassifier" in text  # in place of the command


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_tutorial(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(script))
    assert "run" in names or "model" in names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebook_is_its_script(script: Path) -> None:
    ours, theirs = (jupytext.read(path).cells for path in (script, script.with_suffix(".ipynb")))
    assert [(cell.cell_type, cell.source) for cell in ours] == [(cell.cell_type, cell.source) for cell in theirs]
