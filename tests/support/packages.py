"""Packages made for a test: a module and an entry point, laid out in a folder as an installer leaves them."""

from __future__ import annotations

from pathlib import Path

FAMILY = """
from toy import ToyFamily

class Other(ToyFamily):
    name = {name!r}
    command = {command!r}

family = Other()
"""
"""A module with the toy family under another name."""


def install(folder: Path, package: str, entry_points: dict[str, str], code: str) -> None:
    """Leave the package ``package`` 1.0 in ``folder``: its module of that name, and its families by name."""
    (folder / f"{package}.py").write_text(code)
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {target}\n" for name, target in entry_points.items()]
    (metadata / "entry_points.txt").write_text("[tabstar_lit.families]\n" + "".join(lines))


def install_family(folder: Path, package: str, *, name: str, command: str) -> None:
    """Leave a package in ``folder`` whose family is the toy under another name."""
    install(folder, package, {name: f"{package}:family"}, FAMILY.format(name=name, command=command))
