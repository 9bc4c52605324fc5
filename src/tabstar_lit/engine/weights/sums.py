"""Checkpoint files that are compared, while torch reads them, with zip's own check sums: torch does not look at these.

torch reads a part of an archive at one go. Here that is done in pieces small enough to be still in the processor's
cache when they are added to the CRC-32, so that memory is passed once; ISA-L adds tens of gigabytes a second.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path

from isal.isal_zlib import crc32

TENSORS = "/data/"
"""What is in the name of each part that holds the numbers of tensors, and of no other."""

PIECE = 2**21
"""Bytes that are read at a time."""

_LOCAL_HEADER = 30
"""Bytes in front of the name of a part; the last four are the lengths of this name and of what stands after it."""


class CheckedFile(io.BufferedReader):
    """A zip archive to be read by others, whose parts are compared with their check sums as they are read.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    OSError
        It cannot be read.
    zipfile.BadZipFile
        It is no archive, or its list of parts is damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        with zipfile.ZipFile(path) as archive:
            self._parts = {self._start(part): part for part in archive.infolist()}
        self._compared: set[str] = set()
        self._broken: list[str] = []
        self.seek(0)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what torch gives
        """Fill ``buffer`` from where the file stands, and return how many bytes there were."""
        part = self._parts.get(self.tell())
        if part is None or part.file_size != len(buffer):
            return super().readinto(buffer)
        return self._compare(part, (buffer[start : start + PIECE] for start in range(0, len(buffer), PIECE)))

    def first_broken(self, *, tensors: bool = True) -> str | None:
        """Return the first part with another check sum than it should have; None where there is none.

        Parameters
        ----------
        tensors : bool
            Whether to look also at the numbers in tensors that nobody has read yet, which are nearly all of a file.
        """
        room = memoryview(bytearray(PIECE))
        for start, part in self._parts.items():
            if part.filename not in self._compared and (tensors or TENSORS not in part.filename):
                self.seek(start)
                whole, rest = divmod(part.file_size, PIECE)
                self._compare(part, chain(repeat(room, whole), (room[:rest],)))
        self.seek(0)
        return next(iter(self._broken), None)

    def _start(self, part: zipfile.ZipInfo) -> int:
        self.seek(part.header_offset + _LOCAL_HEADER - 4)
        lengths = (int.from_bytes(self.read(2), "little") for _ in range(2))
        return part.header_offset + _LOCAL_HEADER + sum(lengths)

    def _compare(self, part: zipfile.ZipInfo, pieces: Iterable[memoryview]) -> int:
        """Read a part into pieces of memory, and return its bytes."""
        total = count = 0
        for piece in pieces:
            found = super().readinto(piece)
            total = crc32(piece[:found], total)
            count += found
            if found < len(piece):  # the end of the file
                break
        self._compared.add(part.filename)
        if total != part.CRC:
            self._broken.append(part.filename)
        return count
