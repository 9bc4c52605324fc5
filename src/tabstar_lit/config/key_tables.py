"""Tables of keys in Markdown, made from the schema: what may be written, what it is when left out, what it means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tabstar_lit.config.schema.base import AlsoSpelled, Section
from tabstar_lit.config.schema_walk import Models, models_in, yaml_fields

Model = type[BaseModel]
Path = tuple[str, ...]

PROMINENT: tuple[Path, ...] = (("model_config", "architecture_config"), ("model_config", "training_config"))
"""Sections inside others that are large enough for a heading of the upper level."""
FEW = 2
"""At most so many exceptions are named, instead of all to which something applies."""


class Part(NamedTuple):
    """A heading, a text and a table: the sections that are explained, and those of their fields that are listed."""

    title: str
    depth: int
    text: str
    models: Sequence[Model] = ()
    fields: Mapping[str, FieldInfo] = {}


def key_tables(schema: Model, *, level: int = 2, title: str = "Top level", known: Collection[Model] = ()) -> str:
    """Return the tables of a section and of all sections below it.

    A section stands on a page once, where it is first used, without the keys it inherits from another one there. Where
    one of several may stand, such as the networks of a family, the keys that some of them have in common come first.

    Parameters
    ----------
    schema : type
        The section.
    level : int
        Level of its heading; sections inside its sections have one more.
    title : str
        Its heading; none if empty.
    known : collection of types
        Sections that are explained elsewhere.

    Returns
    -------
    str
        Markdown, without a line break at its end.
    """
    page = _Page(known)
    page.add(Part(title, 0, "", [schema], page.own(schema)))
    page.walk(schema, ())
    return "\n\n".join(page.written(part, level) for part in page.parts)


class _Page:
    """The parts of a page in order, and the title under which each section, or choice of sections, is explained."""

    def __init__(self, known: Collection[Model]) -> None:
        self.known = set(known)
        self.parts: list[Part] = []
        self.titles: dict[Model | Models, str] = {}

    def add(self, part: Part) -> None:
        """Append a part, unless it is empty."""
        self.known.update(part.models)
        if part.text or part.fields:
            self.parts.append(part)
            self.titles |= dict.fromkeys(part.models, part.title)

    def walk(self, section: Model, path: Path, beside: Sequence[Model] = ()) -> None:
        """Add the sections below one that stands at ``path``, where also those ``beside`` it may stand."""
        for name, field in yaml_fields(section).items():
            found, here = models_in(field.annotation), (*path, name)
            new = [model for model in found if model not in self.known]
            if len(found) > 1 and new:
                self._add_alternatives(here, found, new)
            elif new:
                self._add_section((*path, _siblings(section, new[0])), new[0], _owners(beside, name, new[0]))
            for model in new:
                self.walk(model, here, new if len(new) > 1 else ())

    def _add_section(self, path: Path, section: Model, owners: str) -> None:
        title, depth = _heading(path)
        if title in self.titles.values():
            title += f" of {owners}" if owners else f" ({section.__name__})"
        fields = self.own(section)
        base = next((base for base in section.__mro__[1:] if base in self.titles), None)
        more = f" Beside the keys of {_link(self.titles[base])}:" if base is not None else ""
        self.add(Part(title, depth, _described(section) + more if fields else "", [section], fields))

    def _add_alternatives(self, path: Path, found: Models, new: Sequence[Model]) -> None:
        """Add sections of which one may stand at ``path``: what several have in common, then each."""
        title, depth = _heading(path)
        tags = {section: tag for section in new for _, tag in _tags(section)}
        before = ""
        if depth == 0:
            (key,) = {key for section in new for key, _ in _tags(section)}
            self.titles[found] = title
            self.add(Part(title, 0, f"`{key}` is {_listed([f'`{tag}`' for tag in tags.values()], 'or')}."))
        else:
            before = f"{title}: "
        for members, shared in _shared(new, self.known):
            named = _named([tags[member] for member in members], list(tags.values()))
            text = _described(shared[0]) if len(shared) == 1 else ""
            self.add(Part(before + named[0].upper() + named[1:], 1, text, shared, self._merged(members[0], shared)))
        for section, tag in tags.items():
            self.add(Part(before + tag, 1, _described(section), [section], self.own(section)))

    def own(self, section: Model) -> dict[str, FieldInfo]:
        """Return the fields of a section that no section explained before has as they are."""
        before = [yaml_fields(base) for base in _bases(section) if base in self.known]
        tags = {key for key, _ in _tags(section)}
        return {
            name: field
            for name, field in yaml_fields(section).items()
            if not any(_equal(field, fields.get(name)) for fields in before)
            and (name not in tags or field.description is not None)
        }

    def _merged(self, member: Model, shared: Sequence[Model]) -> dict[str, FieldInfo]:
        """Return the fields that a member inherits from some sections, each as the first that defines it has it."""
        fields = {
            name: field
            for section in reversed(shared)
            for name, field in self.own(section).items()
            if name in inspect.get_annotations(section)
        }
        return {name: fields[name] for name in yaml_fields(member) if name in fields}

    def written(self, part: Part, level: int) -> str:
        """Return a part in Markdown."""
        heading = f"{'#' * (level + part.depth)} {part.title}" if part.title else ""
        blocks = [text for text in (heading, part.text) if text]
        if part.fields:
            rows = [self._row(name, field, part.models) for name, field in part.fields.items()]
            blocks.append("\n".join(["| Key | Default | Meaning |", "|---|---|---|", *rows]))
        return "\n\n".join(blocks)

    def _row(self, name: str, field: FieldInfo, sections: Sequence[Model]) -> str:
        models = models_in(field.annotation)
        title = self.titles.get(models if len(models) > 1 else (*models, None)[0] or ())
        key = f"`{name}`" if title is None else _link(title, f"`{name}`")
        text = field.description or next(filter(None, (_inherited(name, section) for section in sections)), "")
        return f"| {key} | {_default(field)} | {_escaped(text + _spellings(field))} |"


def _heading(path: Path) -> tuple[str, int]:
    """Return the title of the section at ``path``, from the last heading of the upper level on, and its depth."""
    if len(path) == 1 or path in PROMINENT:
        return path[-1], 0
    start = next((len(above) for above in PROMINENT if path[: len(above)] == above), 1)
    return ".".join(path[start:]), 1


def _siblings(section: Model, part: Model) -> str:
    """Return the keys of a section that hold the same part, and whether they hold several of them."""
    fields = {key: field for key, field in yaml_fields(section).items() if models_in(field.annotation) == (part,)}
    several = any(_holds_several(field.annotation) for field in fields.values())
    return ", ".join(fields) + (", each" if several else "")


def _holds_several(annotation: Any) -> bool:
    collection = get_origin(annotation) in (dict, list, tuple) and bool(models_in(annotation))
    return collection or any(_holds_several(part) for part in get_args(annotation))


def _owners(alternatives: Sequence[Model], key: str, part: Model) -> str:
    """Name those of several sections under whose ``key`` a part stands."""
    tags = {section: tag for section in alternatives for _, tag in _tags(section)}
    fields = {section: yaml_fields(section).get(key) for section in tags}
    owners = [tags[section] for section, field in fields.items() if field and part in models_in(field.annotation)]
    return _named(owners, list(tags.values())) if owners else ""


def _shared(sections: Sequence[Model], known: Collection[Model]) -> Iterator[tuple[list[Model], list[Model]]]:
    """Give sets of two or more sections, the largest first, and those that exactly they all inherit from."""
    heirs: dict[Model, list[Model]] = {}
    for section in sections:
        for base in _bases(section):
            if base not in known and not base.__name__.startswith("_"):
                heirs.setdefault(base, []).append(section)
    groups: dict[Models, list[Model]] = {}
    for base, members in heirs.items():
        groups.setdefault(tuple(members), []).append(base)
    for several in sorted((members for members in groups if len(members) > 1), key=len, reverse=True):
        yield list(several), groups[several]


def _bases(section: Model) -> list[Model]:
    return [base for base in section.__mro__[1:] if issubclass(base, Section) and base is not Section]


def _named(members: Sequence[str], everybody: Sequence[str]) -> str:
    others = [name for name in everybody if name not in members]
    if not others:
        return "all of them"
    few = len(others) <= min(FEW, len(members) - 1)
    return f"all but {_listed(others, 'and')}" if few else _listed(members, "and")


def _listed(names: Sequence[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _tags(section: Model) -> list[tuple[str, str]]:
    """Return the key that tells a section from its alternatives, and its value there."""
    return [
        (name, str(get_args(field.annotation)[0]))
        for name, field in yaml_fields(section).items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]


def _equal(field: FieldInfo, other: FieldInfo | None) -> bool:
    if other is None or models_in(field.annotation) != models_in(other.annotation):
        return False
    return field.description in (other.description, None) and _default(field) == _default(other)


def _inherited(name: str, section: Model) -> str | None:
    """Return the meaning of a key that a section changes without a word, from what it inherits from."""
    fields = (yaml_fields(base).get(name) for base in _bases(section))
    return next((field.description for field in fields if field is not None and field.description), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    return "see there" if isinstance(value, BaseModel) else f"`{_spelled(value)}`"


def _spelled(value: Any) -> str:
    """Return a value as YAML writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_spelled(entry)}' for key, entry in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) or '""'


def _spellings(field: FieldInfo) -> str:
    names = [f"`{name}`" for mark in field.metadata if isinstance(mark, AlsoSpelled) for name in mark.names]
    return f" Also spelled {_listed(names, 'or')}." if names else ""


def _described(section: Model) -> str:
    """Return what a section is: its docstring, in Markdown."""
    text = " ".join((inspect.getdoc(section) or "").split())
    return _escaped(re.sub(r"(?::\w+:)?`+([^`]+)`+", r"`\1`", text))


def _link(title: str, text: str = "") -> str:
    """Return a link to a heading of the page, by the name that Markdown gives it."""
    anchor = re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())
    return f"[{text or title}](#{anchor})"


def _escaped(text: str) -> str:
    """Write out the signs that Markdown would take for its own, but for those in backquotes."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)
