"""``tabstar_lit init``: put the shipped configuration where it can be edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from tabstar_lit.commands.errors import reported_errors

SHIPPED = ("training_config.yaml", "model_config", "dataset_config", "tuning_config", "schemas")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Replace files that exist.")
def init(folder: Path, force: bool) -> None:
    """Copy training_config.yaml and the folders of configurations to FOLDER (default: here) for editing."""
    from tabstar_lit.config import packaged_config_dir
    from tabstar_lit.errors import TabstarLitError

    with reported_errors():
        source = packaged_config_dir()
        files = [
            path.relative_to(source)
            for name in SHIPPED
            for path in ([source / name] if (source / name).is_file() else sorted((source / name).rglob("*.*")))
            if path.is_file()
        ]
        existing = [str(folder / file) for file in files if (folder / file).exists()]
        if existing and not force:
            raise TabstarLitError(
                f"{', '.join(existing[:3])}{' and others' if len(existing) > 3 else ''} exist already; nothing was "
                "copied. Choose an empty folder, or add --force to replace them."
            )
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, folder / file)
        click.echo(f"copied {len(files)} files to {folder.resolve()}; start with training_config.yaml")
