"""Rows of a table through a trained network: each string is encoded once, each chunk of rows on its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabstar_lit.arrays import Float32
from tabstar_lit.data import verbalize
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.deployment.chunks import Wanted
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.numbers import QUANTILES, SixNumbers, z_scores
from tabstar_lit.families.tabstar.offsets import OFFSET, offset_from
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded, Preprocessor
from tabstar_lit.families.tabstar.text_cache import GROUP_SIZE
from tabstar_lit.nn.text_encoder import TextEncoder

MAX_STRINGS = 100_000
"""Vectors of strings that are remembered from one chunk to the next."""

log = logging.getLogger(__name__)


class StringMemory:
    """Vectors of strings, each encoded once while there is room.

    Parameters
    ----------
    encoder : TextEncoder
        Frozen.
    tokenizer : JsonTokenizer
        What makes tokens of strings.
    """

    def __init__(self, encoder: TextEncoder, tokenizer: JsonTokenizer) -> None:
        self._encoder, self._tokenizer = encoder, tokenizer
        self._places: dict[str, int] = {}
        self._vectors: list[Tensor] = []

    def vectors(self, strings: Sequence[str]) -> Tensor:
        """Return the vectors of strings, ``[V, D]``."""
        if len(self._places) > MAX_STRINGS:
            self._places.clear()
            self._vectors.clear()
        new = [text for text in dict.fromkeys(strings) if text not in self._places]
        if new:
            self._places |= {text: len(self._places) + number for number, text in enumerate(new)}
            self._vectors = [torch.cat([*self._vectors, self._encoded(new)])]
        return self._vectors[0][[self._places[text] for text in strings]]

    def _encoded(self, strings: Sequence[str]) -> Tensor:
        """Encode strings in groups of like length."""
        tokens = StringTokens({"": self._tokenizer.encode(strings)})
        place = self._encoder.embeddings.word_embeddings.weight.device
        groups = []
        for first in range(0, len(tokens), GROUP_SIZE):
            token_ids, lengths = tokens.gather(np.arange(first, min(first + GROUP_SIZE, len(tokens))))
            groups.append(self._encoder(torch.from_numpy(token_ids).to(place), lengths).float())
        return torch.cat(groups)[torch.from_numpy(tokens.ranks("").astype(np.int64)).to(place)]


class TableServer:
    """One table's rows, encoded and computed.

    Parameters
    ----------
    network : TabStarNetwork
        In evaluation mode, its text encoder frozen, on the device that computes.
    tokenizer : JsonTokenizer
        Of its text encoder.
    name : str
        Of the table, for messages.
    schema : Mapping
        What is known of the table.

    Attributes
    ----------
    n_targets : int
        Target elements ``C``, which stand before the features.
    features : tuple of str
        The ``M`` features in the order of the elements.
    """

    def __init__(self, network: TabStarNetwork, tokenizer: JsonTokenizer, name: str, schema: Mapping[str, Any]) -> None:
        self.network, self.name, self.schema = network, name, schema
        self.memory = StringMemory(network.text_encoder, tokenizer)
        self.wanted = Wanted.of(schema)
        self._preprocessor = _in_use(schema)
        offset = schema["target"].get(OFFSET)
        self._offset = None if offset is None else offset_from(offset)
        self._six = SixNumbers(schema[QUANTILES]) if QUANTILES in schema else None
        self._heads = verbalize.target_texts(schema["target"]["text"], schema["target"]["classes"])
        self._told: set[str] = set()
        self.n_targets = len(self._heads)
        self.features = tuple(column.name for column in self._preprocessor.columns)

    def outputs(self, frame: pd.DataFrame, batch_size: int) -> Tensor:
        """Return what the network says of a chunk's rows: logits ``[N, C]``, or values ``[N]`` as learned."""
        with self.served(frame, batch_size) as batches:
            return torch.cat([self._read(self.network(batch).float(), batch) for batch in batches]).cpu()

    def _read(self, outputs: Tensor, batch: TableBatch) -> Tensor:
        """Return logits ``[B, C]``, or the values ``[B]`` that a regression head says, with their offsets."""
        if self.schema["target"]["classes"]:
            return outputs
        values = self.network.reg_head.values(outputs)
        return values if batch.offsets is None else values + batch.offsets

    @contextmanager
    def served(self, frame: pd.DataFrame, batch_size: int) -> Iterator[Iterator[TableBatch]]:
        """Yield the batches of a chunk's rows; the network knows the vectors of their strings meanwhile."""
        encoded = self._encoded(frame)
        offsets = None if self._offset is None else self._offset.of(encoded, self.features).astype(np.float32)
        encoded = self._with_numbers(encoded)
        with torch.inference_mode():
            vectors = self.memory.vectors(encoded.vocabulary)
            self.network.text_lookup = lambda strings: vectors[torch.from_numpy(strings).to(vectors.device)]
            try:
                yield self._batches(encoded, offsets, batch_size, vectors.device)
            finally:
                self.network.text_lookup = None

    def _encoded(self, frame: pd.DataFrame) -> Encoded:
        """Turn rows into string numbers and z-scores, as the corpus of the training was made."""
        warnings: list[str] = []
        self._tell_extra(frame)
        features = self.wanted.reader.read(frame[self.wanted.columns(frame.columns)], warnings)
        self._tell(warnings)
        return self._preprocessor.transform(features, first=self._heads)

    def _with_numbers(self, encoded: Encoded) -> Encoded:
        """Return rows with their numbers as the network is told them."""
        if self._six is None:
            return replace(encoded, numbers=z_scores(encoded.numbers))
        return self._six.apply(encoded, self.features, heads=self.n_targets)

    def _batches(
        self, encoded: Encoded, offsets: Float32 | None, batch_size: int, place: torch.device
    ) -> Iterator[TableBatch]:
        heads = np.arange(self.n_targets)
        for first in range(0, len(encoded.codes), batch_size):
            own = encoded.codes[first : first + batch_size]
            elements = np.concatenate([np.broadcast_to(heads, (len(own), len(heads))), own], axis=1)
            unique, index = np.unique(elements, return_inverse=True)
            numbers = np.zeros((*elements.shape, *encoded.numbers.shape[2:]), dtype=np.float32)
            numbers[:, self.n_targets :] = encoded.numbers[first : first + batch_size]
            yield TableBatch(
                source=self.name,
                task=self.schema["task"],
                string_ids=unique.astype(np.int64),
                lengths=(),
                token_ids=torch.empty(0, dtype=torch.int64),
                index=torch.from_numpy(index.reshape(elements.shape)),
                numbers=torch.from_numpy(numbers),
                targets=torch.zeros(len(own)),
                n_targets=self.n_targets,
                offsets=None if offsets is None else torch.from_numpy(offsets[first : first + batch_size]),
            ).to(place)

    def _tell_extra(self, frame: pd.DataFrame) -> None:
        reader, schema = self.wanted.reader, self.schema
        known = {schema["target"]["name"], *reader.left_out, *self.wanted.columns(frame.columns)}
        known |= {name for name in frame.columns if self.wanted.text(name) in schema["dropped"]}
        extra = [f"'{name}'" for name in frame.columns if name not in known and not name.startswith("Unnamed: ")]
        if extra:
            shown = ", ".join(extra[:5]) + (", …" if len(extra) > 5 else "")
            self._tell([f"columns that the training did not have are ignored: {shown}"])

    def _tell(self, lines: Sequence[str]) -> None:
        """Warn once, however many chunks have the same to say."""
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                log.warning("table '%s': %s", self.name, line)


def _in_use(schema: Mapping[str, Any]) -> Preprocessor:
    """Return the preparation of the features in use: a run may have kept some of a table's only."""
    whole = Preprocessor.from_schema(dict(schema))
    kept = set(schema["features"])
    dates = {
        name: parts
        for name, parts in whole.dates.items()
        if any(verbalize.column_text(f"{name}_{part}") in kept for part in parts)
    }
    return replace(whole, columns=tuple(column for column in whole.columns if column.name in kept), dates=dates)
