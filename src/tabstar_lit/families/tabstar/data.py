"""Batches of tables: tables are held as string numbers and z-scores, so a batch is a few array look-ups."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from tabstar_lit.arrays import Array, Float32, Int32, Int64
from tabstar_lit.data.plans import RowBatch, SequentialPlan, source_rng
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.engine.data import DataModule
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.batch import TableBatch, WindowPlace
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.numbers import with_six_numbers, z_scores
from tabstar_lit.families.tabstar.offsets import less_offsets
from tabstar_lit.families.tabstar.row_weights import weighted
from tabstar_lit.families.tabstar.table_plan import TablePlan, WindowRows
from tabstar_lit.families.tabstar.tables.corpora import Corpora, corpus_paths, select_tables
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.same_tokens import cut_texts, same_texts
from tabstar_lit.families.tabstar.targets import on_learned_scale

log = logging.getLogger(__name__)

MOST_SHUFFLED, LEAST_SHUFFLED = 30_000, 32
"""Rows that a network predicts to see which columns matter: columns times rows of all tables, and rows of a table."""


@dataclass(frozen=True)
class ServedTable:
    """One table as batches need it.

    Attributes
    ----------
    name, task : str
        As in the corpus.
    strings : NDArray of int32
        ``[N, M]`` string number of each cell within the table, by rising length.
    target_strings : NDArray of int32
        ``[C]`` string number of each target element.
    numbers : NDArray of float32
        ``[N, M]`` z-scores, or ``[N, M, 6]``.
    targets : NDArray
        ``[N]`` int64 class numbers, or float32 values on the scale that is learned, less their offsets.
    first_string : int
        Number of the table's first string in the corpus.
    weights : NDArray of float32 [N], or None
        How much each row counts.
    offsets : NDArray of float32 [N], or None
        What is added to predictions and targets of a regression.
    """

    name: str
    task: str
    strings: Int32
    target_strings: Int32
    numbers: Float32
    targets: Array
    first_string: int
    weights: Float32 | None = None
    offsets: Float32 | None = None


class TableBatches(Dataset[TableBatch]):
    """Turn the key of a batch into its tensors, with NumPy only.

    Parameters
    ----------
    tables : sequence of ServedTable
        Indexed by the ``source`` of a key.
    tokens : StringTokens
        Token ids of their strings.
    """

    def __init__(self, tables: Sequence[ServedTable], tokens: StringTokens) -> None:
        self._tables = tables
        self._tokens = tokens

    def __getitem__(self, key: RowBatch | WindowRows) -> TableBatch:
        """Return the batch of the rows that ``key`` names."""
        table = self._tables[key.source]
        n_rows, n_targets = len(key.rows), len(table.target_strings)
        cells = np.concatenate([table.target_strings, table.strings[key.rows].ravel()])
        unique, inverse = self._unique(table, key, cells)
        index = np.empty((n_rows, n_targets + table.strings.shape[1]), dtype=np.int64)
        index[:, :n_targets] = inverse[:n_targets]
        index[:, n_targets:] = inverse[n_targets:].reshape(n_rows, -1)
        numbers = np.zeros((*index.shape, *table.numbers.shape[2:]), dtype=np.float32)
        numbers[:, n_targets:] = table.numbers[key.rows]
        string_ids = unique.astype(np.int64) + table.first_string
        window = WindowPlace(key.is_first, key.is_last) if isinstance(key, WindowRows) else None
        encoded = string_ids if window is None or window.is_first else string_ids[:0]
        places, lengths = self._tokens.places(encoded), self._tokens.lengths_of(encoded)
        starts = np.zeros(len(lengths) + 1, dtype=np.int32)
        np.cumsum(lengths, out=starts[1:])
        return TableBatch(
            source=table.name,
            task=table.task,
            string_ids=string_ids,
            lengths=tuple(lengths.tolist()),
            token_ids=torch.from_numpy(self._tokens.ids_at(places)),
            starts=torch.from_numpy(starts),
            places=torch.from_numpy(places),
            n_pairs=int(np.square(lengths).sum()),
            index=torch.from_numpy(index),
            numbers=torch.from_numpy(numbers),
            targets=torch.from_numpy(table.targets[key.rows]),
            weights=None if table.weights is None else torch.from_numpy(table.weights[key.rows]),
            offsets=None if table.offsets is None else torch.from_numpy(table.offsets[key.rows]),
            n_targets=n_targets,
            window=window,
        )

    @staticmethod
    def _unique(table: ServedTable, key: RowBatch | WindowRows, cells: Int32) -> tuple[Int32, Int64]:
        """Return the unique strings of a batch, or of its window, and which of them each cell has."""
        if not isinstance(key, WindowRows):
            return np.unique(cells, return_inverse=True)
        unique = np.unique(np.concatenate([table.target_strings, table.strings[key.window].ravel()]))
        return unique, np.searchsorted(unique, cells)


class TabstarData(DataModule):
    """The tables of a corpus as training and validation batches.

    Parameters
    ----------
    config : TabstarDataset
        Which tables and how many rows.
    tokenizer : str
        Text of the text encoder's ``tokenizer.json``.
    max_tokens : int
        Longer strings are cut.
    seed : int
        Seed of the experiment: fixes rows, order and kept features.
    keep_tokens : bool, default True
        Write token ids that had to be computed to a cache beside the corpus.
    numbers : str, default "bins"
        How numbers are told, see ``architecture_config.numbers``.

    Attributes
    ----------
    names : tuple of str
        Tables in use.
    tokens : StringTokens
        Token ids of all their strings; what :class:`~tabstar_lit.families.tabstar.text_cache.TextCache`
        needs.
    schemas : dict
        For each table, what prediction on new rows needs, with the features in use under ``"features"``.

    Raises
    ------
    DataError
        The corpus cannot be read, a table that ``tables`` or ``exclude`` names is not in it, or texts of a table are
        the same tokens.
    """

    def __init__(
        self,
        config: TabstarDataset,
        *,
        tokenizer: str,
        max_tokens: int,
        seed: int,
        keep_tokens: bool = True,
        numbers: Literal["bins", "six"] = "bins",
    ) -> None:
        super().__init__(config.dataloader_kwargs.model_dump())
        self.config = config
        self.seed = seed
        corpora = Corpora.open(corpus_paths(config))
        self.names = select_tables(corpora, config)
        alone = len(self.names) == 1
        loaded = (weighted(corpora.load(name), config.class_weights, alone=alone) for name in self.names)
        prepared = [_prepared(table, config, numbers, seed) for table in loaded]
        tables, kept = [own.table for own in prepared], [own.features for own in prepared]
        reader = JsonTokenizer(tokenizer, max_tokens)
        self.tokens = corpora.tokens(tables, reader, keep=keep_tokens)
        self._check_texts(tables, kept, reader)
        self.schemas = {
            table.name: table.schema | {"features": [table.feature_names[i] for i in own]}
            for table, own in zip(tables, kept, strict=True)
        }
        served = [serve(table, features, self.tokens, offsets) for table, features, offsets in prepared]
        self._dataset = TableBatches(served, self.tokens)
        self._train_plan = TablePlan(
            self.names, [np.flatnonzero(~table.is_validation) for table in tables], config, seed
        )
        self._held_out = [self._val_rows(table) for table in tables]
        self._val_plan = SequentialPlan(self._held_out, config.batch_size)
        self._fingerprint = hashlib.sha256("\n".join([corpora.fingerprint, *self.names]).encode()).hexdigest()

    def train_plan(self) -> TablePlan:
        """Return the plan of the training batches."""
        return self._train_plan

    def val_plan(self) -> SequentialPlan:
        """Return the plan of the validation batches: every held-out row in use once."""
        return self._val_plan

    def train_dataset(self) -> TableBatches:
        """Return the dataset that serves training batches."""
        return self._dataset

    def val_dataset(self) -> TableBatches:
        """Return the dataset that serves validation batches."""
        return self._dataset

    def some_held_out(self) -> Iterator[TableBatch]:
        """Yield a batch of some held-out rows of each table, fewer the more columns there are in all."""
        columns = sum(len(schema["features"]) for schema in self.schemas.values())
        most = max(LEAST_SHUFFLED, MOST_SHUFFLED // max(1, columns))
        for source, rows in enumerate(self._held_out):
            if len(rows):
                chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)
                yield self._dataset[RowBatch(source, rows[chosen])]

    @property
    def fingerprint(self) -> str:
        """Hash of the corpus and of the tables in use."""
        return self._fingerprint

    def _check_texts(self, tables: Sequence[Table], kept: Sequence[Int64], tokenizer: JsonTokenizer) -> None:
        """Refuse, or tell of, texts that the encoder cannot tell apart."""
        problems, cuts = list[str](), list[str]()
        for table, own in zip(tables, kept, strict=True):
            features = [table.feature_names[i] for i in own]
            problems += same_texts(table, features, tokenizer)
            cuts += cut_texts(table, features, tokenizer)
        if problems and self.config.same_tokens == "error":
            raise DataError("\n".join([*problems, "With 'same_tokens: warn' the run goes on all the same."]))
        for line in (*problems, *cuts):
            log.warning("%s", line)

    def _val_rows(self, table: Table) -> Int64:
        rows = np.flatnonzero(table.is_validation)
        limit = self.config.val_rows_per_dataset
        if limit is None or len(rows) <= limit:
            return rows
        return np.sort(source_rng(self.seed, table.name).choice(rows, size=limit, replace=False))


def kept_features(table: Table, max_features: int | None, seed: int) -> Int64:
    """Return the columns of ``table`` in use, in order: a function of the seed and the table's name."""
    n_features = table.codes.shape[1]
    if max_features is None or n_features <= max_features:
        return np.arange(n_features)
    # A third number keeps this draw apart from those of rows.
    return np.sort(source_rng(seed, table.name, 0, 1).choice(n_features, size=max_features, replace=False))


class _Prepared(NamedTuple):
    """A table with its numbers and targets as they are learned, the features in use, and offsets ``[N]`` or None."""

    table: Table
    features: Int64
    offsets: Float32 | None


def _prepared(table: Table, config: TabstarDataset, numbers: Literal["bins", "six"], seed: int) -> _Prepared:
    features = kept_features(table, config.max_features, seed)
    offsets = None
    if not table.classes:
        table = on_learned_scale(table, config.target_transform)
        if config.target_offset is not None:
            table, offsets = less_offsets(table, features, config.target_offset)
    return _Prepared(with_six_numbers(table) if numbers == "six" else table, features, offsets)


def serve(table: Table, features: Int64, tokens: StringTokens, offsets: Float32 | None = None) -> ServedTable:
    """Return ``table`` with only ``features``, its strings numbered by rising length."""
    ranks = tokens.ranks(table.name)
    numbers = table.numbers[:, features]
    classification = table.task == "classification"
    return ServedTable(
        name=table.name,
        task=table.task,
        strings=ranks[table.codes[:, features]],
        target_strings=ranks[table.target_codes],
        numbers=np.ascontiguousarray(z_scores(numbers) if numbers.ndim == 2 else numbers),
        targets=table.targets.astype(np.int64 if classification else np.float32),
        first_string=tokens.first(table.name),
        weights=table.weights,
        offsets=offsets,
    )
