"""Generated event files that lie below the data root: made when missing, made anew when old, and never over others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.schema import REMEDY


def toy_identity(source: Mapping[str, Any]) -> str:
    """Hash what toy events are made from: the ``conversion`` of their file.

    Parameters
    ----------
    source : mapping
        The only source that their file names: ``file``, which is the kind of toy, then version, size, seed, ...
    """
    return hashlib.sha256(repr(sorted(source.items())).encode()).hexdigest()


def has_toy(path: Path, source: Mapping[str, Any]) -> bool:
    """Tell whether these toy events lie under ``path``; nothing, and others of their kind, do not count.

    Parameters
    ----------
    path : Path
        Where the file belongs.
    source : mapping
        What the toy events are made from.

    Raises
    ------
    DataError
        Something else lies there, which must not be lost.
    """
    if not path.exists():
        return False
    try:
        file = EventFile.open(path)
    except DataError as error:
        remedy = "Delete it, or move it if it is yours: toy events are made anew there."
        raise DataError(f"{str(error).removesuffix(REMEDY)}{remedy}") from error
    own = file.sources[0] if len(file.sources) == 1 else {}
    if own.get("file") != source["file"] or file.conversion != toy_identity(own):
        raise DataError(
            f"{path}: holds other events than the toys that belong there while dataset_config.files is null. Move it, "
            f"or train on it with dataset_config.files={path.name}"
        )
    return file.conversion == toy_identity(source)
