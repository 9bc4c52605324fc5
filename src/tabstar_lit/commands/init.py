"""``tabstar_lit init``: put the shipped configuration where it can be edited."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.offers import usable_families
from tabstar_lit.engine.options import examples

SHIPPED = ("training_config.yaml", "model_config", "dataset_config", "tuning_config", "schemas")


@click.command(
    epilog=examples(("tabstar_lit init", "here"), ("tabstar_lit init my_study", "in a folder of its own")),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Replace files that exist.")
def init(folder: Path, force: bool) -> None:
    """Copy training_config.yaml and the folders of configurations to FOLDER (default: here) for editing.

    Those of families that other packages add go to folders of their own, where they are found too.
    """
    from tabstar_lit.errors import TabstarLitError

    with reported_errors():
        files = dict(_copies())
        existing = [str(folder / file) for file in files if (folder / file).exists()]
        if existing and not force:
            raise TabstarLitError(
                f"{', '.join(existing[:3])}{' and others' if len(existing) > 3 else ''} exist already; nothing was "
                "copied. Choose an empty folder, or add --force to replace them."
            )
        for file, source in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / file)
        click.echo(f"copied {len(files)} files to {folder.resolve()}; start with training_config.yaml")


def _copies() -> Iterator[tuple[Path, Path]]:
    """Yield where each file goes, relative to the folder, and where it is."""
    from tabstar_lit.config import packaged_config_dir

    roots = {Path(): packaged_config_dir()}
    roots |= {Path(family.name): own for family in usable_families() if (own := family.configurations()) is not None}
    for below, root in roots.items():
        for name in SHIPPED:
            found = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*.*"))
            yield from ((below / path.relative_to(root), path) for path in found if path.is_file())
