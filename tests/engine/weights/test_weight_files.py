"""Checkpoint files survive crashes, full disks and hostile content."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import random
import shutil
import time
import zipfile
from collections import deque, namedtuple
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from checks import assert_equal
from lightning.pytorch.demos.boring_classes import BoringModel

from tabstar_lit.engine.weights import files as checkpoint_io
from tabstar_lit.engine.weights.files import (
    CHECKPOINT_KEY,
    CHECKPOINT_SCHEMA_VERSION,
    AtomicCheckpointIO,
    read_checkpoint,
)
from tabstar_lit.engine.weights.loading import latest_checkpoint
from tabstar_lit.engine.weights.sums import PIECE
from tabstar_lit.errors import CheckpointError


def content(step: int, size: int = 1000) -> dict:
    return {"global_step": step, "state_dict": {"network.weight": torch.full((size,), float(step))}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1), path)
    return path


class Bomb:
    """Unpickling this creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.canary),)


def test_round_trip_leaves_one_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on" / "demand" / "a.ckpt"
    io = AtomicCheckpointIO()
    tree = {
        "epoch": 3,
        "nested": {"list": [1, 2.5, None, "x", (True,)]},
        "state_dict": {"w": torch.arange(4)},
    }
    io.save_checkpoint(tree, path)
    loaded = io.load_checkpoint(path)
    assert loaded["nested"] == tree["nested"]
    assert torch.equal(loaded["state_dict"]["w"], torch.arange(4))
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"]
    io.remove_checkpoint(path)
    io.remove_checkpoint(path)
    assert not path.exists()


def test_lightning_trains_saves_and_resumes_through_it(tmp_path: Path) -> None:
    def trainer(epochs: int) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=epochs,
            limit_train_batches=2,
            limit_val_batches=1,
            default_root_dir=tmp_path,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[AtomicCheckpointIO()],
            accelerator="cpu",
        )

    first = trainer(1)
    first.fit(BoringModel())
    first.save_checkpoint(tmp_path / "a.ckpt")
    second = trainer(2)
    second.fit(BoringModel(), ckpt_path=tmp_path / "a.ckpt")
    assert second.global_step == 4


def save_for_ever(path: Path) -> None:
    torch.set_num_threads(1)
    for step in range(10_000):
        AtomicCheckpointIO().save_checkpoint(content(step, size=500_000), path)


def test_kill_9_during_saves_never_costs_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")  # another file system than the target's
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(0, size=500_000), path)
    moments = random.Random(0)
    left_behind = 0
    for _ in range(24):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(path,))
        process.start()
        time.sleep(moments.uniform(0.005, 0.06))
        process.kill()
        process.join()
        left_behind += len(list(tmp_path.glob(".*.part")))
        loaded = read_checkpoint(path)
        assert (loaded["state_dict"]["network.weight"] == loaded["global_step"]).all()
    assert left_behind > 0, "no process was killed inside a save: the test shows nothing"
    AtomicCheckpointIO().save_checkpoint(content(7), path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


class FullDisk:
    """A file that takes ``room`` bytes."""

    def __init__(self, stream, room: int) -> None:
        self.stream, self.room = stream, room

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()

    def fileno(self) -> int:
        return self.stream.fileno()


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_previous_file(saved: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    before = saved.read_bytes()

    def no_space(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "write":
        real = Path.open
        monkeypatch.setattr(Path, "open", lambda self, mode: FullDisk(real(self, mode), room=2000))
    else:
        monkeypatch.setattr(checkpoint_io.os, where, no_space)
    with pytest.raises(CheckpointError, match=r"run.ckpt: No space left on device.*unchanged"):
        AtomicCheckpointIO().save_checkpoint(content(2), saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["run.ckpt"]


def test_space_is_checked_before_anything_is_written(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**7, 9_000_000, 1_500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    AtomicCheckpointIO().save_checkpoint(content(2, size=1000), saved)
    shared = torch.zeros(100_000)
    views = {"state_dict": {"a": shared, "b": shared, "c": shared[:10]}}  # one storage, counted once
    AtomicCheckpointIO().save_checkpoint(views, saved)
    with pytest.raises(CheckpointError, match="5,048,576 bytes are needed, 1,500,000 are free"):
        AtomicCheckpointIO().save_checkpoint(content(2, size=1_000_000), saved)
    assert read_checkpoint(saved)["state_dict"]["a"].shape == (100_000,)


def test_no_flipped_bit_goes_unseen(saved: Path) -> None:
    whole, good = saved.read_bytes(), read_checkpoint(saved)
    places = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[places.randrange(len(whole))] ^= 1 << places.randrange(8)
        saved.write_bytes(damaged)
        try:
            found = read_checkpoint(saved)
        except CheckpointError:
            refused += 1
        else:
            assert_equal(found, good)  # a bit between the parts, which nobody reads
    assert refused > 100


@pytest.mark.parametrize("byte", [0, PIECE + 3, -9, -1], ids=["first piece", "second piece", "last word", "last byte"])
def test_a_flipped_bit_of_a_large_tensor_is_seen_wherever_it_is(tmp_path: Path, byte: int) -> None:
    path, numbers = tmp_path / "large.ckpt", torch.arange(2 * PIECE + 12, dtype=torch.int64).to(torch.uint8)
    AtomicCheckpointIO().save_checkpoint({"small": torch.ones(3), "large": numbers}, path)
    whole = bytearray(path.read_bytes())
    begin = whole.index(numbers.numpy().tobytes())
    whole[begin + byte % len(numbers)] ^= 16
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"its part \S+/data/1 has another check sum\. Use an earlier"):
        read_checkpoint(path)


def test_two_pieces_that_changed_places_are_seen(tmp_path: Path) -> None:
    path, numbers = tmp_path / "large.ckpt", torch.arange(2 * PIECE // 8)
    AtomicCheckpointIO().save_checkpoint({"large": numbers}, path)
    whole = path.read_bytes()
    first, second = (half.numpy().tobytes() for half in numbers.chunk(2))
    path.write_bytes(whole.replace(first + second, second + first))
    with pytest.raises(CheckpointError, match="another check sum"):
        read_checkpoint(path)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
def test_comparing_takes_no_second_reading(tmp_path: Path) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    path = tmp_path / "large.ckpt"
    AtomicCheckpointIO().save_checkpoint({"large": torch.zeros(4 * PIECE + 5, dtype=torch.uint8)}, path)
    before = bytes_read()
    read_checkpoint(path)
    assert path.stat().st_size <= bytes_read() - before < 1.1 * path.stat().st_size


def test_damage_in_what_nothing_refers_to_is_named(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("archive/data/77", b"left over")
    good = read_checkpoint(saved)
    assert good["global_step"] == 1
    saved.write_bytes(saved.read_bytes().replace(b"left over", b"left ober"))
    with pytest.raises(CheckpointError, match="its part archive/data/77 has another check sum"):
        read_checkpoint(saved)


def test_a_file_that_torch_alone_wrote_is_compared_as_well(tmp_path: Path) -> None:
    path, weights = tmp_path / "earlier.ckpt", torch.arange(100)
    torch.save({"weights": weights}, path)
    assert_equal(read_checkpoint(path), {"weights": weights})
    whole = path.read_bytes()
    path.write_bytes(whole.replace(weights.numpy().tobytes(), weights.flip(0).numpy().tobytes()))
    with pytest.raises(CheckpointError, match=r"its part \S+/data/0 has another check sum"):
        read_checkpoint(path)


def test_a_file_of_the_release_that_kept_sums_of_its_own_is_read(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        folder, _, _ = archive.namelist()[0].partition("/")
        archive.writestr(f"{folder}/tensor_sums.json", "[1234567890]")
    assert_equal(read_checkpoint(saved), content(1))


def test_a_step_that_was_damaged_is_not_gone_on_from(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        pickled = whole.index(archive.read(name))
    step = whole.index(b"global_stepq", pickled) + len("global_stepq") + 2
    assert whole[step] == 1
    whole[step] ^= 1 << 5
    saved.write_bytes(whole)
    assert torch.load(saved, weights_only=True, mmap=True)["global_step"] == 33, "torch does not look"
    for mmap in (True, False):
        with pytest.raises(CheckpointError, match=r"its part \S+/data\.pkl has another check sum"):
            read_checkpoint(saved, mmap=mmap)


def test_what_was_read_does_not_hang_on_the_file(saved: Path) -> None:
    tied = torch.arange(1000.0)
    AtomicCheckpointIO().save_checkpoint({"a": tied, "b": tied[10:], "step": 1}, saved)
    content = read_checkpoint(saved)
    with saved.open("r+b") as file:  # not as we write it, but as another program may
        file.write(bytes(saved.stat().st_size))
    assert torch.equal(content["a"], tied)
    assert torch.equal(content["b"], tied[10:])
    assert content["a"].untyped_storage().data_ptr() == content["b"].untyped_storage().data_ptr()


def test_the_newest_checkpoint_is_one_that_is_intact(tmp_path: Path) -> None:
    paths = [tmp_path / f"{step}.ckpt" for step in (1, 2)]
    for step, path in enumerate(paths, start=1):
        AtomicCheckpointIO().save_checkpoint(content(step, size=500) | {"epoch": 0, "optimizer_states": []}, path)
    newest = bytearray(paths[1].read_bytes())
    tensor = newest.index(torch.full((500,), 2.0).numpy().tobytes())
    newest[tensor + 999] ^= 1
    paths[1].write_bytes(newest)
    latest = latest_checkpoint(tmp_path)
    assert latest.path == paths[0]
    ((skipped, reason),) = latest.skipped
    assert (skipped, "has another check sum" in reason) == (paths[1], True)


def test_an_unwritable_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"Not a directory|File exists"):
        AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "file" / "a.ckpt")
    with pytest.raises(CheckpointError, match="storage_options"):
        AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "a.ckpt", storage_options={"acl": 1})


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Path("a"), r"\['callbacks'\]\['x'\]\[1\] is a pathlib.PosixPath"),
        (deque([1]), "collections.deque"),
        (Pair(1, 2), "Pair"),
        (lambda: 0, "builtins.function"),
        ({Path("key"): 1}, "pathlib.PosixPath"),
        (object(), "builtins.object"),
    ],
)
def test_content_that_is_not_plain_is_refused_by_place(saved: Path, value: object, kind: str) -> None:
    tree = content(2) | {"callbacks": {"x": [0, value]}}
    with pytest.raises(CheckpointError, match=kind):
        AtomicCheckpointIO().save_checkpoint(tree, saved)
    assert read_checkpoint(saved)["global_step"] == 1
    assert [file.name for file in saved.parent.iterdir()] == ["run.ckpt"]


def test_a_missing_file_names_the_nearest(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*Did you mean 'run.ckpt'"):
        read_checkpoint(saved.with_name("rum.ckpt"))


def test_a_directory_lists_its_files(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a directory.*run\.ckpt"):
        read_checkpoint(saved.parent)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved: Path, fraction: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(CheckpointError, match="truncated"):
        read_checkpoint(saved)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"model: tabstar\n", "some other kind of file"),
        (pickle.dumps({"state_dict": {}}), "bare pickle"),
    ],
)
def test_files_that_are_no_checkpoint_say_what_they_are(saved: Path, data: bytes, reason: str) -> None:
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(saved)


def test_a_foreign_zip_and_a_damaged_archive_are_refused(saved: Path) -> None:
    damaged = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        offset = next(info.header_offset for info in archive.infolist() if info.filename.endswith("data.pkl"))
    damaged[offset + 90 : offset + 130] = bytes(40)
    saved.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"damaged|Python objects"):
        read_checkpoint(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"not written by torch.save"):
        read_checkpoint(saved)


def test_a_checkpoint_that_is_not_a_dict_is_refused(saved: Path) -> None:
    torch.save([1, 2], saved)
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(saved)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_pickle_bomb_is_refused_and_never_executed(saved: Path, tmp_path: Path, mmap: bool) -> None:
    canary = tmp_path / "canary"
    torch.save({"state_dict": Bomb(canary)}, saved)
    torch.load(saved, weights_only=False)
    assert canary.exists(), "the bomb does not work: the test shows nothing"
    canary.rmdir()
    with pytest.raises(CheckpointError, match=r"Python object posix\.mkdir\b.*Nothing was run"):
        read_checkpoint(saved, mmap=mmap)
    with pytest.raises(CheckpointError, match="Nothing was run"):
        AtomicCheckpointIO().load_checkpoint(saved, weights_only=False)
    assert not canary.exists()


def test_a_newer_schema_is_refused_and_the_own_one_read(saved: Path) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint(content(1) | {CHECKPOINT_KEY: {"schema_version": CHECKPOINT_SCHEMA_VERSION}}, saved)
    assert io.load_checkpoint(saved)["global_step"] == 1
    io.save_checkpoint(content(1) | {CHECKPOINT_KEY: {"schema_version": CHECKPOINT_SCHEMA_VERSION + 1}}, saved)
    with pytest.raises(CheckpointError, match=r"schema version 2; this installation reads up to 1\. Update"):
        io.load_checkpoint(saved)
