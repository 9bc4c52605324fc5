"""The wheel alone is enough: it holds the configurations, and every command works from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = ["training_config.yaml", "model_config", "dataset_config", "tuning_config", "schemas"]


def run(*arguments: str | Path, cwd: Path, installed: Path | None = None) -> str:
    """Run Python in ``cwd``, with ``installed`` first on its path, and return what it printed."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | ({"PYTHONPATH": str(installed)} if installed else {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as a release would, without an environment or a network."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=REPOSITORY)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty folder that shadows the source tree."""
    target = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def shipped_files() -> set[str]:
    """Paths, relative to the repository, of every configuration file and schema."""
    found = [REPOSITORY / "training_config.yaml"]
    for name in SHIPPED[1:]:
        found += [path for path in (REPOSITORY / name).rglob("*") if path.is_file()]
    return {path.relative_to(REPOSITORY).as_posix() for path in found}


def test_wheel_holds_every_configuration(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tabstar_lit/_configs/")}
    assert inside == {f"tabstar_lit/_configs/{name}" for name in shipped_files()}


def test_wheel_holds_the_source_and_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tabstar_lit"}


def test_installed_copy_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import tabstar_lit; print(tabstar_lit.__file__)"
    assert run("-c", code, cwd=tmp_path, installed=installed).startswith(str(installed))


@pytest.mark.parametrize("name", ["train_tabstar", "track", "tabstar_lit"])
def test_help_from_an_empty_folder(installed: Path, tmp_path: Path, name: str) -> None:
    assert "Usage" in run(installed / "bin" / name, "--help", cwd=tmp_path, installed=installed)


def test_configuration_is_found_in_the_package(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "bin" / "train_tabstar", "--print-config", cwd=tmp_path, installed=installed)
    assert "experiment_config:" in printed
    assert not any(tmp_path.iterdir())


def test_check_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "bin" / "train_tabstar", "--check", cwd=tmp_path, installed=installed)
    assert "everything fits; nothing was written" in printed
    assert list(tmp_path.iterdir()) == []


def test_init_copies_the_configuration_out(installed: Path, tmp_path: Path) -> None:
    run(installed / "bin" / "tabstar_lit", "init", cwd=tmp_path, installed=installed)
    for name in SHIPPED[:3]:
        assert (tmp_path / name).exists()
    edited = (tmp_path / "training_config.yaml").read_text(encoding="utf-8")
    assert edited == (REPOSITORY / "training_config.yaml").read_text(encoding="utf-8")
