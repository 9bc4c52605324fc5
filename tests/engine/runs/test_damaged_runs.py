"""What happened to one run is no reason to refuse another: it is named, once, and left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from runs_fixture import write_run
from stopping import typed
from toy_bench import Bench

from tabstar_lit.commands.runs import runs
from tabstar_lit.engine.runs.files import in_order, run_directories
from tabstar_lit.engine.runs.records import read_records, read_run
from tabstar_lit.errors import RunError

DAMAGE = {
    "empty": b"",
    "cut": b'{"schema_version": 1, "comm',
    "a list": b"[]",
    "a number": b"7",
    "no UTF-8": b'{"run_name": "\xff\xfe"}',
    "NUL": b"\0" * 300,
    "nested without end": b"[" * 100_000,
    "thousands of digits": b'{"created": ' + b"1" * 5000 + b"}",
    "stages of another kind": b'{"stages": ["train"]}',
    "a stage of another kind": b'{"stages": {"train": 3}}',
    "no time": b'{"created": "yesterday"}',
}
ONE_EPOCH = "model_config.training_config.max_epochs=1"


def damage(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(DAMAGE[kind])
    return path


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_record_says_where_it_lies_and_what_to_do(tmp_path: Path, kind: str) -> None:
    path = damage(tmp_path / "run" / "run.json", kind)
    with pytest.raises(RunError, match=rf"{path}(:\d+:\d+)?: .*put it back, or remove its folder\.$"):
        read_run(path.parent)


def test_a_record_nobody_may_read_and_one_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RunError, match=r"run\.json cannot be read: Is a directory"):
        read_run(tmp_path)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_healthy_run_is_resumed_beside_a_damaged_one(
    bench: Bench, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    assert typed(bench, ONE_EPOCH).exit_code == 0
    damaged = damage(bench.folder / "logs/toys/other/run.json", kind)
    checkpoint = str(bench.folder / "models/toys/toy/toy_last.ckpt")
    for wanted, looked_at in (("toy", False), ("latest", False), (checkpoint, True)):
        caplog.clear()
        done = typed(bench, ONE_EPOCH, resume=wanted)
        assert done.exit_code == 0, done.output
        assert caplog.text.count(f"Left out a run. {damaged}") == looked_at
    unnamed = typed(bench, ONE_EPOCH, "experiment_config.run_name=null", resume="latest")
    assert unnamed.exit_code == 0, unnamed.output
    assert caplog.text.count(f"Left out a run. {damaged}") == 2
    named = typed(bench, ONE_EPOCH, resume="other")
    assert (named.exit_code, str(damaged) in named.stderr) == (2, True)


@pytest.mark.parametrize("kind", DAMAGE)
def test_other_runs_are_listed_shown_and_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    write_run(tmp_path, "first")
    write_run(tmp_path, "second", lr=0.002)
    damaged = damage(tmp_path / "physics" / "third" / "run.json", kind)
    for words in (["list"], ["list", "--json"], ["show", "first"], ["compare", "first", "second"]):
        caplog.clear()
        result = CliRunner().invoke(runs, [*words, "--save-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert "first" in result.stdout
        assert caplog.text.count(f"Left out a run. {damaged}") == (words[0] == "list")
    shown = CliRunner().invoke(runs, ["show", "third", "--save-dir", str(tmp_path)])
    assert (shown.exit_code, str(damaged) in shown.stderr) == (2, True)


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"\xff\n", b"{}\n"])
def test_damaged_metrics_of_one_run_do_not_keep_others_from_being_listed(tmp_path: Path, line: bytes) -> None:
    write_run(tmp_path, "first")
    broken = write_run(tmp_path, "second", lr=0.002, status="interrupted")
    (broken / "metrics.jsonl").write_bytes(line)
    result = CliRunner().invoke(runs, ["list", "--save-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = [row.split() for row in result.stdout.splitlines()[1:]]
    assert [(row[0], row[3]) for row in rows] == [("physics/first", "3"), ("physics/second", "–")]


def test_a_record_without_the_usual_keys_is_no_candidate_and_no_hindrance(bench: Bench) -> None:
    assert typed(bench, ONE_EPOCH).exit_code == 0
    for name, record in (("bare", {}), ("strange", {"command": ["x"], "checkpoints_dir": 3, "created": 9e9})):
        folder = bench.folder / "logs/toys" / name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(record))
    checkpoint = str(bench.folder / "models/toys/toy/toy_last.ckpt")
    for words, wanted in ((("experiment_config.run_name=null",), "latest"), ((), checkpoint)):
        done = typed(bench, ONE_EPOCH, *words, resume=wanted)
        assert done.exit_code == 0, done.output
    refused = typed(bench, ONE_EPOCH, resume="bare")
    assert refused.exit_code == 2
    assert "bare is one of None, so train_toy cannot go on with it" in refused.stderr


def test_experiments_are_found_by_their_name_and_not_by_a_pattern(tmp_path: Path) -> None:
    for experiment in ("a[1]", "a1", "*"):
        folder = tmp_path / experiment / "run"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    for experiment in ("a[1]", "*"):
        assert [run.name for run in run_directories(tmp_path, experiment)] == [f"{experiment}/run"]
    assert len(in_order(run_directories(tmp_path))) == 3


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def killed(make_bench: Callable[[str], Bench]) -> Bench:
    """Return a run whose process died between writing checkpoints and writing them down."""
    bench = make_bench("killed")
    bench.train(ONE_EPOCH, "model_config.training_config.save_every_n_steps=10")
    return bench


def test_checkpoints_that_were_not_written_down_are_when_the_run_goes_on(killed: Bench) -> None:
    path = killed.load_run().root / "checkpoints.jsonl"
    before = {line["path"]: line for line in read_records(path)}
    assert {line["kind"] for line in before.values()} == {"top", "snapshot", "last"}
    path.write_text("")
    (killed.folder / "models/toys/toy/mine.ckpt").write_bytes(b"not a checkpoint")
    killed.train("model_config.training_config.max_epochs=2", resume=True)
    after = {line["path"]: line for line in reversed(list(read_records(path)))}
    assert before.keys() <= after.keys()
    assert "mine.ckpt" not in after
    for name in before.keys() - {"toy_last.ckpt"}:
        unlike = (
            {"time"} if after[name]["kind"] == "top" else {"time", "score"}
        )  # inside is the score of the best alone
        assert {key: after[name][key] for key in after[name].keys() - unlike} == {
            key: before[name][key] for key in before[name].keys() - unlike
        }


def test_a_line_is_whole_or_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.load_run()
    run.create()
    run.append("checkpoints.jsonl", {"step": 1})
    write, room = os.write, 5

    def full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match=r"checkpoints\.jsonl cannot be written \(No space left on device\)"):
        run.append("checkpoints.jsonl", {"step": 2})
    monkeypatch.undo()
    run.append("checkpoints.jsonl", {"step": 3})
    assert [line["step"] for line in read_records(run.root / "checkpoints.jsonl")] == [1, 3]
