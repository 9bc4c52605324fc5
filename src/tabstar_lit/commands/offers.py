"""What the families add to the commands, gathered: no command knows a family by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import click

from tabstar_lit.families import all_families, installed

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

T = TypeVar("T")


@cache
def usable_families() -> tuple[AnyFamily, ...]:
    """Return all families that can be used, and say once which cannot."""
    for problem in installed().broken.values():
        click.echo(f"note: {problem}", err=True)
    return tuple(all_families())


def training_commands() -> str:
    """Return the names of all training commands, for a help text."""
    return ", ".join(family.command for family in usable_families())


def offered(
    of: Callable[[AnyFamily], Mapping[str, T]], *, what: str, taken: Collection[str] = ()
) -> dict[str, dict[str, T]]:
    """Gather what the families have: name -> family -> thing.

    Parameters
    ----------
    of : callable
        Gives what one family has, by name.
    what : str
        What such a thing is, for a note.
    taken : collection of str
        Names that no family can have.
    """
    found: dict[str, dict[str, T]] = {}
    for family in usable_families():
        for name, thing in of(family).items():
            if name in taken:
                click.echo(f"note: the {what} '{name}' of {family.name} is left out: that name is taken", err=True)
            else:
                found.setdefault(name, {})[family.name] = thing
    return found


def offered_once(of: Callable[[AnyFamily], Mapping[str, T]], *, what: str, taken: Collection[str] = ()) -> dict[str, T]:
    """Gather what only one family can have of a name: the first keeps it; the others are said to be left out."""
    found: dict[str, T] = {}
    for name, by_family in offered(of, what=what, taken=taken).items():
        first, *others = by_family
        found[name] = by_family[first]
        for family in others:
            click.echo(f"note: the {what} '{name}' of {family} is left out: {first} has one of that name", err=True)
    return found


def by_name(commands: Collection[click.Command]) -> dict[str, click.Command]:
    """Return commands by their names."""
    return {command.name or "": command for command in commands}
