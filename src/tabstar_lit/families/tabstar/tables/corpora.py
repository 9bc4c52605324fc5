"""One corpus file or several, read as one: which files are meant, and which of their tables are in use."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import Tokenizer
from tabstar_lit.data.tokens import StringTokens, encoded_strings
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table

BUILTIN_CORPUS = "tabstar_builtin.h5"
"""Name of the corpus of scikit-learn's tables below the data root."""

CACHES = (".tokens-", ".states-")
"""In the names of files that are kept beside a corpus."""


@dataclass(frozen=True)
class Corpora:
    """Corpus files whose tables are used together.

    Attributes
    ----------
    files : tuple of Corpus
        At least one; no table is in two of them.
    """

    files: tuple[Corpus, ...]

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Corpora:
        """Open corpus files.

        Raises
        ------
        DataError
            One cannot be read, or two have a table of the same name.
        """
        files = tuple(map(Corpus.open, paths))
        seen: dict[str, Path] = {}
        for file in files:
            for name in file.tables:
                if name in seen:
                    raise DataError(
                        f"both {seen[name]} and {file.path} have a table '{name}'. Rename one in its manifest, or "
                        "leave one of the files out."
                    )
                seen[name] = file.path
        return cls(files)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables, file by file."""
        return tuple(name for file in self.files for name in file.tables)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the contents; of a single file, its own."""
        own = [file.fingerprint for file in self.files]
        return own[0] if len(own) == 1 else hashlib.sha256("\n".join(own).encode()).hexdigest()

    def load(self, name: str) -> Table:
        """Read a table into memory, see :meth:`Corpus.load`."""
        return next(file for file in self.files if name in file.tables).load(name)

    def tokens(self, tables: Sequence[Table], tokenizer: Tokenizer, *, keep: bool) -> StringTokens:
        """Return the token ids of the strings of tables, from the caches beside the files where these have them."""
        encoded: dict[str, Ragged] = {}
        for file in self.files:
            own = {table.name: table.vocabulary for table in tables if table.name in file.tables}
            encoded |= encoded_strings(file.path, own, tokenizer, keep=keep)
        return StringTokens({table.name: encoded[table.name] for table in tables})

    def __str__(self) -> str:
        """Return the paths, for messages."""
        return ", ".join(str(file.path) for file in self.files)


def corpus_paths(config: TabstarDataset) -> list[Path]:
    """Return the files ``config.corpus`` means: as given, else below the data root; null is the built-in.

    Raises
    ------
    DataError
        A pattern matches no file.
    """
    if config.corpus is None:
        return [roots().data / BUILTIN_CORPUS]
    given = (config.corpus,) if isinstance(config.corpus, str) else config.corpus
    return list(dict.fromkeys(path for entry in given for path in _matches(entry)))


def select_tables(corpora: Corpora, config: TabstarDataset) -> tuple[str, ...]:
    """Return the tables in use, in the order of the files.

    Raises
    ------
    DataError
        A name is not in any of them, or no table is left.
    """
    for key, names in (("tables", config.tables or ()), ("exclude", config.exclude)):
        for name in names:
            if name not in corpora.tables:
                hint = suggestion(name, corpora.tables, listed="It has")
                raise DataError(f"dataset_config.{key}: {corpora} has no table {name!r}.{hint}")
    wanted = corpora.tables if config.tables is None else config.tables
    chosen = tuple(name for name in corpora.tables if name in wanted and name not in config.exclude)
    if not chosen:
        raise DataError(
            f"dataset_config: 'tables' and 'exclude' leave no table of {corpora}; it has {', '.join(corpora.tables)}."
        )
    return chosen


def _matches(entry: str) -> list[Path]:
    path = Path(entry).expanduser()
    below_root = roots().data / path
    if path.exists() or not glob.has_magic(entry):
        return [below_root if not path.exists() and below_root.exists() else path]
    found = sorted(glob.glob(str(path))) or sorted(glob.glob(str(below_root)))
    files = [path for path in map(Path, found) if not any(mark in path.name for mark in CACHES)]
    if not files:
        raise DataError(f"dataset_config.corpus: no file matches '{entry}', here or below {roots().data}.")
    return files
