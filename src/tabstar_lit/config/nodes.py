"""Values with positions: read from files, merged, and flattened to a :class:`ConfigTree`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tabstar_lit.config.tree import ConfigTree, Path_, Position

MAX_DEPTH = 64


@dataclass(frozen=True)
class Node:
    """A value and where it was written.

    Attributes
    ----------
    value : dict of str to Node, list of Node, or a scalar
        Never changed in place: merging makes new nodes, so files can be cached and shared.
    position : Position
        Of the key for an entry of a mapping, of the element for an entry of a list.
    """

    value: Any
    position: Position

    def plain(self) -> Any:
        """Give the value without positions."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def replaced(self, path: Path_, leaf: Node) -> Node:
        """Copy this node with `leaf` at `path`; mappings on the way are made where there is none."""
        if not path:
            return leaf
        head, *rest = path
        if isinstance(self.value, list):
            index = int(head)
            items = [*self.value]
            items[index] = items[index].replaced(tuple(rest), leaf)
            return Node(items, self.position)
        entries = self.value if isinstance(self.value, dict) else {}
        child = entries.get(head, Node({}, leaf.position))
        return Node({**entries, head: child.replaced(tuple(rest), leaf)}, self.position)


def merge(base: Node, over: Node) -> Node:
    """Lay `over` over `base`: mappings are merged key by key, anything else (lists too) is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, base.position)


def wrap(node: Node, package: str, position: Position) -> Node:
    """Put a node below a dotted package that is named at ``position``: ``a.b`` gives ``{a: {b: node}}``."""
    if not package:
        return node
    node = Node(node.value, position)
    for key in reversed(package.split(".")):
        node = Node({key: node}, position)
    return node


def find(node: Node, path: Path_) -> Node | None:
    """Give the node at `path`; list elements are addressed by number, as text or int."""
    for part in path:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[part]
        elif isinstance(node.value, list) and str(part).isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            return None
    return node


def to_tree(root: Node) -> ConfigTree:
    """Flatten a root mapping into plain data and a position for every path."""
    positions: dict[Path_, Position] = {}

    def collect(node: Node, path: Path_) -> None:
        positions[path] = node.position
        if isinstance(node.value, dict):
            for key, child in node.value.items():
                collect(child, (*path, key))
        elif isinstance(node.value, list):
            for index, child in enumerate(node.value):
                collect(child, (*path, index))

    collect(root, ())
    return ConfigTree(root.plain(), positions)
