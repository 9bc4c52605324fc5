from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel

from tabstar_lit.engine.callbacks.progress import LineProgress, build_progress, duration

FIT = """
import sys, warnings
warnings.simplefilter("ignore")
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from tabstar_lit.engine.callbacks.progress import build_progress

class Model(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

Trainer(
    max_epochs=2, limit_train_batches=8, limit_val_batches=2, logger=False, accelerator="cpu",
    enable_checkpointing=False, enable_model_summary=False,
    callbacks=[build_progress(refresh_rate=int(sys.argv[1]), line_seconds=0.0)],
).fit(Model())
"""


def command(refresh_rate: int) -> list[str]:
    return [sys.executable, "-c", FIT, str(refresh_rate)]


def test_in_a_pipe_every_line_is_whole(tmp_path: Path) -> None:
    done = subprocess.run(command(1), capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path)
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 * (8 + 1)
    pattern = r"epoch 1/2  step 3  batch 3/8  loss [\d.e+-]+  lr 0\.1  [\d.e+]+ it/s  epoch ETA \d+:\d\d"
    assert re.fullmatch(pattern, lines[2])
    assert re.fullmatch(r"epoch 1/2  step 8  done in \d+:\d\d  val_loss [\d.e+-]+  lr 0\.01  ETA \d+:\d\d", lines[8])
    assert re.fullmatch(r"epoch 2/2  step 16  done in \d+:\d\d  val_loss [\d.e+-]+  lr 0\.001", lines[17])


def test_in_a_terminal_a_bar_is_redrawn_in_place(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    with subprocess.Popen(
        command(2), stdout=follower, stderr=subprocess.DEVNULL, cwd=tmp_path, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(follower)
        output = read_all(leader)
    assert process.returncode == 0
    assert output.count("\r") > 4
    assert re.search(r"Epoch 1: 100%.*8/8", output)
    drawn = [int(done) for done in re.findall(r"Epoch 0: .*? (\d)/8", output)]
    assert all(done % 2 == 0 for done in drawn)
    assert "epoch 1/2" not in output


def read_all(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the other side of a terminal has closed
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("columns", "term", "refresh_rate", "kind"),
    [
        (80, "xterm", 10, TQDMProgressBar),
        (80, "xterm", 0, TQDMProgressBar),
        (0, "xterm", 10, LineProgress),
        (80, "dumb", 10, LineProgress),
        (None, "xterm", 10, LineProgress),
        (None, "xterm", 0, TQDMProgressBar),
    ],
)
def test_the_kind_follows_standard_output(
    columns: int | None, term: str, refresh_rate: int, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns or 0))
    where: int | Path = tmp_path / "log" if columns is None else follower
    monkeypatch.setenv("TERM", term)
    with open(where, "w", closefd=False) if isinstance(where, int) else where.open("w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        bar = build_progress(refresh_rate=refresh_rate)
        monkeypatch.undo()
    os.close(leader)
    os.close(follower)
    assert type(bar) is kind
    if isinstance(bar, TQDMProgressBar):
        assert bar.refresh_rate == refresh_rate
        assert bar.is_disabled == (refresh_rate == 0)


def fit(bar: Callback, tmp_path: Path, *others: Callback, checkpoint: Path | None = None) -> Trainer:
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=4,
        limit_val_batches=0,
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[bar, *others],
        default_root_dir=tmp_path,
    )
    trainer.fit(BoringModel(), ckpt_path=checkpoint)
    return trainer


class SaveInTheMiddle(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == 2:
            trainer.save_checkpoint(self.path)


def test_an_epoch_resumed_in_its_middle_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(LineProgress(), tmp_path, SaveInTheMiddle(tmp_path / "middle.ckpt"))
    capsys.readouterr()
    fit(LineProgress(line_seconds=0), tmp_path, checkpoint=tmp_path / "middle.ckpt")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  loss")[0] for line in lines[:2]] == [
        "epoch 1/1  step 3  batch 3/4",
        "epoch 1/1  step 4  batch 4/4",
    ]
    assert all(float(re.findall(r"([\d.e+]+) it/s", line)[0]) > 0 for line in lines[:2])
    assert re.search(r"done in 0:0\d", lines[2])


def test_lines_come_no_closer_than_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(LineProgress(line_seconds=600), tmp_path)
    assert [line for line in capsys.readouterr().out.splitlines() if "batch" in line] == []


def test_a_reader_that_goes_away_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", broken)
    assert fit(LineProgress(line_seconds=0), tmp_path).global_step == 4


def test_a_disabled_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bar = LineProgress()
    bar.disable()
    bar.print("hidden")
    bar.enable()
    bar.print("shown", 1)
    assert capsys.readouterr().out == "shown 1\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01"), (90000, "25:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
