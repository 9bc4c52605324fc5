"""Runs of an earlier version are at home: listed, shown, evaluated, used and resumed, with the numbers of then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from golden_before import ARCHIVES, FAMILIES, LOGS, unpack, use
from golden_run import is_close, records

from tabstar_lit.commands.cli import main

RUN = LOGS / "before"


def stored(family: str) -> dict[str, Any]:
    """Return the numbers of before."""
    numbers: dict[str, Any] = json.loads((ARCHIVES / f"{family}.json").read_text(encoding="utf-8"))
    return numbers


REDEFINED = ("_chi2", " lr")
"""What has another definition since: bins of fakes merge until each can be tested; ``lr`` is that of its own step."""


def apart(found: Any, expected: Any, place: str = "") -> list[str]:
    """Return where nested numbers are not those expected; words and whole numbers must be equal.

    There may be further ones, such as a metric that is new.
    """
    if isinstance(expected, dict):
        missing = [f"{place}/{key}: missing" for key in expected if key not in found]
        known = [key for key in expected if key in found]
        return missing + [line for key in known for line in apart(found[key], expected[key], f"{place}/{key}")]
    if isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{place}: {len(found)} values instead of {len(expected)}"]
        return [line for i, value in enumerate(expected) for line in apart(found[i], value, f"{place}/{i}")]
    same = is_close(found, expected) if isinstance(expected, float) else found == expected
    return [] if same else [f"{place}: {found}, was {expected}"]


def tabstar_lit(*arguments: str) -> str:
    """Run a verb in this process and return what it printed."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a family whose run of before lies in the working directory."""
    unpack(request.param, tmp_path)
    monkeypatch.chdir(tmp_path)
    name: str = request.param
    return name


def test_the_run_is_listed_and_shown(family: str) -> None:
    (listed,) = json.loads(tabstar_lit("runs", "list", "--json"))
    assert (listed["name"], listed["status"], listed["family"]) == ("golden/before", "finished", family)
    assert (listed["command"], listed["directory"]) == (FAMILIES[family].command, str(RUN))
    shown = tabstar_lit("runs", "show", "before")
    for stage, result in listed["stages"].items():
        assert f"stage {stage} finished: best {result['monitor']}" in shown
    details = json.loads(tabstar_lit("runs", "show", "before", "--json", "-m", "train_loss_step"))
    losses = [point["train_loss_step"] for point in details["series"]["train_loss_step"]]
    assert losses == [record["train_loss_step"] for record in records(RUN) if "train_loss_step" in record]
    assert len(losses) >= 16


def test_the_run_is_evaluated_used_and_resumed_to_the_numbers_of_before(family: str, tmp_path: Path) -> None:
    former = json.loads((RUN / "run.json").read_text())["stages"]
    found = [
        line for line in apart(use(family, tmp_path), stored(family)) if not any(name in line for name in REDEFINED)
    ]
    assert not found, "\n".join(found)
    (resumed, evaluated) = json.loads(tabstar_lit("runs", "list", "--json"))
    assert (resumed["status"], evaluated["name"]) == ("finished", "golden/evaluated")
    for stage, result in resumed["stages"].items():
        assert result["steps"] > former[stage]["steps"]
        assert result["mlflow_run_id"] == former[stage]["mlflow_run_id"]  # the curve goes on in the tracker, too


def test_a_number_that_moved_is_found() -> None:
    expected = stored("signal")
    moved = json.loads(json.dumps(expected))
    moved["predictions"]["p_signal"][7] += 2e-6
    lost, _ = moved["weights"].popitem()
    found = apart(moved, expected)
    assert [line.split(":")[0] for line in found] == ["/predictions/p_signal/7", f"/weights/{lost}"]
    assert len(apart(expected, moved)) == 1
