from __future__ import annotations

from pathlib import Path

import pytest

from tabstar_lit.config import find_config_dirs, packaged_config_dir, roots
from tabstar_lit.errors import ConfigError


def test_without_variables_everything_is_below_the_working_directory() -> None:
    assert roots() == (Path("data"), Path("runs/logs"), Path("runs/results"), Path("runs/models"))


@pytest.mark.parametrize("name", ["data", "logs", "results", "models"])
def test_each_variable_moves_its_root(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"ANALYSIS_ML_{name.upper()}_DIR", "/some/where")
    moved = roots()._asdict()
    assert moved.pop(name) == Path("/some/where")
    assert Path("/some/where") not in moved.values()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", "")
    assert roots().data == Path("data")


def test_directories_are_searched_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "variable").mkdir()
    monkeypatch.setenv("ANALYSIS_ML_CONFIG_DIR", str(tmp_path / "variable"))
    assert find_config_dirs(tmp_path / "given") == [
        tmp_path / "given",
        tmp_path / "variable",
        Path(),
        packaged_config_dir(),
    ]
    assert (packaged_config_dir() / "training_config.yaml").is_file()


def test_directories_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir: '.*nowhere' is not a directory"):
        find_config_dirs(tmp_path / "nowhere")
    monkeypatch.setenv("ANALYSIS_ML_CONFIG_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"ANALYSIS_ML_CONFIG_DIR: '.*nowhere' is not a directory"):
        find_config_dirs(None)
