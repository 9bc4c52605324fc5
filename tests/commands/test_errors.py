"""How commands end: message, exit code, and a traceback only for defects."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.init import SHIPPED, init
from tabstar_lit.commands.schemas import main as schemas
from tabstar_lit.config import packaged_config_dir
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    EncoderError,
    NonFiniteError,
    RunError,
    RunInterrupted,
)


def ended_by(error: BaseException) -> Result:
    @click.command()
    def command() -> None:
        with reported_errors():
            raise error

    return CliRunner().invoke(command)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ConfigError, 2), (DataError, 2), (CheckpointError, 2), (EncoderError, 2), (RunError, 2), (NonFiniteError, 1)],
)
def test_an_error_the_user_can_act_on_is_its_message(kind: Callable[[str], Exception], code: int) -> None:
    result = ended_by(kind("file.yaml:3: do this"))
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "error: file.yaml:3: do this\n")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_stopped_run_says_how_to_go_on_and_ends_like_the_signal(signum: signal.Signals) -> None:
    interruption = RunInterrupted(signum)
    interruption.prospect = "--resume goes on from a.ckpt"
    result = ended_by(interruption)
    assert result.exit_code == 128 + signum
    assert result.stderr == f"stopped by {signum.name}; --resume goes on from a.ckpt\n"
    assert ended_by(RunInterrupted(signum)).stderr == f"stopped by {signum.name}\n", "nothing is said to be saved"


def test_ctrl_c_outside_the_training_is_no_error() -> None:
    assert (ended_by(KeyboardInterrupt()).exit_code, ended_by(KeyboardInterrupt()).stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_command_that_is_stopped_while_it_writes_leaves_nothing(tmp_path: Path, signum: signal.Signals) -> None:
    @click.command()
    def convert() -> None:
        with reported_errors(), whole_file(tmp_path / "out.h5") as part:
            part.write_text("half")
            os.kill(os.getpid(), signum)

    result = CliRunner().invoke(convert)
    assert (result.exit_code, result.stderr) == (128 + signum, f"stopped by {signum.name}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback() -> None:
    result = ended_by(KeyError("column"))
    assert (result.exit_code, type(result.exception)) == (1, KeyError)


def copied(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_init_copies_every_shipped_file_and_nothing_else(tmp_path: Path) -> None:
    result = CliRunner().invoke(init, [str(tmp_path / "new" / "place")])
    found = copied(tmp_path / "new/place")
    assert result.exit_code == 0
    assert f"copied {len(found)} files to {tmp_path}/new/place; start with training_config.yaml" in result.output
    assert {name.split("/")[0] for name in found} == set(SHIPPED)
    source = packaged_config_dir()
    assert all((source / name).read_bytes() == (tmp_path / "new/place" / name).read_bytes() for name in found)
    assert {f"model_config/{p.name}" for p in (source / "model_config").glob("*.yaml")} <= found


@pytest.mark.parametrize(("edited", "words"), [(1, " exist already; nothing"), (5, " and others exist already; not")])
def test_init_replaces_nothing_unless_it_is_forced(tmp_path: Path, edited: int, words: str) -> None:
    CliRunner().invoke(init, [str(tmp_path)])
    names = sorted(copied(tmp_path))
    for name in names[edited:]:
        (tmp_path / name).unlink()
    for name in names[:edited]:
        (tmp_path / name).write_text("mine")
    result = CliRunner().invoke(init, [str(tmp_path)])
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Choose an empty folder, or add --force to replace them." in result.stderr
    assert copied(tmp_path) == set(names[:edited])
    assert {(tmp_path / name).read_text() for name in names[:edited]} == {"mine"}
    assert CliRunner().invoke(init, [str(tmp_path), "--force"]).exit_code == 0
    assert copied(tmp_path) == set(names)
    assert (tmp_path / names[0]).read_bytes() == (packaged_config_dir() / names[0]).read_bytes()


def test_init_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert CliRunner().invoke(init, [str(tmp_path / "file")]).exit_code == 2


def test_stale_schemas_are_named_and_written_once(tmp_path: Path) -> None:
    there = ["--root", str(tmp_path)]
    written = CliRunner().invoke(schemas, [*there, "--write"]).output.splitlines()
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {line.removeprefix("updated ") for line in written} == made
    assert CliRunner().invoke(schemas, there).exit_code == 0
    edited = "schemas/training_config.schema.json"
    (tmp_path / edited).write_text("{}")
    result = CliRunner().invoke(schemas, there)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"out of date: {edited}", "run: make keys"]
    assert CliRunner().invoke(schemas, [*there, "--write"]).output == f"updated {edited}\n"
