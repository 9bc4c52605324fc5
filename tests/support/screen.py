"""A pseudo-terminal whose screen is read as a person would: what a command prints, drawn by a terminal emulator."""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path

import pyte


@dataclass(frozen=True)
class Watched:
    """What was on the screen after every piece of output, the last at the end, and the exit code."""

    screens: list[list[str]]
    exit_code: int
    written: bytes

    @property
    def last(self) -> list[str]:
        """Return the lines that stay."""
        return self.screens[-1]

    def ever(self, *words: str) -> str:
        """Return the first line that had all of ``words`` at some moment."""
        lines = (line for screen in self.screens for line in screen if all(word in line for word in words))
        return next(lines, "")


def watch(command: list[str], columns: int, folder: Path, *, rows: int = 60, **variables: str) -> Watched:
    """Run ``command`` in a terminal of that size and look at it all the time."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (rows, columns))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment = {**kept, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **variables}
    screen = pyte.Screen(columns, rows)
    stream, screens, parts = pyte.ByteStream(screen), [], []
    with subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, cwd=folder, env=environment) as it:
        os.close(follower)
        while part := read(leader):
            stream.feed(part)
            parts.append(part)
            screens.append([line.rstrip() for line in screen.display])
        os.close(leader)
    return Watched(screens, it.returncode, b"".join(parts))


def read(descriptor: int) -> bytes:
    """Return what is there to read; nothing when the other side has closed, which Linux says with EIO."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
