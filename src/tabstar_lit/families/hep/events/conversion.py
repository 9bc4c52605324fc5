"""Sources to event file: check all names first, then convert chunk by chunk; unchanged inputs are not read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.config.tree import Path_, Problem, did_you_mean, raise_problems
from tabstar_lit.data.conversion import bring_up_to_date, fingerprint
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.source_files import file_identity
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.columns import ChunkMaker
from tabstar_lit.families.hep.events.conversion_config import (
    ColumnSpec,
    Conversion,
    ConversionConfig,
    SourceSpec,
    is_pattern,
)
from tabstar_lit.families.hep.events.expressions import MISSING, Expression
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.readers import Reader, open_reader
from tabstar_lit.families.hep.events.schema import ColumnInfo, EventSchema
from tabstar_lit.families.hep.events.writer import EventWriter

CONVERTER_VERSION = 5
"""Raise when the same input gives other output: files made before are converted again."""

EVENTS = "events"
"""The only part of an event file."""


@dataclass
class Report:
    """Outcome of a conversion.

    Attributes
    ----------
    file : EventFile
        The event file, opened.
    written : bool
        False when it was up to date and not touched.
    n_read : int
        Events in the sources, before cuts; 0 when nothing was read.
    notes : tuple of str
        What of the sources was read otherwise than it stands there.
    """

    file: EventFile
    written: bool
    n_read: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """One file of a source."""

    index: int
    source: SourceSpec
    path: Path
    reader: Reader


def convert_events(conversion: Conversion, output: Path, *, progress: Progress = no_progress) -> Report:
    """Make an event file, unless it exists and was made from the same files by the same configuration.

    Parameters
    ----------
    conversion : Conversion
        From :func:`tabstar_lit.families.hep.events.conversion_config.read_conversion`.
    output : Path
        The event file.
    progress : callable
        For a progress bar.

    Returns
    -------
    Report
        The file and whether it was written.

    Raises
    ------
    ConfigError
        If names of columns are not in the files; all of them, located.
    DataError
        If files or their contents cannot be used, or ``output`` exists and is no event file. Nothing is written then.
    """
    paths = [_files(source, conversion.folder) for source in conversion.config.sources]
    if output.resolve() in {path.resolve() for found in paths for path in found}:
        raise DataError(f"{output}: is one of the sources; choose another output")
    target = _Events(conversion, paths, progress)
    outcome = bring_up_to_date(target, output, {EVENTS: target.wanted})
    return Report(outcome.opened, outcome.written, target.n_read, target.notes)


class _Events:
    """The event file as the target of a conversion; it is made as a whole.

    Attributes
    ----------
    wanted : str
        Its fingerprint.
    n_read : int
        Events read so far.
    notes : tuple of str
        What was read otherwise than it stands there.
    """

    def __init__(self, conversion: Conversion, paths: list[list[Path]], progress: Progress) -> None:
        self._conversion, self._paths, self._progress = conversion, paths, progress
        self._identities = [file_identity(path) for found in paths for path in found]
        self.wanted = _fingerprint(conversion.config, self._identities)
        self.n_read = 0
        self.notes: tuple[str, ...] = ()

    def open(self, path: Path) -> EventFile:
        return EventFile.open(path)

    def fingerprints(self, opened: EventFile) -> dict[str, str]:
        return {EVENTS: opened.conversion}

    def write(self, path: Path, changed: Sequence[str], old: EventFile | None) -> None:
        pairs = zip(self._conversion.config.sources, self._paths, strict=True)
        parts = [
            _Part(index, source, found, open_reader(found, source.format, tree=source.tree, separator=source.separator))
            for index, (source, files) in enumerate(pairs)
            for found in files
        ]
        self.notes = tuple(dict.fromkeys(note for part in parts for note in part.reader.notes))
        conversion, parts = _labelled(self._conversion, parts)
        config = _expanded(conversion, parts)
        raise_problems(conversion.tree, _of_all_files(config, parts))
        self.n_read = _write(
            config, parts, path, sources=self._identities, made_from=self.wanted, progress=self._progress
        )


def _files(source: SourceSpec, folder: Path) -> list[Path]:
    """Return the files of a source; those of a pattern sorted by name, so that the order is the same everywhere."""
    found: list[Path] = []
    for name in source.file:
        if not is_pattern(name):
            found.append(folder / name)
            continue
        pattern = Path(name)
        matches = sorted(Path(pattern.anchor or folder).glob(str(pattern.relative_to(pattern.anchor))))
        if not matches:
            raise DataError(f"no file matches '{name}' (looked for below {folder})")
        found += matches
    for path in found:
        if not path.is_file():
            raise DataError(f"{path}: no such file.{did_you_mean(path.name, (p.name for p in path.parent.glob('*')))}")
    return list(dict.fromkeys(found))  # a file that two patterns match is read once


def _fingerprint(config: ConversionConfig, sources: list[dict[str, str]]) -> str:
    settings = config.model_dump(mode="json", exclude={"chunk_rows": True, "sources": {"__all__": {"file"}}})
    parts = {"converter": CONVERTER_VERSION, "config": settings, "columns": list(config.columns), "sources": sources}
    return fingerprint(parts, ordered=True)


def _expanded(conversion: Conversion, parts: list[_Part]) -> ConversionConfig:
    """Replace patterns of columns by the columns of the first file that match and are not given by themselves."""
    config, names = conversion.config, (*parts[0].reader.names, *conversion.config.derived())
    columns: dict[str, ColumnSpec] = {}
    problems = []
    for key, spec in config.columns.items():
        matches = [name for name in names if fnmatchcase(name, key)] if is_pattern(key) else [key]
        if not matches:
            problems.append(Problem(("columns", key), f"'{key}' matches no column of {parts[0].path.name}", names))
        for name in matches:
            if name == key or (name not in config.columns and name not in columns):
                columns[name] = spec
    raise_problems(conversion.tree, problems)
    return config.model_copy(update={"columns": columns})


def _labelled(conversion: Conversion, parts: list[_Part]) -> tuple[Conversion, list[_Part]]:
    """Give sources whose files name the numbers of their labels a condition for each label that occurs."""
    sources, problems = list(conversion.config.sources), []
    for index, source in enumerate(sources):
        if source.label_codes is None:
            continue
        own, place = [part for part in parts if part.index == index], ("sources", index, "label_codes")
        codes = {name: code for part in own for name, code in part.reader.codes.items()}
        if any(dict(part.reader.codes) != codes for part in own):
            names = ", ".join(part.path.name for part in own if dict(part.reader.codes) != codes)
            problems.append(Problem(place, f"files give the labels other numbers, or none: {names}"))
        elif not codes or not own[0].reader.has(source.label_codes):
            lacks = f"column '{source.label_codes}'" if codes else "'labels' in its metadata: give a label"
            problems.append(Problem(place, f"{own[0].path.name} has no {lacks}.", own[0].reader.names if codes else ()))
        else:
            seen = _numbers_in(own, source.label_codes, conversion.config.chunk_rows)
            rules = {name: f"`{source.label_codes}` == {code}" for name, code in codes.items() if code in seen}
            sources[index] = source.model_copy(update={"label": rules})
    raise_problems(conversion.tree, problems)
    config = conversion.config.model_copy(update={"sources": tuple(sources)})
    return conversion._replace(config=config), [replace(part, source=sources[part.index]) for part in parts]


def _numbers_in(parts: Sequence[_Part], column: str, rows: int) -> set[float]:
    chunks = (chunk for part in parts for chunk in part.reader.chunks([column], (), rows))
    return {number for chunk in chunks for number in np.unique(np.asarray(chunk.columns[column])).tolist()}


def _of_all_files(config: ConversionConfig, parts: Sequence[_Part]) -> list[Problem]:
    """Return what is wrong with names, once for all files in which it is."""
    found: dict[tuple[Path_, str], list[str]] = {}
    first: dict[tuple[Path_, str], Problem] = {}
    for part in parts:
        for problem in _unknown_names(config, part):
            key = problem.path, problem.message.replace(part.path.name, "")
            found.setdefault(key, []).append(part.path.name)
            first.setdefault(key, problem)
    others = {key: f"{names[0]} and {len(names) - 1} more files" for key, names in found.items() if len(names) > 1}
    return [
        problem._replace(message=problem.message.replace(found[key][0], others.get(key, found[key][0])))
        for key, problem in first.items()
    ]


def _unknown_names(config: ConversionConfig, part: _Part) -> Iterator[Problem]:
    """Find names in expressions that are no columns of a file, and names given to something that it has already."""
    known = (*part.reader.names, *part.source.tag, *config.derived(), *config.define)
    for path, text in config.expressions(part.index):
        expression = Expression(text)
        if expression.says_missing and MISSING in part.reader.names:
            remedy = (
                f"`{MISSING}` in backquotes is the column; to say that there is no value, name the column otherwise."
            )
            yield Problem(path, f"'{MISSING}' may be the word or the column of {part.path.name}: {remedy}")
        for name, position, _ in expression.names:
            if name not in known and not part.reader.has(name):
                where = f' (character {position} of "{text}")' if text not in (name, f"`{name}`") else ""
                yield Problem(path, f"no column '{name}'{where} in {part.path.name}.", known)
    given: list[tuple[Path_, str]] = [(("define", name), name) for name in config.define]
    given += [(("substructure",), name) for name in config.derived()]
    given += [(("sources", part.index, "tag", name), name) for name in part.source.tag]
    for path, name in given:
        if name in part.reader.names:
            yield Problem(path, f"'{name}' is a column of {part.path.name} already; choose another name.")


def _write(
    config: ConversionConfig,
    parts: list[_Part],
    output: Path,
    *,
    sources: list[dict[str, str]],
    made_from: str,
    progress: Progress,
) -> int:
    maker, schema = ChunkMaker(config), _schema(config)
    totals = [part.reader.n_events for part in parts]
    of_class = np.zeros(len(schema.classes), dtype=np.int64)
    n_read = 0
    options: dict[str, Any] = {"sources": sources, "conversion": made_from, "renumber": not config.event_id}
    with EventWriter(output, schema, **options) as writer:
        known = [total for total in totals if total is not None]
        with progress(sum(known) if len(known) == len(totals) else None) as advance:
            for part in parts:
                names, texts = _names(config, part)
                for chunk in part.reader.chunks(names, texts, config.chunk_rows):
                    try:
                        events = maker(part.source, chunk)
                        writer.append(events)
                    except DataError as error:
                        raise DataError(f"{part.path}: {error}") from error
                    of_class += np.bincount(events.labels[events.labels >= 0], minlength=len(of_class))
                    n_read += chunk.n
                    advance(chunk.n)
        _check_counts(schema, writer.n_events, n_read, of_class.tolist())
        for path, known_categories in maker.categories.items():
            names = sorted(known_categories, key=_category_order)
            if schema.stored()[path].categories:
                names = list(known_categories)  # in the order the configuration gives
            place = {text: code for code, text in enumerate(names)}
            writer.set_categories(path, names, np.array([place[text] for text in known_categories], dtype=np.int32))
    return n_read


def _names(config: ConversionConfig, part: _Part) -> tuple[list[str], list[str]]:
    """Return the columns a file is asked for, and those of them that are read as text.

    These are the ones that are compared with texts, and categories where types are guessed: a chunk of a CSV file
    that holds only numbers must give the same ones as a chunk that holds a word, too.
    """
    as_text: dict[str, set[bool]] = {}
    compared = set()
    categories = {place for place, spec in config.specs() if spec.kind == "categorical"}
    for path, text in config.expressions(part.index):
        names = config.expression(text).names
        is_bare = [name.name for name in names] == [text.strip().strip("`")]
        is_category = is_bare and bool({path, path[:-1]} & categories)
        for name, _, is_text in names:
            as_text.setdefault(name, set()).add(is_text or is_category)
            compared |= {name} if is_text else set()
    asked = [name for name in as_text if name not in config.derived() and name not in part.source.tag]
    guessed = {name for name in asked if as_text[name] == {True}} if part.reader.guesses_types else set()
    return asked, [name for name in asked if name in compared | guessed]


def _schema(config: ConversionConfig) -> EventSchema:
    return EventSchema(
        classes=config.class_names(),
        columns=_infos(config.columns),
        objects={name: _infos(spec.columns) for name, spec in config.objects.items()},
        has_weights=bool(config.weight) or any(source.weight for source in config.sources),
        variations=tuple(config.variations),
    )


def _infos(columns: dict[str, ColumnSpec]) -> dict[str, ColumnInfo]:
    return {
        name: ColumnInfo(name, spec.kind, spec.unit, spec.nullable or bool(spec.missing_code), spec.categories or ())
        for name, spec in columns.items()
    }


def _check_counts(schema: EventSchema, n_events: int, n_read: int, of_class: list[int]) -> None:
    if n_events == 0:
        raise DataError(f"none of the {n_read} events is left after the cuts; check 'cuts' and the sources")
    empty = [name for name, count in zip(schema.classes, of_class, strict=True) if count == 0]
    if empty:
        counts = ", ".join(f"{name} {count}" for name, count in zip(schema.classes, of_class, strict=True))
        raise DataError(f"no event has the label {', '.join(map(repr, empty))} ({counts}); check 'label' and 'cuts'")


def _category_order(text: str) -> tuple[int, float, str]:
    """Sort numbers by value, then texts."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
