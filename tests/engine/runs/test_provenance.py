"""What is recorded of program and repository, and that looking it up never stops a run."""

from __future__ import annotations

import getpass
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tabstar_lit.engine.runs import provenance
from tabstar_lit.engine.runs.provenance import describe_program, git_state, user_name, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_any_change_since_are_seen(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    below = tmp_path / "deep"
    below.mkdir()
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(below) == {"commit": commit, "clean": True}
    (tmp_path / "untracked").touch()
    assert git_state(below) == {"commit": commit, "clean": False}


def test_outside_a_repository_and_in_one_without_commits_there_is_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path / "missing") is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None


@pytest.mark.parametrize(
    "failure",
    [FileNotFoundError(2, "no git here"), PermissionError(13, "refused"), subprocess.TimeoutExpired("git", 10)],
)
def test_a_git_that_is_missing_refused_or_slow_stops_nothing(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    assert git_state(Path()) is None


@pytest.mark.parametrize("failure", [OSError("no name for this number"), KeyError("getpwuid(): uid not found: 1")])
def test_who_has_no_name_stops_nothing(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise failure

    monkeypatch.setattr(getpass, "getuser", fail)
    assert user_name() is None


def test_versions_are_those_of_the_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package-anywhere"))
    python = ".".join(map(str, sys.version_info[:3]))
    expected = {"python": python, "torch": metadata.version("torch"), "no-such-package-anywhere": "not installed"}
    assert versions() == expected


def test_the_record_holds_the_command_of_this_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = describe_program(("train", "a=1"))
    assert record["argv"] == ["train", "a=1"]
    assert record["git"] is None
    assert set(record["machine"]) == {"system", "processor"}
