"""Files that are there once they are complete, or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PART = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<pid>\d+)\.part")
"""Name of a file that is being written: a dot, the name it is to have, the machine, the process."""

LONGEST_NAME = 100
"""Bytes of a file's own name in that of its part; file systems end at 255."""

CLOCK_SECONDS = 60.0
"""How far the start of a process may be off, which is counted from a boot whose time is rounded and corrected."""

SECONDS_PER_DAY = 86_400


@contextmanager
def replacement(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; what stands there at the end takes the name ``path`` in one step.

    Whatever goes wrong before, a file of that name from before stays as it was, and nothing is left beside it. What
    killed processes have left in the folder is removed.

    Parameters
    ----------
    path : Path
        The file to write. Missing folders are made.
    sync : bool
        Return only when the disk has the file and its name, so that a power cut leaves the old file or the new one.
        Without it, only the end of the process is safe: for what can be made again.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_parts(path.parent)
    name = path.name.encode()[:LONGEST_NAME].decode(errors="ignore")
    part = path.with_name(f".{name}.{_host()}.{os.getpid()}.part")
    try:
        yield part
        if sync:
            flush_to_disk(part)
        os.replace(part, path)
        if sync:
            flush_to_disk(path.parent)  # the name itself
    finally:
        with suppress(OSError):  # the reason that matters is already on its way to the user
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write ``text`` as the whole of ``path``, see :func:`replacement`."""
    with replacement(path, sync=sync) as part:
        part.write_text(text, encoding="utf-8")


def flush_to_disk(path: Path) -> None:
    """Return when the disk has what was written to the file or folder ``path``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_parts(folder: Path) -> list[Path]:
    """Delete what killed processes left half-written in ``folder``, and return the deleted files.

    Files of a living process on this machine stay; those of other machines, whose processes cannot be seen from here,
    go after a day.
    """
    stale = [file for file in folder.glob(".*.part") if _is_stale(file)]
    for file in stale:
        with suppress(OSError):  # somebody else's, in a folder that is shared
            file.unlink(missing_ok=True)
    return stale


def _is_stale(file: Path) -> bool:
    match = PART.fullmatch(file.name)
    if match is None:
        return False
    try:
        written = file.stat().st_mtime
        if match["host"] != _host():
            return time.time() - written > SECONDS_PER_DAY
        begun = psutil.Process(int(match["pid"])).create_time()
        return begun - CLOCK_SECONDS > written  # the number belongs to another process now
    except psutil.NoSuchProcess:
        return True
    except (OSError, psutil.Error):  # swept by another process at the same moment, or not ours to look at
        return False


def _host() -> str:
    return socket.gethostname().replace(".", "-")
