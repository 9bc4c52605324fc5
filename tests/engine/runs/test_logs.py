"""What reaches the terminal and ``log.txt``, and that Python's logging is as before afterwards."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

from tabstar_lit.engine.runs import logs
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.logs import LOGGERS, logging_to


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path, tmp_path, tmp_path, tmp_path)


def state() -> list[tuple[list[logging.Handler], bool, int]]:
    return [(list(logger.handlers), logger.propagate, logger.level) for logger in map(logging.getLogger, LOGGERS)]


def speak() -> None:
    for name in ("tabstar_lit.engine", "lightning.pytorch.trainer"):
        for level in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), level)("%s %s", name.split(".")[0], level)


@pytest.mark.parametrize(
    ("level", "ours", "lightnings"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_decides_and_lightnings_chatter_is_left_out(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], level: str, ours: list[str], lightnings: list[str]
) -> None:
    with logging_to(run, level):
        speak()
    expected = [f"tabstar_lit {word}" for word in ours] + [f"lightning {word}" for word in lightnings]
    assert capsys.readouterr().err.splitlines() == expected
    lines = (run.root / "log.txt").read_text().splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == expected
    assert f" {ours[0].upper()} tabstar_lit.engine: " in lines[0]


def test_other_ranks_say_errors_only_and_write_nothing(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "is_main_process", lambda: False)
    with logging_to(run, "debug"):
        speak()
    assert capsys.readouterr().err.splitlines() == ["tabstar_lit error", "lightning error"]
    assert not (run.root / "log.txt").exists()


def test_warnings_of_python_are_logged_but_not_those_that_tell_nothing(run: RunDirectory) -> None:
    with logging_to(run, "info"):
        warnings.warn("LeafSpec is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("a column is empty", UserWarning, stacklevel=1)
    text = (run.root / "log.txt").read_text()
    assert "a column is empty" in text
    assert "LeafSpec" not in text


def test_afterwards_all_is_as_before_also_after_an_error(run: RunDirectory) -> None:
    def crash() -> None:
        with logging_to(run, "debug"):
            raise MemoryError

    before, show = state(), warnings.showwarning
    with pytest.raises(MemoryError):
        crash()
    assert state() == before
    assert warnings.showwarning is show


def test_a_second_part_of_a_run_is_appended(run: RunDirectory) -> None:
    for text in ("first é", "second"):
        with logging_to(run, "info"):
            logging.getLogger("tabstar_lit").info(text)
    lines = (run.root / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["first é", "second"]
