"""Which figures of a run its report shows, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tabstar_lit.engine.reports.markdown import link
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.files import RunFiles

SUFFIXES = (".png", ".pdf")
EPOCHS = ("epoch_", "test")
"""How the files of a figure begin that is drawn more than once."""


def figures(files: RunFiles, run: RunDirectory) -> Iterator[str]:
    """Yield a section of all figures, by stage: in the order the tracker gave them, of each the last one.

    A figure of the test comes before that of the last epoch. What has no picture for screens is linked.
    """
    lines = []
    for stage, result in files.stages.items():
        folder = run.stage_folder(run.figures, stage)
        names = list(dict.fromkeys([*result.get("figures", ()), *_found(folder)]))
        shown = [(name, path) for name in names if (path := _last(folder, name))]
        if shown and len(files.stages) > 1:
            lines += [f"### Figures of {stage}", ""]
        for name, path in shown:
            lines += [f"{'!' if path.suffix == '.png' else ''}{link(name, path, run.root)}", ""]
    if lines:
        yield from ("## Figures", "", *lines)


def _found(folder: Path) -> list[str]:
    """Return the names of the figures in a folder, for runs that recorded no order."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return [(path.parent if path.stem.startswith(EPOCHS) else path.with_suffix("")).as_posix() for path in paths]


def _last(folder: Path, name: str) -> Path | None:
    """Return the last picture of a figure, which is drawn once, or in many epochs and perhaps in a test."""
    for suffix in SUFFIXES:
        once = folder / f"{name}{suffix}"
        many = sorted((folder / name).glob(f"*{suffix}"))
        drawn = [path for path in many if path.stem.startswith(EPOCHS)]
        if drawn or once.exists():
            return drawn[-1] if drawn else once
    return None
