"""Tables to corpus: read, encode, write. Tables that did not change since the last time are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tabstar_lit.data.source_files import file_sha256
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.corpus import Corpus, Table, write_corpus
from tabstar_lit.families.tabstar.encoding import CONVERTER_VERSION, Settings, encode_table
from tabstar_lit.families.tabstar.manifest import TableEntry
from tabstar_lit.families.tabstar.tables import RawTable, read_table


class Source(Protocol):
    """Where a table comes from; equal identities and entries mean equal tables."""

    @property
    def entry(self) -> TableEntry:
        """What the table is and how to use its columns."""

    def identity(self) -> dict[str, str]:
        """Return what names the data: file and SHA-256, or package and version."""

    def read(self) -> RawTable:
        """Read the data."""


@dataclass(frozen=True)
class FileSource:
    """A table in a CSV or Parquet file.

    Attributes
    ----------
    entry : TableEntry
        Its line in the manifest.
    path : Path
        The file.
    """

    entry: TableEntry
    path: Path

    def identity(self) -> dict[str, str]:
        """Return the file's name and SHA-256."""
        return {"file": self.path.name, "sha256": file_sha256(self.path)}

    def read(self) -> RawTable:
        """Read the file."""
        return read_table(self.path)


class Summary(NamedTuple):
    """What became of one table."""

    name: str
    task: str
    rows: int
    columns: int
    strings: int
    validation_rows: int
    stored_bytes: int
    kept: bool
    warnings: tuple[str, ...]


@dataclass
class Report:
    """Outcome of a conversion.

    Attributes
    ----------
    path : Path
        The corpus.
    written : bool
        False when everything was up to date and the file was not touched.
    tables : list of Summary
        One a table, in corpus order.
    """

    path: Path
    written: bool = False
    tables: list[Summary] = field(default_factory=list)


def _no_progress(sources: Sequence[Source]) -> Iterable[Source]:
    return sources


def convert(
    sources: Sequence[Source],
    output: Path,
    *,
    settings: Settings | None = None,
    progress: Callable[[Sequence[Source]], Iterable[Source]] = _no_progress,
) -> Report:
    """Bring a corpus up to date with its sources.

    Parameters
    ----------
    sources : sequence of Source
        All tables of the corpus, in order; names are unique.
    output : Path
        The corpus. An existing one keeps the tables whose source, entry and settings are unchanged.
    settings : Settings, optional
        Split and bin labels.
    progress : callable
        Wraps the sequence of tables that have to be converted, for a progress bar.

    Returns
    -------
    Report
        What was converted and what was kept.

    Raises
    ------
    DataError
        If tables cannot be converted (all of them are named; nothing is written), or ``output`` exists and is
        no readable corpus.
    """
    settings = settings or Settings()
    old = _existing(output)
    identities = {source.entry.name: source.identity() for source in sources}
    fingerprints = {
        source.entry.name: _fingerprint(source.entry, identities[source.entry.name], settings) for source in sources
    }
    report = Report(output)
    summaries = _reusable(old, fingerprints)
    changed = [source for source in sources if source.entry.name not in summaries]

    def tables() -> Iterator[Table]:
        problems = []
        for source in progress(changed):
            name = source.entry.name
            try:
                table = encode_table(source.entry, source.read(), settings)
            except DataError as error:
                problems.append(f"table '{name}' ({source.entry.file}): {error}")
                continue
            table.schema.update(source=identities[name], fingerprint=fingerprints[name])
            summaries[name] = _summary(table, kept=False)
            yield table
        if problems:
            raise DataError("\n".join(problems))

    if changed or old is None or old.tables != tuple(fingerprints):
        write_corpus(output, tables(), order=list(fingerprints), keep=old)
        report.written = True
    corpus = Corpus.open(output)
    report.tables = [summaries[name]._replace(stored_bytes=corpus.stored_bytes(name)) for name in corpus.tables]
    return report


def _existing(output: Path) -> Corpus | None:
    if not output.exists():
        return None
    try:
        return Corpus.open(output)
    except DataError as error:
        raise DataError(f"{error}\nThe file is not overwritten: remove it or choose another output.") from error


def _fingerprint(entry: TableEntry, identity: dict[str, str], settings: Settings) -> str:
    parts: dict[str, Any] = {
        "converter": CONVERTER_VERSION,
        "data": identity,
        "entry": entry.model_dump(exclude={"file"}),
        "settings": asdict(settings),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _reusable(old: Corpus | None, fingerprints: dict[str, str]) -> dict[str, Summary]:
    """Summarise the tables that need not be converted again; a damaged one does."""
    summaries = {}
    for name in old.tables if old else ():
        if old and old.source_fingerprint(name) == fingerprints.get(name):
            try:
                summaries[name] = _summary(old.load(name), kept=True)
            except DataError:
                continue
    return summaries


def _summary(table: Table, *, kept: bool) -> Summary:
    return Summary(
        name=table.name,
        task=table.task,
        rows=len(table),
        columns=len(table.feature_names),
        strings=len(table.vocabulary),
        validation_rows=int(table.is_validation.sum()),
        stored_bytes=0,
        kept=kept,
        warnings=tuple(table.schema["warnings"]),
    )
