"""Every file that comes with the program composes and fits its family's schema, from any working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabstar_lit.config import load_experiment
from tabstar_lit.families import FAMILIES, get_family

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = [
    (family, f"{group}={path.relative_to(REPOSITORY / group).with_suffix('').as_posix()}")
    for family in FAMILIES
    for group in ("model_config", "dataset_config", "tuning_config")
    for path in sorted((REPOSITORY / group / family).rglob("*.yaml"))
]

NEEDED = {"dataset_config=fakes/zee": ("stages=[ratio]",)}
"""What a file cannot be chosen without: these data have no simulation, hence nothing for earlier stages to learn."""


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_load_anywhere(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = get_family(family)
    loaded = load_experiment(chosen.schema(), command=chosen.command)
    assert loaded.notices == ()
    assert [stage.name for stage in loaded.stages] == list(loaded.experiment.stages)


@pytest.mark.parametrize(("family", "choice"), FILES)
def test_every_file_can_be_chosen(family: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = get_family(family)
    loaded = load_experiment(chosen.schema(), command=chosen.command, overrides=[choice, *NEEDED.get(choice, ())])
    group, _, option = choice.partition("=")
    read = {position.file for position in loaded.tree.positions.values()}
    assert any(file.endswith(f"{group}/{option}.yaml") for file in read)
