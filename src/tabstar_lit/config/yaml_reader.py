"""Read YAML into nodes with positions; refuse everything that could be misread.

Duplicate keys, tags, merge keys, several documents and tabs are errors. Aliases are allowed while what they
expand to stays small (no "billion laughs"). Nothing a file names is ever imported or called.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tabstar_lit.config.nodes import MAX_DEPTH, Node
from tabstar_lit.config.scalars import parse_scalar
from tabstar_lit.config.tree import Position, fail
from tabstar_lit.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_CHARACTERS = 4 << 20
"""Of all values together, those of aliases counted wherever they are put."""


def read_yaml(path: Path) -> Node:
    """Read a configuration file; its root must be a mapping.

    Raises
    ------
    ConfigError
        When the file cannot be read or is not the YAML this program accepts; located at line and column.
    """
    node = read_document(path)
    if node.value is None:
        fail(
            Position(shown_path(path)), "the file is empty or holds only comments; remove it or write at least one key"
        )
    if not isinstance(node.value, dict):
        fail(node.position, "expected a mapping of keys to values at the top of the file")
    return node


def read_document(path: Path) -> Node:
    """Read a YAML file whatever its root is, as a manifest's is a list; raises as :func:`read_yaml`."""
    name = shown_path(path)
    return parse_yaml(_read_text(path, name), name)


def parse_yaml(text: str, name: str) -> Node:
    """Read one YAML document; `name` stands for the file in error messages."""
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(name, mark.line + 1, mark.column + 1) if mark else Position(name)
        raise ConfigError(f"{position}: {_explain(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{Position(name, line, 1)}: a character that YAML does not allow") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested more than {MAX_DEPTH} levels deep") from None
    if root is None:
        return Node(None, Position(name, 1, 1))
    converter = _Converter(name)
    converter.require_small(root, 0)
    return converter.node(root, None, 0)


def shown_path(path: Path) -> str:
    """Write a path relative to the working directory when it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _read_text(path: Path, name: str) -> str:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(
            f"{name}: no regular file but a pipe, a socket or a device; write the configuration to a file"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        fail(
            Position(name),
            f"larger than {MAX_BYTES >> 20} MiB; configurations are small, is this a data file?",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{Position(name, line, 1)}: not UTF-8 text; save the file as UTF-8") from None


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not valid YAML"
    if "'\\t'" in problem:
        return "a tab is not allowed here; indent with spaces"
    if "another document" in problem:
        return "a second document starts here; keep one document in a file"
    return f"not valid YAML: {problem}" + (f" ({error.context})" if error.context else "")


class _Loader(yaml.SafeLoader):
    """Composes nodes and refuses tags, before anything could act on one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave the parser untyped
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise yaml.composer.ComposerError(None, None, f"the tag {tag!r} is not allowed", event.start_mark)
        return super().compose_node(parent, index)


class _Converter:
    """Turns PyYAML's nodes into ours, once it is known that aliases expand to little enough."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sizes: dict[int, tuple[int, int]] = {}

    def position(self, node: yaml.Node) -> Position:
        return Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def require_small(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        """Return the values and characters a node expands to, each node looked at once however often it is named."""
        if id(node) in self.sizes or depth > MAX_DEPTH:
            return self.sizes.get(id(node), (1, 0))
        self.sizes[id(node)] = (1, 0)  # where it contains itself, which the depth is to tell of
        if isinstance(node, yaml.ScalarNode):
            size = (1, len(node.value))
        else:
            inner = (value for _, value in node.value) if isinstance(node, yaml.MappingNode) else node.value
            parts = [self.require_small(own, depth + 1) for own in inner]
            size = (1 + sum(values for values, _ in parts), sum(characters for _, characters in parts))
        if size[0] > MAX_NODES:
            fail(self.position(node), f"aliases expand to more than {MAX_NODES} values")
        if size[1] > MAX_CHARACTERS:
            fail(self.position(node), f"aliases expand to more than {MAX_CHARACTERS >> 20} million characters")
        self.sizes[id(node)] = size
        return size

    def node(self, node: yaml.Node, position: Position | None, depth: int) -> Node:
        position = position or self.position(node)
        if depth > MAX_DEPTH:
            fail(position, f"nested more than {MAX_DEPTH} levels deep, or an alias that contains itself")
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node, depth), position)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.node(item, None, depth + 1) for item in node.value], position)
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return Node(parse_scalar(node.value) if plain else node.value, position)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key_node, value_node in node.value:
            position = self.position(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                fail(position, "a key must be plain text")
            key = key_node.value
            if key == "<<" and key_node.style is None:
                fail(
                    position,
                    "the merge key '<<' is not supported; write the keys out or use a `defaults:` list",
                )
            if key in entries:
                fail(position, f"duplicate key '{key}', first written at {entries[key].position}")
            entries[key] = self.node(value_node, position, depth + 1)
        return entries
