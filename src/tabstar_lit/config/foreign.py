"""Keys of another program's YAML: taken over, left out or answered, by one table that its docs page is made of, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tabstar_lit.config.nodes import Node, find
from tabstar_lit.config.overrides import Override
from tabstar_lit.config.tree import OVERLAYS, Path_, dotted, fail

MEANINGS = {
    "moved": "taken over, with a notice",
    "left out": "left out, with a notice",
    "answered": "refused, with this answer",
    "differs": "differs",
}
"""What is done about a foreign key, as the documentation says it."""


def same(value: Any) -> Any:
    """Leave a value as it is."""
    return value


@dataclass(frozen=True)
class ForeignKey:
    """One key of the other program.

    Attributes
    ----------
    key : str
        Its dotted path in a whole configuration, ``*`` being any one key; where it only ``differs``, what names it.
    does : {"moved", "left out", "answered", "differs"}
        What happens to it: see :data:`MEANINGS`.
    here : str
        What to write instead, or what it means here: an answer of one line, Markdown as far as backquotes go.
    to : str
        Where the value of a moved key belongs, a dotted path.
    only : tuple
        The values this is about; the key's other values stay where they are. Empty: all.
    value : callable
        From the value there to the value here, both without positions.
    """

    key: str
    does: Literal["moved", "left out", "answered", "differs"]
    here: str
    to: str = ""
    only: tuple[Any, ...] = ()
    value: Callable[[Any], Any] = same

    @property
    def path(self) -> Path_:
        """The parts of the key."""
        return tuple(self.key.split("."))

    def meets(self, node: Node) -> bool:
        """Tell whether a value that stands at the key is one that this is about."""
        plain = node.plain()
        return not self.only or any(type(plain) is type(value) and plain == value for value in self.only)


def translate(node: Node, keys: Sequence[ForeignKey], tell: Callable[[str], None]) -> Node:
    """Take over, or leave out, what a piece of a configuration says in the other program's words.

    Parameters
    ----------
    node : Node
        The piece; its root is that of the whole configuration.
    keys : sequence of ForeignKey
        The table.
    tell : callable
        Receives a notice for each, with its place.

    Raises
    ------
    ConfigError
        A key is set in the words of both programs.
    """
    for entry in keys:
        for path in _places(node, entry.path) if entry.does in ("moved", "left out") else ():
            node = _translated(node, path, entry, tell)
    overlays = node.value.get(OVERLAYS) if isinstance(node.value, dict) else None
    if overlays is not None and isinstance(overlays.value, dict):
        stages = {name: translate(stage, keys, tell) for name, stage in overlays.value.items()}
        node = Node({**node.value, OVERLAYS: Node(stages, overlays.position)}, node.position)
    return node


def translate_override(override: Override, keys: Sequence[ForeignKey], tell: Callable[[str], None]) -> Override | None:
    """Do the same with one ``key=value``; None where it is left out."""
    if override.node is None:
        return override
    before = Node({}, override.position).replaced(override.path, override.node)
    after = translate(before, keys, tell)
    if after is before:
        return override
    path: list[str] = []
    while isinstance(after.value, dict) and len(after.value) == 1:
        ((name, after),) = after.value.items()
        path.append(name)
    return replace(override, mode="", key=dotted(tuple(path)), node=after) if path else None


def answer(keys: Sequence[ForeignKey], path: Path_) -> str:
    """Return what to write instead of a key that is unknown here; nothing where the other program has none such."""
    written = dotted(path)
    return next((entry.here for entry in keys if entry.does == "answered" and entry.key == written), "")


def foreign_table(keys: Sequence[ForeignKey]) -> str:
    """Return the table as Markdown, for the documentation."""
    lines = ["| there | here | what happens |", "|---|---|---|"]
    for entry in keys:
        shown = f"`{entry.key}`" if entry.does != "differs" else entry.key
        if entry.only:
            shown += f": {' or '.join(f'`{_yaml(value)}`' for value in entry.only)}"
        here = entry.here.removeprefix("is taken as ").removeprefix("is left out: ").removeprefix("is left out ")
        lines.append(f"| {shown} | {here} | {MEANINGS[entry.does]} |")
    return "\n".join(lines)


def _yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _places(node: Node, pattern: Path_, path: Path_ = ()) -> list[Path_]:
    """Find the paths that are set and fit a pattern, in which ``*`` is any one key."""
    if not pattern:
        return [path]
    if not isinstance(node.value, dict):
        return []
    head, *rest = pattern
    keys = node.value if head == "*" else [head] if head in node.value else []
    return [place for key in keys for place in _places(node.value[key], tuple(rest), (*path, key))]


def _translated(node: Node, path: Path_, entry: ForeignKey, tell: Callable[[str], None]) -> Node:
    found = find(node, path)
    if found is None or not entry.meets(found):
        return node
    value = found if entry.value is same else _positioned(entry.value(found.plain()), found)
    if entry.does == "moved" and entry.to == entry.key and value.plain() == found.plain():
        return node
    tell(f"{found.position}: '{dotted(path)}' {entry.here}")
    node = _without(node, path)
    if entry.does == "left out":
        return node
    keys = (key for pattern, key in zip(entry.path, path, strict=True) if pattern == "*")
    target = tuple(next(keys) if part == "*" else part for part in entry.to.split("."))
    there = find(node, target)
    if there is not None:
        fail(found.position, f"'{dotted(path)}' means '{dotted(target)}', which is already set at {there.position}")
    return node.replaced(target, value)


def _positioned(value: Any, like: Node) -> Node:
    """Give a value the places of the one it was made from, as far as keys are the same."""
    if isinstance(value, list):
        parts = like.value if isinstance(like.value, list) and len(like.value) == len(value) else [like] * len(value)
        return Node([_positioned(part, own) for part, own in zip(value, parts, strict=True)], like.position)
    if not isinstance(value, dict):
        return Node(value, like.position)
    known = like.value if isinstance(like.value, dict) else {}
    return Node({key: _positioned(part, known.get(key, like)) for key, part in value.items()}, like.position)


def _without(node: Node, path: Path_) -> Node:
    """Copy a node without what is at ``path``, and without mappings that are empty then."""
    head, *rest = path
    entries = dict(node.value)
    if rest:
        inner = _without(entries[head], tuple(rest))
        entries[head] = inner
        if not inner.value:
            del entries[head]
    else:
        del entries[head]
    return Node(entries, node.position)
