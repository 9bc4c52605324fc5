"""Entries of a ``defaults:`` list, in the part of Hydra's grammar that SeeSawML's configurations use."""

from __future__ import annotations

import re
from typing import NamedTuple

from tabstar_lit.config.nodes import Node
from tabstar_lit.config.tree import Position, fail

OPTION = re.compile(r"[\w./-]+")
ENTRY = re.compile(r"(?P<flags>(?:(?:optional|override)\s+)*)(?P<name>[\w./-]+)(?:@(?P<package>[\w.]+))?")


MAX_ENTRIES = 200
"""Of one list: each is a file to read and lay over the others."""


class Entry(NamedTuple):
    """One line of a defaults list, its group and package made absolute.

    Attributes
    ----------
    group : str
        Directory below the configuration directory, ``""`` for the top.
    options : tuple of str
        Files of that directory to lay over each other in order; empty for ``group: null``.
    package : str
        Dotted place of their content in the whole configuration, ``""`` for the top.
    chosen_by_group : bool
        Written ``group: option``, so that ``group=option`` can choose another one.
    """

    group: str
    options: tuple[str, ...]
    package: str
    position: Position
    chosen_by_group: bool = False
    optional: bool = False
    override: bool = False

    @property
    def is_self(self) -> bool:
        """Whether this is ``_self_``, the place of the file's own content."""
        return self.options == ("_self_",)

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the choice that this entry makes."""
        return self.group, self.package

    @property
    def is_own_package(self) -> bool:
        """Whether the content goes where the group's does, and not to a package that the entry names."""
        return self.package == self.group.replace("/", ".")

    @property
    def label(self) -> str:
        """The group as overrides name it: with its package when that is not the group's own."""
        return self.group if self.is_own_package else f"{self.group}@{self.package}"


def parse_defaults(node: Node | None, group: str, package: str) -> list[Entry]:
    """Read a defaults list that stands in a file of `group` whose content goes to `package`."""
    if node is None or node.value is None:
        return []
    if not isinstance(node.value, list):
        fail(node.position, "defaults must be a list of entries such as `- model_config: mlp`")
    if len(node.value) > MAX_ENTRIES:
        fail(node.position, f"defaults lists {len(node.value)} entries; at most {MAX_ENTRIES} are read")
    return [_entry(item, group, package) for item in node.value]


def safe_option(text: object, position: Position) -> str:
    """Check an option's name; a trailing ``.yaml`` is dropped.

    Raises
    ------
    ConfigError
        When it is not text, holds characters outside ``[A-Za-z0-9_./-]``, or leaves its directory.
    """
    if not isinstance(text, str) or not OPTION.fullmatch(text) or ".." in text.split("/"):
        fail(position, f"{text!r} cannot name a file; use letters, digits, '_', '-', '.' and '/', but no '..'")
    return text.removesuffix(".yaml")


def join(*parts: str, by: str = "/") -> str:
    """Join the parts that are not empty."""
    return by.join(part for part in parts if part)


def resolve_package(package: str, parent: str) -> str:
    """Make a package absolute: relative to its parent's unless it starts at ``_global_``."""
    head, _, rest = package.partition(".")
    if head == "_global_":
        return rest
    return join(parent, rest if head == "_here_" else package, by=".")


def _entry(item: Node, group: str, package: str) -> Entry:
    if isinstance(item.value, dict):
        if len(item.value) != 1:
            fail(item.position, "an entry of defaults has one `group: option`; start each with its own '-'")
        ((text, option),) = item.value.items()
        return _group_entry(text, option, group, package)
    match = ENTRY.fullmatch(item.value) if isinstance(item.value, str) else None
    if not match or match["flags"]:
        fail(
            item.position,
            f"{item.value!r} is not an entry of defaults; write `group: option` or an option's name",
        )
    directory, _, option_name = safe_option(match["name"], item.position).rpartition("/")
    relative = directory.strip("/")
    base = "" if match["name"].startswith("/") else group
    place = match["package"] or relative.replace("/", ".")
    return Entry(join(base, relative), (option_name,), resolve_package(place, package), item.position)


def _group_entry(text: str, option: Node, group: str, package: str) -> Entry:
    match = ENTRY.fullmatch(text)
    if not match:
        fail(option.position, f"{text!r} is not a group; write `[optional|override] group[@package]: option`")
    name = safe_option(match["name"], option.position).strip("/")
    return Entry(
        group=name if match["name"].startswith("/") else join(group, name),
        options=parse_options(option),
        package=resolve_package(match["package"] or name.replace("/", "."), package),
        position=option.position,
        chosen_by_group=True,
        optional="optional" in match["flags"],
        override="override" in match["flags"],
    )


def parse_options(node: Node) -> tuple[str, ...]:
    """Read the right side of ``group: option``: a name, a list of names, or null."""
    if node.value is None:
        return ()
    if isinstance(node.value, list):
        return tuple(safe_option(item.value, item.position) for item in node.value)
    return (safe_option(node.value, node.position),)
