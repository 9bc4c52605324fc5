"""Files that commands write: there once they are complete, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tabstar_lit.errors import DataError
from tabstar_lit.files import replacement


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; what stands there at the end becomes ``path``, see :mod:`..files`.

    Raises
    ------
    DataError
        The folder cannot be written to, or the disk is full. A file of that name from before stays as it was.
    """
    try:
        with replacement(path) as part:
            yield part
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}). Check free space and permissions of "
            f"{path.parent}, or give another output with -o."
        ) from error
