"""What a training says of itself: on the screen of a terminal, and in a pipe."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import termios
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import pytest
from screen import Watched, watch
from toy_bench import CONFIG, Bench

from tabstar_lit.commands.train import train_one
from tabstar_lit.engine.callbacks import progress, resources
from tabstar_lit.engine.callbacks.progress import Progress, drawn, duration, fitting, is_terminal, short
from tabstar_lit.errors import RunInterrupted

TOY_COMMAND = Path(__file__).parents[2] / "support" / "toy_command.py"
WATCHED = (
    "experiment_config.tqdm_refresh_rate=1",
    "experiment_config.log_every_n_steps=5",
    "dataset_config.rows=6000",  # half a second an epoch on a fast machine: several drawings
    "model_config.training_config.monitor=val_error",
)
TIME = r"\d+:\d\d"
NUMBER = r"[\d.e+-]+"


def command(folder: Path, *overrides: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "training_config.yaml").write_text(CONFIG)
    return [sys.executable, str(TOY_COMMAND), str(folder), *WATCHED, *overrides]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A toy training on a wide screen; a real one on a narrow screen is watched in tests/test_first_use.py."""
    folder = tmp_path_factory.mktemp("watched")
    return watch(command(folder), 200, folder)


def test_one_line_moves_and_shows_epoch_loss_metric_best_speed_and_time_left(watched: Watched) -> None:
    assert watched.exit_code == 0
    parts = rf"loss {NUMBER}  val_error {NUMBER} best {NUMBER}  {NUMBER}k? rows/s  ETA {TIME}"
    live = re.compile(rf"epoch [23]/3 (━+─*)  (validating \d+/\d+  )?{parts}")
    lines = [line for shown in watched.screens for line in shown if live.fullmatch(line)]
    assert len(set(lines)) > 2
    bars = [found[1] for line in lines if line.startswith("epoch 2") and (found := live.fullmatch(line))]
    assert all(1 / 4 < bar.count("━") / len(bar) < 3 / 4 for bar in bars)
    assert all(sum(bool(live.fullmatch(line)) for line in shown) <= 1 for shown in watched.screens)
    assert b"\x1b[36m" in watched.written, "the bar has a colour"


def test_epochs_stay_as_lines_and_the_end_says_best_score_and_checkpoint(watched: Watched) -> None:
    epochs = [line for line in watched.last if line.startswith("epoch ")]
    ending = rf"  val_error {NUMBER} best {NUMBER}.*  val_mae {NUMBER}.*"
    for number, line in enumerate(epochs, start=1):
        assert re.fullmatch(rf"epoch {number}/3  train_loss {NUMBER}  val_loss {NUMBER}{ending}", line)
    assert len(epochs) == 3
    text = "".join(line.ljust(200) if len(line) == 200 else f"{line}\n" for line in watched.last)
    assert re.search(rf"best val_error {NUMBER}: \S+\.ckpt", text.replace("\n", ""))
    assert "Traceback" not in text


def test_a_pipe_has_the_same_in_whole_lines(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    train_one(bench.family, (*bench.places, *WATCHED), bench.folder)
    said = capsys.readouterr()
    assert "\r" not in said.out + said.err
    assert "\x1b" not in said.out + said.err
    epochs = [line for line in said.out.splitlines() if line.startswith("epoch ")]
    parts = rf"train_loss {NUMBER}  val_loss {NUMBER}  val_error {NUMBER} best {NUMBER}  .*rows/s  in {TIME}"
    assert [bool(re.fullmatch(rf"epoch \d/3  {parts}(  ETA {TIME})?", line)) for line in epochs] == [True] * 3
    assert re.search(rf"^best val_error {NUMBER}: \S+\.ckpt$", said.out, re.MULTILINE)


def test_a_training_that_ends_inside_an_epoch_says_where(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.train(SHOWN, "model_config.training_config.max_steps=30")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert re.fullmatch(rf"epoch 1/3  train_loss {NUMBER}  .*", lines[0])
    assert re.fullmatch(rf"epoch 2/3  ended after 6 of 24 batches  loss {NUMBER}  .*rows/s  in {TIME}", lines[1])
    assert len(lines) == 2


@pytest.fixture
def every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabstar_lit.engine.trainer.Progress", partial(Progress, line_seconds=0.0))


SHOWN = "experiment_config.tqdm_refresh_rate=1"


@pytest.mark.usefixtures("every_batch")
def test_lines_go_on_where_a_run_was_stopped_inside_an_epoch(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(SHOWN, "model_config.architecture_config.signal_step=30")
    stopped = capsys.readouterr().out.splitlines()
    assert [line for line in stopped if "epoch 2/3  batch 6 " in line]
    bench.train(SHOWN, resume=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 2/3  batch 8  loss ")
    batches = [line for line in lines if " batch " in line]
    assert len(batches) == 17 + 24
    assert all(re.search(rf"val_error|val_loss {NUMBER} best {NUMBER}", line) for line in batches)


@pytest.fixture
def a_second_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves a second with every look at it."""
    clock = iter(range(10_000))
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(clock)))


@pytest.mark.usefixtures("every_batch", "a_second_a_look")
def test_the_time_left_is_that_of_the_whole_run(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """What is left falls to nothing, over all epochs."""
    bench.train(SHOWN, "experiment_config.check_eval_n_epoch=3")
    lines = capsys.readouterr().out.splitlines()
    left = [
        int(m) * 60 + int(s) for m, s in (re.findall(r"ETA (\d+):(\d\d)", line)[0] for line in lines if "ETA" in line)
    ]
    looks_per_batch = 4
    assert left[0] == pytest.approx(71 * looks_per_batch, rel=0.6)
    assert left[-1] <= 3 * looks_per_batch
    assert sum(earlier < later for earlier, later in pairwise(left)) < len(left) / 4


@pytest.mark.usefixtures("every_batch", "a_second_a_look")
def test_no_more_time_is_left_than_may_be_taken(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """By this clock the first batches would leave minutes."""
    bench.train(SHOWN, "model_config.training_config.max_time=00:00:00:59")
    left = re.findall(r"ETA (\d+):", capsys.readouterr().out)
    assert left
    assert set(left) == {"0"}


def test_lines_come_no_closer_than_asked_and_none_when_switched_off(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.train(SHOWN, "model_config.training_config.max_epochs=1")
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 1/1"]
    bench.train("experiment_config.run_name=quiet", "model_config.training_config.max_epochs=1")
    assert capsys.readouterr().out == ""


def test_a_line_is_due_some_seconds_after_the_last(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(1000)  # a second with every look at it, of which there is one at least for each of 24 batches
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("tabstar_lit.engine.trainer.Progress", partial(Progress, line_seconds=8.0))
    bench.train(SHOWN, "model_config.training_config.max_epochs=1")
    batches = [line for line in capsys.readouterr().out.splitlines() if " batch " in line]
    assert 2 <= len(batches) <= 6


@pytest.mark.usefixtures("every_batch")
def test_a_reader_that_goes_away_does_not_end_the_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", broken)
    run = bench.train(SHOWN, "model_config.training_config.max_epochs=1")
    assert run.stage("train")["steps"] == 24


@pytest.mark.parametrize(
    ("columns", "term", "redrawn"),
    [(80, "xterm", True), (0, "xterm", False), (80, "dumb", False), (None, "xterm", False)],
)
def test_a_terminal_has_a_width_and_can_rewrite_a_line(
    columns: int | None, term: str, redrawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns or 0))
    monkeypatch.setenv("TERM", term)
    with open(tmp_path / "log" if columns is None else follower, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        found = is_terminal()
        monkeypatch.undo()
    os.close(leader)
    assert found == redrawn


def test_a_speed_that_only_the_device_knows_is_that_of_the_last_epoch() -> None:
    import torch

    monitor = resources.ResourceMonitor()
    assert monitor.rate() is None
    monitor._rate, monitor._work = 5.0, torch.tensor(3.0)
    assert monitor.rate() == 5.0
    monitor._work, monitor._trained_s = 12.0, 3.0
    assert monitor.rate() == 4.0


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    parts = ["epoch 1", "loss 2", "a 1", "b 2", "ETA 3"]
    assert fitting(parts, 80, ["a 1", "b 2"]) == parts
    assert fitting(parts, 27, ["a 1", "b 2"]) == ["epoch 1", "loss 2", "a 1", "ETA 3"]
    assert fitting(parts, 1, ["a 1", "b 2"]) == ["epoch 1", "loss 2", "ETA 3"]


@pytest.mark.parametrize(("share", "bar"), [(0.0, "────"), (0.5, "━━──"), (1.0, "━━━━"), (1.2, "━━━━")])
def test_bars(share: float, bar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert drawn(share, 4) == bar


def test_a_screen_without_lines_to_draw_shows_signs_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert [drawn(share, 4) for share in (0.0, 0.5, 1.2)] == ["----", "##--", "####"]


@pytest.mark.parametrize(
    ("number", "text"), [(0.5, "0.5"), (999.4, "999"), (999.6, "1k"), (45_600, "45.6k"), (7.8e6, "7.8M"), (3e9, "3G")]
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01"), (90000, "25:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
