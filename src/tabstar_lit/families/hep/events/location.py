"""Where the event file of a configuration is, and what to do where there is none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.config.tree import nearest_names
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventSource
from tabstar_lit.families.hep.events.conversion_config import is_pattern
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.joined import joined

TOY_EVENTS = "signal_toy.h5"
"""Name of the generated events below the data root."""

EXAMPLES = ("higgs_uci", "higgsml", "jets", "zee_probes")
"""Files of the shipped data sets: ``examples/events`` holds a conversion of the same name."""


def toy_path() -> Path:
    """Return where generated events lie."""
    return roots().data / TOY_EVENTS


def events_paths(config: EventSource) -> list[Path]:
    """Return the files that ``config.files`` means: as given, else below the data root; null is the toy.

    Raises
    ------
    DataError
        A pattern matches nothing, or a file is meant twice.
    """
    if config.files is None:
        return [toy_path()]
    names = [config.files] if isinstance(config.files, str) else list(config.files)
    paths = [path for name in names for path in _meant(name)]
    if twice := [str(path) for path, n in Counter(path.resolve() for path in paths).items() if n > 1]:
        raise DataError(f"dataset_config.files: {twice[0]} is meant more than once; every event counts once.")
    return paths


def open_events(config: EventSource) -> EventFile:
    """Open the event files that ``config.files`` means, several of them as one, with the weights of ``config.weight``.

    Raises
    ------
    DataError
        One is no usable event file, or not there: says where it was looked for, and what is there. Or they do not go
        together, or have no such weight.
    """
    paths = events_paths(config)
    for path in paths:
        if config.files is not None and not path.exists():
            raise DataError(f"dataset_config.files: {path}: no such file{_searched(path)}. {_remedy(path)}")
    return joined([EventFile.open(path) for path in paths]).with_weight(config.weight)


def _meant(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if is_pattern(name) and not path.exists():
        for folder in dict.fromkeys((Path(path.anchor), roots().data)):
            found = sorted(folder.glob(str(path.relative_to(path.anchor))))
            if found:
                return found
        raise DataError(f"dataset_config.files: no file matches '{name}'{_searched(path)}.")
    below_root = roots().data / path
    return [below_root if not path.exists() and below_root.exists() else path]


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
