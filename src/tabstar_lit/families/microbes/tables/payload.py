"""What is inside a file that others wrote: its own bytes, or those of the data in a QIIME 2 artifact.

An artifact (``.qza``) is a zip archive with one folder, named by a UUID, that holds ``VERSION``, ``metadata.yaml``,
``checksums.md5`` and the data below ``data/``. It is read here without QIIME 2, in memory, and against its checksums.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from tabstar_lit.data.encodings import unicode_of
from tabstar_lit.errors import DataError

ARTIFACTS = (".qza", ".qzv")
MAX_BYTES = 1 << 33
"""A larger member of an artifact is refused: 8 GiB."""


@dataclass(frozen=True)
class Payload:
    """The content of a file.

    Attributes
    ----------
    source : str
        Where it is, for messages; of an artifact with the member.
    suffix : str
        Lower-case end of the name of what holds the content, such as ``.biom``.
    content : bytes
        All of it.
    """

    source: str
    suffix: str
    content: bytes

    def text(self) -> str:
        """Return the content as text.

        Raises
        ------
        DataError
            It is neither UTF-8 nor, by its byte order mark, UTF-16.
        """
        try:
            return self.content.decode(unicode_of(self.content))
        except UnicodeDecodeError as error:
            line = self.content[: error.start].count(b"\n") + 1
            raise DataError(f"{self.source}:{line}: no UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_payload(path: Path, *, members: tuple[str, ...]) -> Payload:
    """Read a file, or what one of ``members`` is called in an artifact.

    Parameters
    ----------
    path : Path
        The file.
    members : tuple of str
        Names below ``data/`` that are meant where it is an artifact.

    Raises
    ------
    DataError
        It cannot be read, is a damaged artifact, or one of another type.
    """
    try:
        if path.suffix.lower() not in ARTIFACTS:
            return Payload(str(path), path.suffix.lower(), path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            return _member(path, archive, members)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: no QIIME 2 artifact, or a damaged one ({error}). Export or copy it again.") from error


def _member(path: Path, archive: zipfile.ZipFile, members: tuple[str, ...]) -> Payload:
    names = archive.namelist()
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) == 3 and parts[1] == "data" and parts[2] in members:
            if archive.getinfo(name).file_size > MAX_BYTES:
                raise DataError(f"{path}: {name} is larger than {MAX_BYTES >> 30} GiB unpacked; export it first.")
            content = archive.read(name)
            _check(path, archive, parts, content)
            return Payload(f"{path}:{parts[2]}", PurePosixPath(name).suffix.lower(), content)
    kind = _kind(archive, names)
    raise DataError(f"{path}: an artifact of the type {kind}, and one with {' or '.join(members)} is needed here.")


def _check(path: Path, archive: zipfile.ZipFile, parts: tuple[str, ...], content: bytes) -> None:
    """Compare a member with the checksums of the artifact, which those of QIIME 2 before 2018 do not have."""
    listed = f"{parts[0]}/checksums.md5"
    if listed not in archive.namelist():
        return
    lines = [line.split("  ", 1) for line in archive.read(listed).decode().splitlines() if "  " in line]
    expected = {name: digest for digest, name in lines}.get("/".join(parts[1:]))
    if expected is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != expected:
        raise DataError(f"{path}: {parts[-1]} differs from its checksum: a damaged artifact. Export or copy it again.")


def _kind(archive: zipfile.ZipFile, names: list[str]) -> str:
    for name in names:
        if len(PurePosixPath(name).parts) == 2 and name.endswith("/metadata.yaml"):
            found = yaml.safe_load(archive.read(name))
            return str(found.get("type", "unknown")) if isinstance(found, dict) else "unknown"
    return "unknown"
