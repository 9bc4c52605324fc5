"""``tabstar_lit data``: look into the HDF5 files that training reads, by the viewers the families have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.offers import offered_once
from tabstar_lit.engine.options import CommandGroup, examples
from tabstar_lit.errors import DataError

if TYPE_CHECKING:
    from tabstar_lit.engine.family import Viewer


@click.group(cls=CommandGroup, epilog=examples(("tabstar_lit data show events.h5", "what is in a file")))
def data() -> None:
    """Look into the HDF5 files that training reads."""


@data.command(
    epilog=examples(
        ("tabstar_lit data show events.h5", "in the terminal"),
        ("tabstar_lit data show events.h5 -o figures", "histograms, too"),
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for histograms of all columns."
)
def show(file: Path, output: Path | None) -> None:
    """Print counts, weights, ranges and missing values of FILE."""
    with reported_errors():
        _viewer(file)(file, output)


def _viewer(file: Path) -> Viewer:
    """Find who can show this kind of file."""
    viewers = offered_once(lambda family: family.viewers(), what="viewer of files of kind")
    kind = _kind(file)
    if kind not in viewers:
        shown = ", ".join(viewers) or "none"
        raise DataError(f"{file}: files of kind '{kind or 'unknown'}' cannot be shown. Kinds that can be: {shown}")
    return viewers[kind]


def _kind(file: Path) -> str:
    """Return the kind that an HDF5 file says it is; empty for one of somebody else."""
    import h5py

    from tabstar_lit.data.hdf5 import read_text

    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        with h5py.File(file, "r", locking="best-effort") as opened:
            return read_text(opened, "kind")
    except (OSError, RuntimeError) as error:
        raise DataError(f"{file}: not an HDF5 file, or a damaged one ({error})") from error
