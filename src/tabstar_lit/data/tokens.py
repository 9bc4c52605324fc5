"""Token ids of every string of a corpus: computed once per tokenizer and kept beside the corpus.

The training loop sees no strings and no tokenizer. The strings of each table lie sorted by length: sorted string
numbers are then sorted lengths, which is the order a text encoder wants.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tabstar_lit.arrays import Int32, Int64
from tabstar_lit.data import hdf5
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import Tokenizer
from tabstar_lit.errors import DataError

KIND = "tabstar_lit.tokens"
SCHEMA_VERSION = 1
REMEDY = "It is only a cache: delete it."

logger = logging.getLogger(__name__)


class StringTokens:
    """The strings of several tables under consecutive numbers, shortest first within a table.

    Parameters
    ----------
    tables : mapping of str to Ragged
        Token ids of each table's strings, in the order of its vocabulary.
    """

    def __init__(self, tables: Mapping[str, Ragged]) -> None:
        self._first: dict[str, int] = {}
        self._ranks: dict[str, Int32] = {}
        ordered: list[Ragged] = []
        total = 0
        for name, table in tables.items():
            order = np.argsort(table.lengths, kind="stable")
            self._first[name] = total
            self._ranks[name] = np.argsort(order).astype(np.int32)
            ordered.append(table.take(order))
            total += len(order)
        self._strings = Ragged.joined(ordered, np.int32)

    def __len__(self) -> int:
        """Return the number of strings in all tables."""
        return len(self._strings)

    def first(self, table: str) -> int:
        """Return the number of the first string of ``table``."""
        return self._first[table]

    def ranks(self, table: str) -> Int32:
        """Return the number of each vocabulary entry within ``table``: ``[V]``, by rising length."""
        return self._ranks[table]

    def lengths_of(self, strings: NDArray[np.integer[Any]]) -> Int64:
        """Return the number of tokens of each of the strings: ``[U]``."""
        return self._strings.lengths_of(strings)

    def places(self, strings: NDArray[np.integer[Any]]) -> Int64:
        """Return where the tokens of the strings are among those of all strings: ``[T]``, string after string."""
        return self._strings.places(strings)

    def ids_at(self, places: Int64) -> Int64:
        """Return the token ids at the places that :meth:`places` gives: ``[T]``."""
        return self._strings.flat[places].astype(np.int64)

    def gather(self, strings: NDArray[np.integer[Any]]) -> tuple[Int64, tuple[int, ...]]:
        """Return the token ids of strings.

        Parameters
        ----------
        strings : NDArray of int
            ``[U]`` string numbers.

        Returns
        -------
        token_ids : NDArray of int64
            ``[T]``, string after string.
        lengths : tuple of int
            ``[U]``.
        """
        return self.ids_at(self.places(strings)), tuple(self.lengths_of(strings).tolist())


def corpus_tokens(
    corpus: Path,
    vocabularies: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    *,
    keep: bool = True,
) -> StringTokens:
    """Return the tokens of the tables of a corpus, from the cache beside it where that has them.

    Tables the cache lacks are tokenised and added to it. Where it cannot be written, training goes on without
    it.

    Parameters
    ----------
    corpus : Path
        The corpus file; the cache lies in its folder, one per tokenizer.
    vocabularies : mapping
        The strings of each table, by name.
    tokenizer : Tokenizer
        What makes tokens of them.
    keep : bool, default True
        Write what was tokenised to the cache.
    """
    return StringTokens(encoded_strings(corpus, vocabularies, tokenizer, keep=keep))


def encoded_strings(
    corpus: Path, vocabularies: Mapping[str, Sequence[str]], tokenizer: Tokenizer, *, keep: bool = True
) -> dict[str, Ragged]:
    """Return the token ids of each table's strings in the order of its vocabulary; see :func:`corpus_tokens`."""
    path = cache_path(corpus, tokenizer)
    keys = {name: _fingerprint(strings) for name, strings in vocabularies.items()}
    cached = _read_cache(path) if path.exists() else {}
    missing = {keys[name]: strings for name, strings in vocabularies.items() if keys[name] not in cached}
    if missing:
        cached |= {key: tokenizer.encode(strings) for key, strings in missing.items()}
    if missing and keep:
        _try_to_keep(path, cached)
    return {name: cached[key] for name, key in keys.items()}


def cache_path(corpus: Path, tokenizer: Tokenizer) -> Path:
    """Return where the tokens of ``corpus`` for one tokenizer are kept."""
    return corpus.with_name(f"{corpus.stem}.tokens-{tokenizer.fingerprint[:12]}.h5")


def _read_cache(path: Path) -> dict[str, Ragged]:
    try:
        with hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY) as file:
            return {key: Ragged.read(file, key, remedy=REMEDY, flat="ids") for key in file}
    except DataError as error:
        logger.warning("The token cache is made again: %s", error)
        return {}


def _try_to_keep(path: Path, tables: Mapping[str, Ragged]) -> None:
    try:
        _write_cache(path, tables)
    except DataError as error:
        logger.info("Tokens are kept in memory only: %s", error)


def _write_cache(path: Path, tables: Mapping[str, Ragged]) -> None:
    with hdf5.atomic_file(path) as file:
        for key, table in tables.items():
            table.write(file, key, flat="ids")
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION


def _fingerprint(strings: Sequence[str]) -> str:
    text = "\0".join(strings)
    if text.count("\0") >= len(strings):  # a string that holds the separator: say where each one ends
        text = json.dumps([text, [len(own) for own in strings]])
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()
