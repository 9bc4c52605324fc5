"""Compose one configuration from files: ``defaults:`` lists, groups, and what a command lays over.

The behaviour is Hydra's for the part of its language that SeeSawML's configurations use; ``hydra`` blocks are
ignored with a notice. Each file is searched in several directories, and the first hit wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tabstar_lit.config.defaults import Entry, join, parse_defaults, parse_options
from tabstar_lit.config.foreign import ForeignKey, translate, translate_override
from tabstar_lit.config.nodes import Node, merge, wrap
from tabstar_lit.config.overrides import Override, apply_override
from tabstar_lit.config.tree import Position, fail, suggestion
from tabstar_lit.config.yaml_reader import read_yaml, shown_path

GROUP = re.compile(r"[\w-]+(/[\w-]+)*")
Respell = Callable[[Node, Callable[[str], None]], Node]


@dataclass
class Composer:
    """Follows defaults lists through files.

    Attributes
    ----------
    directories : sequence of Path
        Where files are searched, in order.
    respell : callable
        Gives the keys of a piece of the configuration their standard spelling, before it is merged, and tells of them.
    foreign : sequence of ForeignKey
        What is said in another program's words, and taken over before that.
    notices : list of str
        What was ignored or taken over, for the user to read.
    settle : callable
        Gives what follows from values that are laid over, of the configuration before and after.
    composed : bool
        The primary file is a composed configuration, in which no other file can be chosen any more.
    """

    directories: Sequence[Path]
    respell: Respell
    foreign: Sequence[ForeignKey] = ()
    settle: Callable[[Node, Node], Node] = lambda _, after: after
    notices: list[str] = field(default_factory=list)
    composed: bool = False
    _choices: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _seen: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def compose(self, primary: Path, command: str, overrides: Sequence[Override]) -> Node:
        """Read `primary`, lay `command`'s part over it, follow its defaults, apply `overrides` in order.

        Raises
        ------
        ConfigError
            When a file or option is missing, names are not allowed, or defaults lists form a cycle.
        """
        root = read_yaml(primary)
        chosen = [override for override in overrides if self.is_group(override)]
        if self.composed:
            self.notices += [
                f"{shown_path(primary)} is composed already; {c.position.file} is left out" for c in chosen
            ]
        entries, own, overlay = self._split_command(root, command)
        entries = self._choose(with_self(entries, own.position), [] if self.composed else chosen)
        pieces = self._expand(entries, own, Entry("", (), "", root.position), (shown_path(primary),))
        composed = Node({}, root.position)
        for piece in [*pieces, self._standard(overlay)]:
            composed = merge(composed, piece)
        self._check_choices()
        return self.lay_over(composed, [override for override in overrides if override not in chosen])

    def lay_over(self, composed: Node, overrides: Sequence[Override]) -> Node:
        """Apply overrides that choose no file, in order, to a copy of what is composed."""
        result = composed
        for given in overrides:
            override = translate_override(given, self.foreign, self._tell)
            if override is not None:
                result = apply_override(result, self._respelled(override))
        return self.settle(composed, result)

    def is_group(self, override: Override) -> bool:
        """Whether ``key=value`` chooses a file: its key is a directory of YAML files."""
        name = override.key.partition("@")[0]
        if not GROUP.fullmatch(name) or (override.node is not None and isinstance(override.node.value, dict)):
            return False
        return bool(self.options(name))

    def options(self, group: str) -> list[str]:
        """List the options of a group over all directories."""
        found = {
            str(path.relative_to(directory / group).with_suffix(""))
            for directory in self.directories
            if (directory / group).is_dir()
            for path in (directory / group).rglob("*.yaml")
        }
        return sorted(found)

    def _respelled(self, override: Override) -> Override:
        """Give the keys of an override their standard spelling, those inside its value too."""
        node = Node({}, override.position).replaced(override.path, override.node or Node({}, override.position))
        node = self.respell(node, self._tell)
        path: list[str] = []
        for _ in override.path:
            ((key, node),) = node.value.items()
            path.append(key)
        return replace(override, key=".".join(path), node=override.node and node)

    def _split_command(self, root: Node, command: str) -> tuple[list[Entry], Node, Node]:
        """Take ``commands.<command>`` out of the primary file: its defaults join the file's own."""
        own = dict(root.value)
        commands = own.pop("commands", None)
        entries = parse_defaults(own.pop("defaults", None), "", "")
        overlay = Node({}, root.position)
        if commands is not None and isinstance(commands.value, dict) and command in commands.value:
            overlay = commands.value[command]
            if not isinstance(overlay.value, dict):
                fail(
                    overlay.position,
                    f"commands.{command} must be a mapping of what this command lays over the file",
                )
            rest = dict(overlay.value)
            added = parse_defaults(rest.pop("defaults", None), "", "")
            replaced = {entry.key for entry in added if entry.chosen_by_group}
            entries = [entry for entry in entries if entry.key not in replaced] + added
            overlay = Node(rest, overlay.position)
        return entries, Node(own, root.position), overlay

    def _choose(self, entries: list[Entry], chosen: Sequence[Override]) -> list[Entry]:
        """Take up ``group=option``: another option of an entry, or a file laid over all the others."""
        present = {entry.key for entry in entries}
        for override in chosen:
            name, _, package = override.key.partition("@")
            options = parse_options(override.node) if override.node else ()
            place = name.replace("/", ".") if not package else "" if package == "_global_" else package
            entry = Entry(name, () if override.mode == "~" else options, place, override.position, True)
            if override.mode.startswith("+") or (entry.key not in present and "/" not in name and not package):
                entries = [*entries, entry]
            else:
                self._choices[entry.key] = entry._replace(override=True)
        return entries

    def _standard(self, piece: Node) -> Node:
        return self.respell(translate(piece, self.foreign, self._tell), self._tell)

    def _expand(self, entries: list[Entry], own: Node, chosen: Entry, chain: tuple[str, ...]) -> list[Node]:
        """Give the pieces of one file, which another file's entry has chosen, in the order in which they are merged."""
        entries = with_self(entries, own.position)
        for entry in entries:
            if entry.override and not entry.group.startswith("hydra"):
                self._choices.setdefault(entry.key, entry)  # the outermost file decides
        pieces: list[Node] = []
        for entry in entries:
            if entry.is_self:
                place = own.position if chosen.is_own_package else chosen.position
                pieces.append(self._standard(wrap(self._without_hydra(own), chosen.package, place)))
            elif entry.group.split("/")[0] == "hydra":
                self._notice(entry.position, f"'{entry.group}' is ignored: this program does not run under Hydra")
            elif not entry.override:
                pieces.extend(self._follow(entry, chain))
        return pieces

    def _follow(self, entry: Entry, chain: tuple[str, ...]) -> list[Node]:
        if entry.chosen_by_group:
            if entry.key in self._seen:
                first = self._seen[entry.key].position
                fail(
                    entry.position,
                    f"group '{entry.label}' was chosen before, at {first}; write `override {entry.group}`",
                )
            self._seen[entry.key] = entry
            choice = self._choices.get(entry.key, entry)
            entry = entry._replace(options=choice.options, position=choice.position)
        pieces: list[Node] = []
        for option in entry.options:
            path = self._locate(entry, option)
            if path is not None:
                pieces.extend(self._read(path, entry, chain))
        return pieces

    def _read(self, path: Path, entry: Entry, chain: tuple[str, ...]) -> list[Node]:
        name = shown_path(path)
        if name in chain:
            fail(entry.position, f"defaults lead back to where they started: {' -> '.join([*chain, name])}")
        node = read_yaml(path)
        own = {key: child for key, child in node.value.items() if key != "defaults"}
        entries = parse_defaults(node.value.get("defaults"), entry.group, entry.package)
        return self._expand(entries, Node(own, node.position), entry, (*chain, name))

    def _locate(self, entry: Entry, option: str) -> Path | None:
        relative = join(entry.group, option) + ".yaml"
        for directory in self.directories:
            path = directory / relative
            if path.is_file():
                if not path.resolve().is_relative_to(directory.resolve()):
                    fail(
                        entry.position,
                        f"{shown_path(path)} is a link that leaves the configuration directory",
                    )
                return path
        if entry.optional:
            return None
        searched = ", ".join(shown_path(directory) for directory in self.directories)
        hint = suggestion(option, self.options(entry.group))
        fail(entry.position, f"no file '{relative}' in any of: {searched}.{hint}")

    def _check_choices(self) -> None:
        for key, choice in self._choices.items():
            if key not in self._seen:
                known = [entry.label for entry in self._seen.values()]
                hint = suggestion(choice.label, known)
                fail(
                    choice.position,
                    f"no defaults list chooses group '{choice.label}', so nothing to override.{hint}",
                )

    def _without_hydra(self, own: Node) -> Node:
        if "hydra" not in own.value:
            return own
        self._notice(own.value["hydra"].position, "'hydra' is ignored: this program does not run under Hydra")
        return Node({key: child for key, child in own.value.items() if key != "hydra"}, own.position)

    def _notice(self, position: Position, text: str) -> None:
        self._tell(f"{position}: {text}")

    def _tell(self, notice: str) -> None:
        if notice not in self.notices:
            self.notices.append(notice)


def with_self(entries: list[Entry], position: Position) -> list[Entry]:
    """Let a file's own content come last, as in Hydra, unless the list gives it another place."""
    count = sum(entry.is_self for entry in entries)
    if count > 1:
        fail(position, "_self_ stands twice in this defaults list")
    return entries if count else [*entries, Entry("", ("_self_",), "", position)]
