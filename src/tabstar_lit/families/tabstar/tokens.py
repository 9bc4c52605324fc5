"""Token ids of every string of a corpus: computed once per tokenizer and kept beside the corpus.

The training loop sees no strings and no tokenizer. Token ids lie in one flat array with offsets, the strings
of each table sorted by length: sorted string numbers are then sorted lengths, which is the order the text
encoder wants.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer  # type: ignore[import-untyped]  # ships no types

from tabstar_lit.data import hdf5
from tabstar_lit.errors import DataError

KIND = "tabstar_lit.tokens"
SCHEMA_VERSION = 1
REMEDY = "It is only a cache: delete it."

logger = logging.getLogger(__name__)


class TokenTable(NamedTuple):
    """Token ids of one table's vocabulary, in its order.

    Attributes
    ----------
    ids : NDArray of int32
        ``[T]`` token ids of all strings, end to end.
    offsets : NDArray of int64
        ``[V + 1]`` where each string starts.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]


class StringTokens:
    """The strings of several tables under consecutive numbers, shortest first within a table.

    Parameters
    ----------
    tables : mapping of str to TokenTable
        Token ids by table name.
    """

    def __init__(self, tables: Mapping[str, TokenTable]) -> None:
        self._first: dict[str, int] = {}
        self._ranks: dict[str, NDArray[np.int32]] = {}
        flat, lengths = [], []
        total = 0
        for name, table in tables.items():
            own = np.diff(table.offsets)
            order = np.argsort(own, kind="stable")
            self._first[name] = total
            self._ranks[name] = np.argsort(order).astype(np.int32)
            flat.append(_reorder(table, order))
            lengths.append(own[order])
            total += len(order)
        self._lengths = np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        # Reading a short string as if it were as long as the longest must not leave the array.
        longest = int(self._lengths.max(initial=0))
        self._flat = np.concatenate([*flat, np.zeros(longest, dtype=np.int32)])

    def __len__(self) -> int:
        """Return the number of strings in all tables."""
        return len(self._lengths)

    def first(self, table: str) -> int:
        """Return the number of the first string of ``table``."""
        return self._first[table]

    def ranks(self, table: str) -> NDArray[np.int32]:
        """Return the number of each vocabulary entry within ``table``: ``[V]``, by rising length."""
        return self._ranks[table]

    def gather(self, strings: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """Return the token ids of strings.

        Parameters
        ----------
        strings : NDArray of int
            ``[U]`` string numbers.

        Returns
        -------
        token_ids : NDArray of int64
            ``[U, L]``, padded with zeros.
        lengths : tuple of int
            ``[U]``.
        """
        lengths = self._lengths[strings]
        places = np.arange(lengths.max(initial=0))
        token_ids = self._flat[self._starts[strings][:, None] + places].astype(np.int64)
        token_ids *= places < lengths[:, None]
        return token_ids, tuple(lengths.tolist())


def tokenize(vocabulary: Sequence[str], tokenizer: str, max_tokens: int) -> TokenTable:
    """Return the token ids of strings, special tokens included, each cut to ``max_tokens``.

    Parameters
    ----------
    vocabulary : sequence of str
        ``[V]`` strings.
    tokenizer : str
        Text of a ``tokenizer.json``; truncation and padding stated in it are replaced.
    max_tokens : int
        Upper bound on the tokens of a string.
    """
    reader = Tokenizer.from_str(tokenizer)
    reader.no_padding()
    reader.enable_truncation(max_tokens)
    encoded = [encoding.ids for encoding in reader.encode_batch_fast(list(vocabulary))]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    ids = np.fromiter((i for ids in encoded for i in ids), dtype=np.int32, count=int(offsets[-1]))
    return TokenTable(ids, offsets)


def corpus_tokens(
    corpus: Path,
    vocabularies: Mapping[str, Sequence[str]],
    tokenizer: str,
    max_tokens: int,
    *,
    keep: bool = True,
) -> StringTokens:
    """Return the tokens of the tables of a corpus, from the cache beside it where that has them.

    Tables the cache lacks are tokenised and added to it. Where it cannot be written, training goes on without
    it.

    Parameters
    ----------
    corpus : Path
        The corpus file; the cache lies in its folder, one per tokenizer and ``max_tokens``.
    vocabularies : mapping
        The strings of each table, by name.
    tokenizer : str
        Text of the ``tokenizer.json``.
    max_tokens : int
        Upper bound on the tokens of a string.
    keep : bool, default True
        Write what was tokenised to the cache.
    """
    path = cache_path(corpus, tokenizer, max_tokens)
    keys = {name: _fingerprint(strings) for name, strings in vocabularies.items()}
    cached = _read_cache(path) if path.exists() else {}
    missing = {keys[name]: strings for name, strings in vocabularies.items() if keys[name] not in cached}
    if missing:
        cached |= {key: tokenize(strings, tokenizer, max_tokens) for key, strings in missing.items()}
    if missing and keep:
        _try_to_keep(path, cached)
    return StringTokens({name: cached[key] for name, key in keys.items()})


def cache_path(corpus: Path, tokenizer: str, max_tokens: int) -> Path:
    """Return where the tokens of ``corpus`` for one tokenizer and length are kept."""
    key = hashlib.sha256(f"{max_tokens}\n{tokenizer}".encode()).hexdigest()
    return corpus.with_name(f"{corpus.stem}.tokens-{key[:12]}.h5")


def _read_cache(path: Path) -> dict[str, TokenTable]:
    try:
        with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
            return {
                key: TokenTable(*(hdf5.read_array(file, f"{key}/{part}", remedy=REMEDY) for part in TokenTable._fields))
                for key in file
            }
    except DataError as error:
        logger.warning("The token cache is made again: %s", error)
        return {}


def _try_to_keep(path: Path, tables: Mapping[str, TokenTable]) -> None:
    try:
        _write_cache(path, tables)
    except DataError as error:
        logger.info("Tokens are kept in memory only: %s", error)


def _write_cache(path: Path, tables: Mapping[str, TokenTable]) -> None:
    with hdf5.atomic_file(path) as file:
        for key, table in tables.items():
            group = file.create_group(key)
            for part, array in table._asdict().items():
                hdf5.write_array(group, part, array)
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION


def _fingerprint(strings: Sequence[str]) -> str:
    # Verbalised strings hold no control characters but the newline, so NUL separates them safely.
    return hashlib.sha256("\0".join(strings).encode("utf-8", errors="replace")).hexdigest()


def _reorder(table: TokenTable, order: NDArray[np.intp]) -> NDArray[np.int32]:
    lengths = np.diff(table.offsets)[order]
    new_starts = np.cumsum(lengths) - lengths
    shift = np.repeat(table.offsets[:-1][order] - new_starts, lengths)
    ids: NDArray[np.int32] = table.ids[np.arange(len(shift)) + shift]
    return ids
