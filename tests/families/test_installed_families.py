"""Families of other packages: found by their entry points; one that cannot be used says so and disturbs no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packages import install, install_family

from tabstar_lit.commands import train
from tabstar_lit.errors import ConfigError, FamilyError
from tabstar_lit.families import FAMILIES, all_families, family_of_command, get_family, installed

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that packages are looked for in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()
    for name in set(sys.modules) - known:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


def run(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of ``folder`` installed."""
    path = os.pathsep.join([str(folder), str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def tabstar_lit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "from tabstar_lit.commands.cli import main; main(prog_name='tabstar_lit')", *arguments)


def script(folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a console script the way an installer writes it."""
    return run(folder, f"from tabstar_lit.commands.train import {command}; {command}()", *arguments)


def test_a_package_adds_a_family(folder: Path) -> None:
    install_family(folder, "blocks", name="blocks", command="train_blocks")
    assert [family.name for family in all_families()] == [*FAMILIES, "blocks"]
    assert get_family("blocks") is family_of_command("train_blocks")
    assert train.train_blocks.name == "train_blocks"
    assert installed().broken == {}


def test_names_that_nobody_has_are_refused(folder: Path) -> None:
    install_family(folder, "blocks", name="blocks", command="train_blocks")
    with pytest.raises(FamilyError, match=r"no family 'block'\. There are tabstar, .*blocks"):
        get_family("block")
    with pytest.raises(ConfigError, match=r"'train_block' is no training command.*train_blocks"):
        family_of_command("train_block")
    with pytest.raises(ImportError, match="train_block"):
        from tabstar_lit.commands.train import train_block  # noqa: F401  # what a wrong console script does


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("lost = broken:family", "import no_such_package", "No module named 'no_such_package'"),
        ("lost = broken:family", "1 / 0", "ZeroDivisionError: division by zero"),
        ("lost = broken:family", "", "has no attribute 'family'"),
        ("lost = broken.models:family", "", "No module named 'broken.models'"),
        ("lost = broken:family", "family = 3", "is to name that family, and gives a int"),
        ("lost = broken:family", "from toy import ToyFamily; family = ToyFamily()", "and gives the family 'toy'"),
    ],
)
def test_a_broken_package_is_named_with_the_reason(folder: Path, entry: str, code: str, words: str) -> None:
    name, _, target = entry.partition(" = ")
    install(folder, "broken", {name: target}, code)
    install_family(folder, "whole", name="whole", command="train_whole")
    assert [family.name for family in all_families()] == [*FAMILIES, "whole"]
    with pytest.raises(FamilyError, match="lost") as caught:
        get_family("lost")
    for part in (
        "family 'lost' of the package broken 1.0 cannot be used",
        words,
        "Update that package, or uninstall it",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "command", "words"),
    [
        ("signal", "train_others", "there is another family of that name"),
        ("others", "train_signal", "its command train_signal is that of the family 'signal'"),
        ("blocks", "train_others", "there is another family of that name"),
        ("others", "train_blocks", "its command train_blocks is that of the family 'blocks'"),
    ],
)
def test_of_two_that_clash_the_first_stands(folder: Path, name: str, command: str, words: str) -> None:
    install_family(folder, "blocks", name="blocks", command="train_blocks")
    install_family(folder, "later", name=name, command=command)
    assert [family.name for family in all_families()] == [*FAMILIES, "blocks"]
    assert type(get_family("blocks")).__module__ == "blocks"
    (problem,) = installed().broken.values()
    assert "of the package later 1.0 cannot be used" in str(problem)
    assert words in str(problem)


def test_commands_go_on_beside_a_broken_package(folder: Path) -> None:
    install(folder, "broken", {"lost": "broken:family"}, "import no_such_package")
    install_family(folder, "whole", name="whole", command="train_whole")
    whole = tabstar_lit(folder, "--help")
    assert whole.returncode == 0
    assert whole.stderr.count("note: The family 'lost' of the package broken 1.0 cannot be used") == 1
    assert "train_antibody, train_whole." in " ".join(whole.stdout.split())
    for command in ("train_signal", "train_whole"):
        listed = script(folder, command, "--list", "models")
        assert (listed.returncode, listed.stderr) == (0, ""), listed.stderr
    refused = script(folder, "train_lost", "--resume", "key=value")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: The family 'lost' of the package broken 1.0 cannot be used: its entry point"
    )
    assert "Traceback" not in refused.stderr


def test_what_a_package_adds_cannot_take_a_name_that_is_there(folder: Path) -> None:
    code = """
import click
from toy import ToyFamily

class Greedy(ToyFamily):
    name = "greedy"
    command = "train_greedy"
    def verbs(self): return {"runs": click.Command("runs"), "dream": click.Command("dream", help="Dream on.")}
    def groups(self): return (click.Group("fakes"), click.Group("predict"))
    def converters(self): return (click.Command("events"), click.Command("dreams"))

family = Greedy()
"""
    install(folder, "greedy", {"greedy": "greedy:family"}, code)
    done = tabstar_lit(folder, "--help")
    assert "dream      Dream on." in done.stdout
    for words in (
        "the verb 'runs' of greedy is left out: that name is taken",
        "the command 'predict' of greedy is left out: that name is taken",
        "the command 'fakes' of greedy is left out: fakes has one of that name",
    ):
        assert done.stderr.count(words) == 1
    converters = tabstar_lit(folder, "convert", "--help")
    assert "the converter 'events' of greedy is left out: signal has one of that name" in converters.stderr
    assert "dreams" in converters.stdout
    assert "List all runs" in tabstar_lit(folder, "runs", "--help").stdout
