"""A file is there whole or not at all, whatever ends its writing, and nothing is left of those who were killed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import time
from pathlib import Path

import psutil
import pytest

from tabstar_lit import files
from tabstar_lit.files import replacement, sweep_parts, write_text

HOST = socket.gethostname().replace(".", "-")
NOBODY = 999_999_999  # larger than any process number


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_half(target: Path, error: BaseException) -> None:
    with replacement(target) as part:
        part.write_text("half")
        raise error


def test_the_file_appears_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "made" / "a.txt"
    with replacement(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.parent == target.parent, "a move between disks is not one step"
    assert (target.read_text(), names(target.parent)) == ("new", {"a.txt"})


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyError("x"), KeyboardInterrupt("stop")])
def test_whatever_goes_wrong_the_old_file_stays_and_nothing_beside_it(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(type(error)) as raised:
        write_half(target, error)
    assert raised.value is error
    assert (target.read_text(), names(tmp_path)) == ("old", {"a.txt"})


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_last_moment_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, where, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(target, "new")
    assert (target.read_text(), names(tmp_path)) == ("old", {"a.txt"})


def test_file_and_name_are_on_the_disk_unless_they_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(files, "flush_to_disk", lambda path: flushed.append(path.name))
    write_text(tmp_path / "a.txt", "x", sync=False)
    assert flushed == []
    write_text(tmp_path / "a.txt", "x")
    assert flushed == [f".a.txt.{HOST}.{os.getpid()}.part", tmp_path.name]


def test_a_name_as_long_as_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 125 + ".h5")
    write_text(target, "x")
    assert names(tmp_path) == {target.name}


def write_for_ever(target: Path) -> None:
    with replacement(target) as part:
        part.write_text("half")
        time.sleep(600)


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(tmp_path / "a.h5",))
    process.start()
    while not any(part.stat().st_size for part in tmp_path.glob(".*.part")):
        time.sleep(0.01)
    write_text(tmp_path / "b.txt", "of a living process nothing is taken")
    assert len(names(tmp_path)) == 2
    process.kill()
    process.join()
    write_text(tmp_path / "c.txt", "x")
    assert names(tmp_path) == {"b.txt", "c.txt"}


def test_only_parts_of_dead_processes_are_swept(tmp_path: Path) -> None:
    begun = psutil.Process().create_time()
    times = {
        f".a.{HOST}.{os.getpid()}.part": time.time(),
        f".a.{HOST}.{NOBODY}.part": time.time(),
        f".b.{HOST}.{os.getpid()}.part": begun - 3600,  # of an earlier process of this number, as in a container
        ".a.node7.12.part": time.time(),
        ".a.node7.13.part": 0,
        f"a.{HOST}.{NOBODY}.part": 0,  # no name of ours, like the following
        ".a.part": 0,
        f".a.{HOST}.{NOBODY}.part.gz": 0,
    }
    for name, written in times.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (written, written))
    swept = {f".a.{HOST}.{NOBODY}.part", f".b.{HOST}.{os.getpid()}.part", ".a.node7.13.part"}
    assert {path.name for path in sweep_parts(tmp_path)} == swept
    assert names(tmp_path) == times.keys() - swept
