"""Write a configuration back: as YAML that reads to the same values, and where each value came from."""

from __future__ import annotations

import re
from typing import Any

import yaml
from pydantic import SecretStr

from tabstar_lit.config.redact import redact as redacted
from tabstar_lit.config.redact import redact_text, secret_values
from tabstar_lit.config.scalars import parse_scalar
from tabstar_lit.config.tree import ConfigTree, Path_, dotted

LINE_WIDTH = 110
FLOAT_TAG = "tag:yaml.org,2002:float"
FLOAT = re.compile(r"-?\d+(\.\d+)?e[-+]\d+")


class _Dumper(yaml.SafeDumper):
    """Writes scalars so that the YAML 1.2 reader gives them back unchanged."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(tree: ConfigTree, *, redact: bool = True) -> str:
    """Write a configuration as YAML; with `redact` every secret is masked.

    Without it secrets are written in clear: only for handing a configuration to a process, never for a file.
    """
    data = redacted(tree.data) if redact else tree.data
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH)


def provenance(tree: ConfigTree) -> dict[str, str]:
    """Give for every leaf its dotted path and where it came from: ``file:line:column`` or ``default``."""
    secrets = secret_values(tree.data)
    return {dotted(path): redact_text(_origin(tree, path), secrets) for path in _leaves(tree.data, ())}


def _origin(tree: ConfigTree, path: Path_) -> str:
    """Give the position of a leaf; a list counts as a whole, anything nobody wrote is a default."""
    position = tree.positions.get(path)
    return str(position) if position else "default"


def _leaves(data: Any, path: Path_) -> list[Path_]:
    if isinstance(data, dict) and data:
        return [leaf for key, child in data.items() for leaf in _leaves(child, (*path, key))]
    return [path]


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Quote text that would read as something else."""
    ambiguous = not isinstance(parse_scalar(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if ambiguous else None)


def _float(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    """Write a number in the shortest form that reads back to it, always as a float."""
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(number), repr(number))
    return dumper.represent_scalar(FLOAT_TAG, text)


def _secret(dumper: _Dumper, secret: SecretStr) -> yaml.ScalarNode:
    return _text(dumper, secret.get_secret_value())


# PyYAML knows YAML 1.1 only, where 1e-05 is text; without this it would write `!!float 1e-05`
_Dumper.add_implicit_resolver(FLOAT_TAG, FLOAT, list("-0123456789"))
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)
_Dumper.add_representer(SecretStr, _secret)
