"""``python -m tabstar_lit.commands.schemas``: write or check what is made from the schemas of the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tabstar_lit.errors import EXIT_FAILED
from tabstar_lit.families import own_families

MADE = ("schemas/**/*.schema.json", "docs/families/*-keys.md")
"""Files that stand here for no other reason."""


def generated(root: Path) -> dict[str, str]:
    """Return what is made from the schemas of the families that come with the program.

    Parameters
    ----------
    root : Path
        The project; pages of its documentation are filled in where they ask for it.

    Returns
    -------
    dict of str to str
        Path below ``root`` -> content: JSON Schemas, with which editors check YAML, and pages with tables of keys.
    """
    from tabstar_lit.config.json_schema import schema_files
    from tabstar_lit.config.key_pages import Trained, key_pages

    families = {family.name: Trained(family.command, family.schema()) for family in own_families()}
    schemas = schema_files(
        {name: family.schema for name, family in families.items()},
        {family.command: family.summary for family in own_families()},
        {name: content for family in own_families() for name, content in family.conversions().items()},
    )
    return {f"schemas/{path}": content for path, content in schemas.items()} | key_pages(root, families)


def stale_files(root: Path, files: dict[str, str]) -> list[str]:
    """List the files that are missing, out of date, or no longer made."""
    present = {path.relative_to(root).as_posix() for pattern in MADE for path in root.glob(pattern)}
    outdated = {path for path, content in files.items() if _content(root / path) != content}
    return sorted(outdated | (present - set(files)))


def write_files(root: Path, files: dict[str, str]) -> list[str]:
    """Bring the files up to date, and list what changed."""
    changed = stale_files(root, files)
    for path in changed:
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return changed


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


@click.command(help="Write the JSON Schemas and the tables of keys, or check that they are up to date.")
@click.option("--write/--check", default=False, help="Bring the files up to date, or only look.")
@click.option("--root", type=click.Path(path_type=Path), default=Path(), help="The project. [default: here]")
def main(write: bool, root: Path) -> None:
    """Entry point."""
    files = generated(root)
    if write:
        for path in write_files(root, files):
            click.echo(f"updated {path}")
        return
    stale = stale_files(root, files)
    for path in stale:
        click.echo(f"out of date: {path}", err=True)
    if stale:
        click.echo("run: make keys", err=True)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
