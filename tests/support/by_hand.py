"""Small sources of events, written by other people's libraries, and their conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tabstar_lit.families.hep.events.conversion import Report, convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion
from tabstar_lit.families.hep.events.file import EventFile


def convert(folder: Path, config: str, output: str = "e.h5", **sources: str) -> EventFile:
    """Convert what a configuration says; ``a="x\\n1"`` makes the source ``a.csv``."""
    return report(folder, config, output, **sources).file


def report(folder: Path, config: str, output: str = "e.h5", **sources: str) -> Report:
    for name, text in sources.items():
        (folder / f"{name}.csv").write_text(text)
    (folder / "c.yaml").write_text(config)
    return convert_events(read_conversion(folder / "c.yaml"), folder / output)


def texts(file: EventFile, name: str) -> list[str | None]:
    """Return a categorical column as its texts."""
    categories = (*file.columns[name].categories, None)
    return [categories[code] for code in file.column(name)]


def lists(file: EventFile, objects: str, name: str) -> list[list[float]]:
    """Return a column of objects as one list an event."""
    return [part.tolist() for part in np.split(file.object_column(objects, name), file.offsets(objects)[1:-1])]
