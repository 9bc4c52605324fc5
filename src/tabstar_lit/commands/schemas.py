"""``python -m tabstar_lit.commands.schemas``: write or check the JSON Schemas of YAML files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tabstar_lit.errors import EXIT_FAILED
from tabstar_lit.families import own_families


def generated() -> dict[str, str]:
    """Generate the schemas of the families that come with the program: path below ``schemas/`` -> content."""
    from tabstar_lit.config.json_schema import schema_files

    families = own_families()
    return schema_files(
        {family.name: family.schema() for family in families},
        {family.command: family.summary for family in families},
    )


@click.command(help="Write the JSON Schemas of the configuration files, or check that they are up to date.")
@click.option("--write/--check", default=False, help="Bring the files up to date, or only look.")
@click.option("--directory", type=click.Path(path_type=Path), default=Path("schemas"), show_default=True)
def main(write: bool, directory: Path) -> None:
    """Entry point."""
    from tabstar_lit.config.json_schema import stale_files, write_files

    files = generated()
    if write:
        for path in write_files(directory, files):
            click.echo(f"updated {directory / path}")
        return
    stale = stale_files(directory, files)
    for path in stale:
        click.echo(f"out of date: {directory / path}", err=True)
    if stale:
        click.echo("run: python -m tabstar_lit.commands.schemas --write", err=True)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
