"""The families of models. Adding one to the program means adding its folder and one line here.

Installed packages add theirs by an entry point of the group :data:`ENTRY_POINTS`, named as the family is.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from tabstar_lit.errors import CheckpointError, ConfigError, FamilyError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from tabstar_lit.engine.family import AnyFamily

FAMILIES = {
    "tabstar": "tabstar_lit.families.tabstar.family",
    "signal": "tabstar_lit.families.hep.signal.family",
    "fakes": "tabstar_lit.families.hep.fakes.family",
    "experts": "tabstar_lit.families.experts.family",
    "microbes": "tabstar_lit.families.microbes.family",
    "antibody": "tabstar_lit.families.antibody.family",
}
"""Name of each family that comes with the program, and the module that holds its ``family`` object."""

ENTRY_POINTS = "tabstar_lit.families"
"""Group of the entry points, ``name = module:object``, of families in other packages."""


class Installed(NamedTuple):
    """Families of other packages, and what is wrong with those that cannot be used, by name."""

    families: dict[str, AnyFamily]
    broken: dict[str, FamilyError]


def get_family(name: str) -> AnyFamily:
    """Return the family called ``name``.

    Raises
    ------
    FamilyError
        There is none of that name, or its package cannot be used.
    """
    if name in FAMILIES:
        family: AnyFamily = import_module(FAMILIES[name]).family
        return family
    families, broken = installed()
    if name in families:
        return families[name]
    if name in broken:
        raise broken[name]
    raise FamilyError(f"There is no family '{name}'. There are {', '.join([*FAMILIES, *families])}.")


def own_families() -> list[AnyFamily]:
    """Return the families that come with the program."""
    return [get_family(name) for name in FAMILIES]


def all_families() -> list[AnyFamily]:
    """Return every family that can be used: those of the program, then those of other packages."""
    return [*own_families(), *installed().families.values()]


def family_of_command(command: str) -> AnyFamily:
    """Return the family that ``command`` trains.

    Raises
    ------
    ConfigError
        There is no such command.
    FamilyError
        There is none among the families that can be used, and some cannot.
    """
    for family in own_families():  # first, because looking through the installed packages takes a moment
        if family.command == command:
            return family
    families, broken = installed()
    for family in families.values():
        if family.command == command:
            return family
    if broken:
        raise FamilyError("\n".join(map(str, broken.values())))
    from tabstar_lit.config.tree import suggestion

    known = [family.command for family in all_families()]
    raise ConfigError(f"'{command}' is no training command.{suggestion(command, known)}")


def family_of_checkpoint(path: Path) -> AnyFamily:
    """Return the family that wrote a checkpoint.

    Raises
    ------
    CheckpointError
        The file cannot be read, or was not written by a training command.
    FamilyError
        Its family is not there, or cannot be used.
    """
    from tabstar_lit.engine.trained import checkpoint_family

    name = checkpoint_family(path)
    if name is None:
        raise CheckpointError(f"{path} does not say of which family it is: it was not written by a training command.")
    try:
        return get_family(name)
    except FamilyError as error:
        raise FamilyError(f"{path} is a checkpoint of the family {name}. {error}") from error


@cache
def installed() -> Installed:
    """Look for the families of other packages; of two with the same name or command, the first package's stands."""
    from importlib.metadata import entry_points

    found = Installed({}, {})
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (_package(entry), entry.name)):
        try:
            taken = {family.name: family for family in (*own_families(), *found.families.values())}
            found.families[entry.name] = _loaded(entry, taken)
        except FamilyError as error:
            found.broken.setdefault(entry.name, error)
    return found


def _loaded(entry: EntryPoint, taken: dict[str, AnyFamily]) -> AnyFamily:
    """Import a family of another package and make sure that it gets along with the others.

    Raises
    ------
    FamilyError
        It does not, or cannot be imported.
    """
    from tabstar_lit.engine.family import Family

    what = f"The family '{entry.name}' of the package {_package(entry)} cannot be used"
    remedy = "Update that package, or uninstall it."
    if entry.name in taken:
        raise FamilyError(f"{what}: there is another family of that name. {remedy}")
    try:
        family = entry.load()
    except Exception as error:  # whatever happens in that package, the others' commands go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise FamilyError(f"{what}: its entry point {entry.value} gives {reason}. {remedy}") from error
    if not isinstance(family, Family) or family.name != entry.name:
        seen = f"the family '{family.name}'" if isinstance(family, Family) else f"a {type(family).__name__}"
        raise FamilyError(f"{what}: its entry point {entry.value} is to name that family, and gives {seen}. {remedy}")
    for other in taken.values():
        if other.command == family.command:
            raise FamilyError(f"{what}: its command {family.command} is that of the family '{other.name}'. {remedy}")
    return family


def _package(entry: EntryPoint) -> str:
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
