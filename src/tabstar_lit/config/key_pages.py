"""The pages of the documentation that tables of keys stand on: whole ones for families, and parts of others.

In a page written by hand, tables stand between two comments, which say what they are of::

    <!-- keys of tabstar_lit.config.schema:TuningConfig -->
    <!-- end of keys -->

``keys of A without B`` leaves out ``B`` and all below it. ``foreign keys of A without B`` are of tables of another
program's keys. ``pages of keys`` lists the pages of the families, in
``mkdocs.yml`` between the same words after ``#``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from tabstar_lit.config.foreign import foreign_table
from tabstar_lit.config.key_tables import key_tables
from tabstar_lit.config.schema import Experiment
from tabstar_lit.config.schema_walk import reachable

PLACE = re.compile(
    r"^(?P<begin> *(?:<!--|#) (?P<what>(?:foreign )?keys of \S+(?: without \S+)?|pages of keys)[^\n]*\n)"
    r".*?(?P<end>^ *(?:<!--|#) end of (?:pages of )?keys\b)",
    re.MULTILINE | re.DOTALL,
)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)


class Trained(NamedTuple):
    """A family as the documentation sees it: the command that trains it, and its schema."""

    command: str
    schema: type[Experiment]


def key_pages(root: Path, families: Mapping[str, Trained]) -> dict[str, str]:
    """Return every page with tables of keys as it should be.

    Parameters
    ----------
    root : Path
        Folder with ``docs/`` and ``mkdocs.yml``.
    families : mapping of str to Trained
        By name.

    Returns
    -------
    dict of str to str
        Path below ``root`` -> content.
    """
    pages = {_path(name): family_page(name, family) for name, family in families.items()}
    for path in [*sorted((root / "docs").rglob("*.md")), root / "mkdocs.yml"]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if PLACE.search(text):
            pages[path.relative_to(root).as_posix()] = filled(text, families)
    return pages


def family_page(name: str, family: Trained) -> str:
    """Return the page with every key that only one family has."""
    tables = key_tables(family.schema, known=reachable(Experiment))
    return f"""# Every key of {name}

<!-- Written from the family's schema by `make keys`: change it there. -->

What the configuration of `{family.command}` may say, beside
[what all configurations have](../configuration.md#all-keys). The shipped files are commented and hold the keys in use;
[the page of the family]({name}.md) tells what they are for.

{tables}
"""


def filled(text: str, families: Mapping[str, Trained]) -> str:
    """Return a page with the tables and lists that its comments ask for."""

    def fill(place: re.Match[str]) -> str:
        if place["what"] == "pages of keys":
            lines = _links(families) if place["begin"].startswith("<") else _entries(families)
            return f"{place['begin']}{lines}\n{place['end']}"
        level = len(HEADING.findall(text, 0, place.start())[-1]) + 1
        return f"{place['begin']}\n{_tables(place['what'], level)}\n\n{place['end']}"

    return PLACE.sub(fill, text)


def _tables(what: str, level: int) -> str:
    schema, _, without = what.removeprefix("foreign ").removeprefix("keys of ").partition(" without ")
    if what.startswith("foreign "):
        known = _named(without) if without else ()
        return foreign_table([entry for entry in _named(schema) if entry not in known])
    title = "Top level" if issubclass(_section(schema), Experiment) else ""
    return key_tables(_section(schema), level=level, title=title, known=reachable(_section(without)) if without else ())


def _section(name: str) -> type[BaseModel]:
    section: type[BaseModel] = _named(name)
    return section


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _path(name: str) -> str:
    return f"docs/families/{name}-keys.md"


def _links(families: Mapping[str, Trained]) -> str:
    return "\n".join(f"- [{name}](families/{name}-keys.md), trained by `{it.command}`" for name, it in families.items())


def _entries(families: Mapping[str, Trained]) -> str:
    return "\n".join(f"      - {name}: families/{name}-keys.md" for name in families)
