"""Identity of the raw files that data are converted from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tabstar_lit.errors import DataError


def file_identity(path: Path) -> dict[str, str]:
    """Return the name and the SHA-256 of a file: what it is known by, wherever it lies.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    return {"file": path.name, "sha256": file_sha256(path)}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Parameters
    ----------
    path : Path
        The file; it may be larger than memory.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Paths are relative to the file that names it.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
