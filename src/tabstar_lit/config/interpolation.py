"""``${oc.env:NAME}``, ``${oc.env:NAME,default}`` and ``${a.b.c}``; nothing else, and nothing is evaluated."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tabstar_lit.config.nodes import Node, find
from tabstar_lit.config.scalars import parse_scalar
from tabstar_lit.config.tree import Path_, dotted, fail, suggestion

REFERENCE = re.compile(r"\$\{([^{}]*)\}")
ENVIRONMENT = re.compile(r"oc\.env:\s*(?P<name>\w+)\s*(?:,(?P<default>.*))?", re.DOTALL)
KEY = re.compile(r"[\w-]+(\.[\w-]+)*")
MAX_TEXT = 10_000
MAX_NODES = 100_000


@dataclass
class Interpolation:
    """Replaces references by what they refer to.

    Attributes
    ----------
    root : Node
        The composed configuration.
    secret_keys : collection of str
        Names of keys whose text must not appear in messages.
    texts : dict of path to str
        For values that came whole from the environment: their text, while the node holds the YAML value.
        A key that wants text takes the text, so that a run may be called 2024.
    """

    root: Node
    secret_keys: Collection[str] = ()
    texts: dict[Path_, str] = field(default_factory=dict)
    _done: dict[Path_, Node] = field(default_factory=dict)
    _copied: int = 0

    def resolve(self) -> Node:
        """Resolve every reference.

        Raises
        ------
        ConfigError
            When a reference has another form, leads nowhere or to itself, or its variable is not set.
        """
        return self._node((), self.root, ())

    def _node(self, path: Path_, node: Node, chain: tuple[Path_, ...]) -> Node:
        """Resolve what stands at `path`; `chain` lists the places whose resolving led here."""
        if path in self._done:
            return self._done[path]
        if path in chain:
            loop = " -> ".join(dotted(place) for place in [*chain[chain.index(path) :], path])
            fail(node.position, f"references lead back to themselves: {loop}")
        chain = (*chain, path)
        value = node.value
        if isinstance(value, dict):
            value = {key: self._node((*path, key), child, chain) for key, child in value.items()}
        elif isinstance(value, list):
            value = [self._node((*path, index), child, chain) for index, child in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            value = self._text(path, node, chain)
        self._done[path] = Node(value, node.position)
        return self._done[path]

    def _text(self, path: Path_, node: Node, chain: tuple[Path_, ...]) -> Any:
        """Resolve the references in a text; a text that is one reference takes the type of its target."""
        text: str = node.value
        if REFERENCE.sub("", text).count("${"):
            self._refuse(path, node, text)
        whole = REFERENCE.fullmatch(text)
        if whole:
            raw, value = self._reference(path, node, whole[1], chain)
            if raw is not None:
                self.texts[path] = raw
            return value
        parts = REFERENCE.split(text)
        for index in range(1, len(parts), 2):
            raw, value = self._reference(path, node, parts[index], chain)
            if isinstance(value, dict | list):
                fail(
                    node.position,
                    f"'${{{parts[index]}}}' is not a single value, so it cannot be part of a text",
                )
            parts[index] = raw if raw is not None else _written(value)
        joined = "".join(parts)
        if len(joined) > MAX_TEXT:
            fail(node.position, f"references make a text of more than {MAX_TEXT} characters")
        return joined

    def _reference(self, path: Path_, node: Node, inner: str, chain: tuple[Path_, ...]) -> tuple[str | None, Any]:
        """Give the text (from the environment only) and the value of one reference."""
        variable = ENVIRONMENT.fullmatch(inner)
        if variable:
            return self._environment(node, variable)
        if not KEY.fullmatch(inner):
            self._refuse(path, node, f"${{{inner}}}")
        target = self._lookup(node, inner, chain)
        self._copied += _size(target)
        if self._copied > MAX_NODES:
            fail(node.position, f"references expand to more than {MAX_NODES} values")
        return None, target.value

    def _environment(self, node: Node, variable: re.Match[str]) -> tuple[str | None, Any]:
        text = os.environ.get(variable["name"])
        if text is not None:
            return text, parse_scalar(text)
        default = variable["default"]
        if default is None:
            name = variable["name"]
            fail(node.position, f"the variable {name} is not set; set it or write ${{oc.env:{name},default}}")
        default = default.strip()
        if len(default) > 1 and default[0] == default[-1] and default[0] in "'\"":
            return default[1:-1], default[1:-1]
        value = parse_scalar(default) if default else ""
        return (None if value is None else default), value

    def _lookup(self, node: Node, inner: str, chain: tuple[Path_, ...]) -> Node:
        target = self.root
        place: Path_ = ()
        for part in inner.split("."):
            below = find(target, (part,))
            if below is None:
                names = list(target.value) if isinstance(target.value, dict) else []
                within = f" in {dotted(place)}" if place else ""
                fail(
                    node.position,
                    f"'${{{inner}}}' leads nowhere: no '{part}'{within}.{suggestion(part, names)}",
                )
            place = (*place, int(part) if isinstance(target.value, list) else part)
            target = below
            if isinstance(target.value, str) and "${" in target.value:
                target = self._node(place, target, chain)
        return self._node(place, target, chain)

    def _refuse(self, path: Path_, node: Node, text: str) -> NoReturn:
        shown = "a reference" if path and path[-1] in self.secret_keys else f"'{text[:80]}'"
        fail(
            node.position,
            f"{shown} is not supported; write ${{a.b}}, ${{oc.env:NAME}} or ${{oc.env:NAME,default}}",
        )


def _written(value: Any) -> str:
    """Write a scalar inside a text the way YAML does."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _size(node: Node) -> int:
    if isinstance(node.value, dict):
        return 1 + sum(_size(child) for child in node.value.values())
    return 1 + sum(_size(child) for child in node.value) if isinstance(node.value, list) else 1
