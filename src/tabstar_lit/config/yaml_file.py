"""YAML files that a user names beside an experiment's: manifests of tables, configurations of conversions."""

from __future__ import annotations

from pathlib import Path

from tabstar_lit.config.nodes import Node, to_tree
from tabstar_lit.config.tree import ConfigTree
from tabstar_lit.config.yaml_reader import parse_yaml, shown_path
from tabstar_lit.errors import ConfigError, DataError


def read_yaml(path: Path) -> Node:
    """Read a YAML file, every value with its place.

    Raises
    ------
    ConfigError
        It is not UTF-8 text, or not YAML.
    DataError
        It cannot be read, or is a pipe, a socket or a device, which may never end.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{shown_path(path)}: no regular file but a pipe, a socket or a device")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown_path(path)}: not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error
    return parse_yaml(text, shown_path(path))


def read_mapping(path: Path, keys: str) -> ConfigTree:
    """Read a YAML file whose top is a mapping; ``keys`` tells which keys it has, for the message.

    Raises
    ------
    ConfigError, DataError
        As :func:`read_yaml`; or the top is something else.
    """
    node = read_yaml(path)
    if not isinstance(node.value, dict):
        raise ConfigError(f"{node.position}: expected a mapping with {keys}")
    return to_tree(node)
