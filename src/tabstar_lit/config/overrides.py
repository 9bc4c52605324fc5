"""``key=value`` on the command line: its grammar, its values, and the runs ``--multirun`` makes of commas."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tabstar_lit.config.nodes import Node, find, merge
from tabstar_lit.config.scalars import parse_scalar
from tabstar_lit.config.tree import Path_, Position, dotted, fail
from tabstar_lit.config.yaml_reader import parse_yaml

OVERRIDE = re.compile(r"(?P<mode>~|\+{0,2})(?P<key>[\w./@-]+)(?:=(?P<value>.*))?", re.DOTALL)
OPENING, CLOSING, QUOTES = "[{(", "]})", "'\""


@dataclass(frozen=True)
class Override:
    """One argument of the command line.

    Attributes
    ----------
    mode : str
        ``""`` sets, ``+`` adds and ``++`` sets or adds a key, ``~`` removes it.
    key : str
        Dotted YAML names, or a configuration group.
    node : Node or None
        The value; None for ``~key`` without one.
    """

    mode: str
    key: str
    node: Node | None
    position: Position

    @property
    def path(self) -> Path_:
        """The key as a path."""
        return tuple(self.key.split("."))


def parse_override(text: str, secret_keys: Collection[str] = ()) -> Override:
    """Read one ``key=value``; `secret_keys` are names whose values must not be shown in any message.

    Raises
    ------
    ConfigError
        When the argument is not of the form ``key=value`` or its value is not YAML.
    """
    position = Position(f"command line: '{_shown(text, secret_keys)}'")
    match = OVERRIDE.fullmatch(text)
    if not match or (match["value"] is None and match["mode"] != "~") or ".." in match["key"]:
        fail(
            position,
            "expected key=value, such as model_config.training_config.max_epochs=3 or model_config=mlp",
        )
    node = None if match["value"] is None else parse_value(match["value"], position)
    return Override(match["mode"], match["key"], node, position)


def parse_value(text: str, position: Position) -> Node:
    """Read a value by the rules of YAML files, in flow style; nothing at all is ``''``."""
    text = text.strip()
    if not text or text[0] not in OPENING + QUOTES:
        return Node(parse_scalar(text) if text else "", position)
    return _relocated(parse_yaml(text, str(position)), position)


def apply_override(root: Node, override: Override) -> Node:
    """Set, add or remove one value; whether the key may exist is left to the schema.

    A mapping is laid over the one that is there, unless it names another choice: then it takes its place.
    """
    existing = find(root, override.path)
    if override.mode == "~":
        return _without(root, override, existing)
    _check_ancestors(root, override)
    if override.mode == "+" and existing is not None:
        fail(override.position, f"'{override.key}' is already set at {existing.position}; leave out the '+'")
    node = override.node or Node(None, override.position)
    merged = existing is not None and not _is_another_choice(existing, node)
    return root.replaced(override.path, merge(existing, node) if existing and merged else node)


def _is_another_choice(existing: Node, node: Node) -> bool:
    """Tell whether a mapping chooses something else by name, as ``{scheduler_name: cosine}``: it is whole."""
    if not (isinstance(existing.value, dict) and isinstance(node.value, dict)):
        return False
    names = [key for key in node.value if key.endswith("_name") and key in existing.value]
    return any(node.value[name].value != existing.value[name].value for name in names)


def expand_multirun(overrides: Sequence[str]) -> list[list[str]]:
    """Make one list of overrides per run: ``a=1,2 b=x,y`` gives four, the last key fastest."""
    choices = []
    for text in overrides:
        key, equals, value = text.partition("=")
        choices.append([f"{key}={part}" for part in split_commas(value)] if equals else [text])
    return [list(run) for run in itertools.product(*choices)]


def split_commas(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        depth += 0 if quote else (character in OPENING) - (character in CLOSING)
        if character == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _check_ancestors(root: Node, override: Override) -> None:
    """Refuse to set a key below a scalar, or an element that a list does not have."""
    for length in range(1, len(override.path)):
        node = find(root, override.path[:length])
        name = dotted(override.path[:length])
        if node is None or node.value is None or isinstance(node.value, dict):
            continue
        if not isinstance(node.value, list):
            fail(
                override.position,
                f"'{name}' is not a mapping (set at {node.position}), so it has no keys to set",
            )
        if find(node, override.path[length : length + 1]) is None:
            fail(
                override.position,
                f"'{name}' has {len(node.value)} elements (set at {node.position}), from 0 on",
            )


def _without(root: Node, override: Override, existing: Node | None) -> Node:
    parent = find(root, override.path[:-1])
    if existing is None or parent is None or not isinstance(parent.value, dict):
        fail(override.position, f"'{override.key}' is not set, so it cannot be removed")
    if override.node is not None and override.node.plain() != existing.plain():
        fail(override.position, f"'{override.key}' has another value, so it is not removed")
    kept: dict[str, Any] = {key: child for key, child in parent.value.items() if key != override.path[-1]}
    return root.replaced(override.path[:-1], Node(kept, parent.position))


def _relocated(node: Node, position: Position) -> Node:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            if child.value is None and ":" in key:
                fail(position, f"'{key}' has no value; YAML needs a space after the colon: {{key: value}}")
        return Node({key: _relocated(child, position) for key, child in node.value.items()}, position)
    if isinstance(node.value, list):
        return Node([_relocated(child, position) for child in node.value], position)
    return Node(node.value, position)


def _shown(text: str, secret_keys: Collection[str]) -> str:
    """Hide the value when any word of the argument is a secret's name, nearly one, or a part of one."""
    words = re.findall(r"\w{4,}", text)
    parts = any(word in key for word in words for key in secret_keys)
    if parts or any(difflib.get_close_matches(word, secret_keys, n=1, cutoff=0.8) for word in words):
        key, equals, _ = text.partition("=")
        return f"{key}=..." if equals else "..."
    return text
