"""Where the event file of a configuration is, and what to do where there is none."""

from __future__ import annotations

from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.config.tree import nearest_names
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventSource
from tabstar_lit.families.hep.events.file import EventFile

TOY_EVENTS = "signal_toy.h5"
"""Name of the generated events below the data root."""

EXAMPLES = ("higgs_uci", "higgsml", "jets", "zee_probes")
"""Files of the shipped data sets: ``examples/events`` holds a conversion of the same name."""


def events_path(config: EventSource) -> Path:
    """Return the file ``config.files`` means: as given, else below the data root; null is the toy."""
    if config.files is None:
        return roots().data / TOY_EVENTS
    path = Path(config.files).expanduser()
    below_root = roots().data / path
    return below_root if not path.exists() and below_root.exists() else path


def open_events(config: EventSource) -> EventFile:
    """Open the event file that ``config.files`` means.

    Raises
    ------
    DataError
        It is no usable event file, or not there: says where it was looked for, and what is there.
    """
    path = events_path(config)
    if config.files is not None and not path.exists():
        raise DataError(f"dataset_config.files: {path}: no such file{_searched(path)}. {_remedy(path)}")
    return EventFile.open(path)


def _searched(path: Path) -> str:
    if path.is_absolute():
        return ""
    return f", neither in the working directory, {Path.cwd()}, nor below the data root, {roots().data.absolute()}"


def _remedy(path: Path) -> str:
    """Return how to make the file of a shipped data set; for another one the nearest name there is, if any is near."""
    target = roots().data / path if path.parent == Path() else path
    if path.stem in EXAMPLES:
        return f"Make it with: tabstar_lit convert events examples/events/{path.stem}.yaml -o {target}"
    names = [found.name for folder in (path.parent, (roots().data / path).parent) for found in folder.glob("*.h5")]
    if near := nearest_names(path.name, sorted(names), n=1):
        return f"Did you mean '{path.with_name(near[0])}'?"
    return f"Make it with: tabstar_lit convert events CONFIG.yaml -o {target}"
