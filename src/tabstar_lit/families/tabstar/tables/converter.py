"""Tables to corpus: read, encode, write. Tables that did not change since the last time are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tabstar_lit.data.conversion import bring_up_to_date, fingerprint
from tabstar_lit.data.progress import no_item_progress
from tabstar_lit.data.source_files import file_identity
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table, write_corpus
from tabstar_lit.families.tabstar.tables.encoding import CONVERTER_VERSION, Settings, encode_table
from tabstar_lit.families.tabstar.tables.files import RawTable, read_table
from tabstar_lit.families.tabstar.tables.manifest import TableEntry


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
        return file_identity(self.path)

    def read(self) -> RawTable:
        """Read the file."""
        return read_table(self.path, self.entry.reading(), ignore=self.entry.ignore)


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
    kinds: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
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
    problems : tuple of str
        Tables that could not be converted and are not in the corpus, and why.
    """

    path: Path
    written: bool
    tables: list[Summary]
    problems: tuple[str, ...] = ()


def convert(
    sources: Sequence[Source],
    output: Path,
    *,
    settings: Settings | None = None,
    progress: Callable[[Sequence[Source]], Iterable[Source]] = no_item_progress,
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
        What was converted, what was kept, and what was left out because it is broken.

    Raises
    ------
    DataError
        If no table can be converted (all are named; nothing is written), or ``output`` exists and is no readable
        corpus.
    """
    settings = settings or Settings()
    identities = {source.entry.name: source.identity() for source in sources}
    target = _Tables(sources, identities, settings, progress)
    outcome = bring_up_to_date(target, output, target.wanted)
    corpus = outcome.opened
    tables = [target.summaries[name]._replace(stored_bytes=corpus.stored_bytes(name)) for name in corpus.tables]
    return Report(output, outcome.written, tables, tuple(target.broken.values()))


class _Tables:
    """The corpus as the target of a conversion; its parts are tables.

    Attributes
    ----------
    wanted : dict of str to str
        Fingerprint of each table.
    summaries : dict of str to Summary
        Of the tables that were kept or converted so far.
    broken : dict of str to str
        Tables that cannot be converted, and why.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        identities: Mapping[str, dict[str, str]],
        settings: Settings,
        progress: Callable[[Sequence[Source]], Iterable[Source]],
    ) -> None:
        self._sources = {source.entry.name: source for source in sources}
        self._identities, self._settings, self._progress = identities, settings, progress
        self.wanted = {
            source.entry.name: _fingerprint(source.entry, identities[source.entry.name], settings) for source in sources
        }
        self.summaries: dict[str, Summary] = {}
        self.broken: dict[str, str] = {}

    def open(self, path: Path) -> Corpus:
        return Corpus.open(path)

    def fingerprints(self, opened: Corpus) -> dict[str, str]:
        return {name: self._sound(opened, name) for name in opened.tables}

    def write(self, path: Path, changed: Sequence[str], old: Corpus | None) -> None:
        sources = [self._sources[name] for name in changed]
        write_corpus(path, self._converted(sources), order=list(self.wanted), keep=old, broken=self.broken)

    def _sound(self, corpus: Corpus, name: str) -> str:
        """Return the fingerprint of a table, having read it if it shall stay."""
        own = corpus.source_fingerprint(name)
        if own == self.wanted.get(name):
            try:
                self.summaries[name] = _summary(corpus.load(name), kept=True)
            except DataError:
                return ""
        return own

    def _converted(self, sources: Sequence[Source]) -> Iterator[Table]:
        for source in self._progress(sources):
            name = source.entry.name
            try:
                table = encode_table(source.entry, source.read(), self._settings)
            except DataError as error:
                self.broken[name] = f"table '{name}' ({source.entry.file}): {error}"
                continue
            table.schema.update(source=self._identities[name], fingerprint=self.wanted[name])
            self.summaries[name] = _summary(table, kept=False)
            yield table
        if len(self.broken) == len(self.wanted):
            raise DataError("\n".join(self.broken.values()))


def column_kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what each column of a table is taken for, such as ``day (date)``, in the order of the elements.

    Parameters
    ----------
    schema : Mapping
        Of the table.
    """
    parts = {f"{name}_{part}" for name, own in schema["dates"].items() for part in own}
    kinds = [(column["name"], column["kind"]) for column in schema["columns"] if column["name"] not in parts]
    return tuple(f"{name} ({kind})" for name, kind in (*kinds, *((name, "date") for name in schema["dates"])))


def _fingerprint(entry: TableEntry, identity: dict[str, str], settings: Settings) -> str:
    return fingerprint(
        {
            "converter": CONVERTER_VERSION,
            "data": identity,
            "entry": entry.model_dump(exclude={"file"}),
            "settings": asdict(settings),
        }
    )


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
        kinds=column_kinds(table.schema),
        warnings=tuple(table.schema["warnings"]),
    )
