"""A trained TabSTAR out of a checkpoint alone, for new rows of the tables it was trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import verbalize
from tabstar_lit.data.plans import RowBatch, cut
from tabstar_lit.data.scalers import ZScore
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.engine.trained import Trained, find_device, read_stored, stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.data import ServedTable, TableBatches
from tabstar_lit.families.tabstar.features import FeatureReader
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.preprocessing import Preprocessor
from tabstar_lit.families.tabstar.tables import read_table
from tabstar_lit.families.tabstar.text_cache import GROUP_SIZE
from tabstar_lit.nn.text_sources import from_payload

NEEDED = ("architecture_config", "encoder", "tables")
NEEDED_OF_A_TABLE = ("task", "target", "columns", "dates", "dropped", "features", "ignored", "parsed_dates")
BATCH_SIZE = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedTabstar(Trained):
    """A trained network, and what it knows of each of its tables: columns and how they are read, target, classes.

    Attributes
    ----------
    max_tokens : int
        Longer strings are cut, as in training.
    """

    network: TabStarNetwork
    max_tokens: int

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables it was trained on, which are those it predicts."""
        return tuple(self.config["tables"])

    def predict(
        self,
        data: pd.DataFrame | str | Path,
        *,
        table: str | None = None,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the predictions for new rows of a table.

        Parameters
        ----------
        data : DataFrame, str or Path
            Rows with the columns of the training, or a CSV or Parquet file of them. Further columns are ignored; the
            target may be missing.
        table : str, optional
            Which table of the training they are rows of; may be left out where there was one.
        batch_size : int
            Rows in a batch.
        device : str
            Where the network runs, and stays; ``auto`` is a GPU if there is one.

        Returns
        -------
        DataFrame
            Under the index of the rows: ``prediction``, a class or a number in the target's own unit, and for classes
            their probabilities ``p_<class>``.

        Raises
        ------
        DataError
            The table is unknown, has no rows, lacks a column, or holds numbers that cannot be scaled.
        CheckpointError
            The checkpoint keeps too little of the table.
        """
        name, schema = self._table(table)
        frame = (
            data
            if isinstance(data, pd.DataFrame)
            else read_table(Path(data), FeatureReader.from_schema(schema).reading).frame
        )
        if not len(frame):
            raise DataError(f"table '{name}': there are no rows to predict.")
        with torch.inference_mode():
            outputs = torch.cat(list(self._outputs(name, schema, frame, batch_size, device)))
        return _predictions(outputs.double(), schema["target"], frame.index)

    def _table(self, name: str | None) -> tuple[str, dict[str, Any]]:
        """Return a table and what is known of it."""
        known = ", ".join(self.tables)
        if name is None and len(self.tables) > 1:
            raise DataError(f"{self.path} was trained on several tables: say which of {known} the rows are of.")
        name = name or self.tables[0]
        if name not in self.tables:
            raise DataError(
                f"{self.path} was not trained on a table '{name}', so it cannot predict it."
                f"{suggestion(name, self.tables)} It knows {known}; another table must be trained on first."
            )
        schema: dict[str, Any] = self.config["tables"][name]
        missing = [key for key in NEEDED_OF_A_TABLE if key not in schema]
        if missing:
            raise CheckpointError(
                f"{self.path} keeps no '{missing[0]}' of the table '{name}', so it cannot predict it: it is of an "
                "older release. Train again with this release."
            )
        return name, schema

    def _outputs(
        self, name: str, schema: dict[str, Any], frame: pd.DataFrame, batch_size: int, device: str
    ) -> Iterator[Tensor]:
        """Yield what the network gives for the rows of each batch, ``[B, C]``."""
        rows, tokens = self._encoded(name, schema, frame)
        place = find_device(device)
        network = self.network.to(place)
        vectors = _string_vectors(network, tokens, place)
        network.text_lookup = lambda strings: vectors[torch.from_numpy(strings).to(place)]
        try:
            batches = TableBatches([rows], tokens)
            for part in cut(np.arange(len(frame)), batch_size):
                yield network(batches[RowBatch(0, part)].to(place)).float().cpu()
        finally:
            network.text_lookup = None

    def _encoded(self, name: str, schema: dict[str, Any], frame: pd.DataFrame) -> tuple[ServedTable, StringTokens]:
        """Turn rows into string numbers and z-scores, as the corpus of the training was made."""
        target, warnings = schema["target"], list[str]()
        features = FeatureReader.from_schema(schema).read(frame.drop(columns=target["name"], errors="ignore"), warnings)
        for line in warnings:
            log.warning("table '%s': %s", name, line)
        heads = verbalize.target_texts(target["text"], target["classes"])
        encoded = _preprocessor(schema).transform(features, first=heads)
        tokenizer = JsonTokenizer(str(self.config["encoder"]["tokenizer"]), self.max_tokens)
        tokens = StringTokens({name: tokenizer.encode(encoded.vocabulary)})
        ranks = tokens.ranks(name)
        rows = ServedTable(
            name=name,
            task=schema["task"],
            strings=ranks[encoded.codes],
            target_strings=ranks[: len(heads)],
            numbers=encoded.numbers,
            targets=np.zeros(len(frame), dtype=np.int64),
            first_string=0,
        )
        return rows, tokens


def restore(path: Path) -> TrainedTabstar:
    """Rebuild network, tokenizer and tables.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_tabstar``.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="tabstar", needed=NEEDED)
    architecture: TabstarArchitecture = stored_architecture(TabstarArchitecture, config["architecture_config"], path)
    encoder = from_payload(config["encoder"], architecture.text_encoder)
    network = TabStarNetwork(architecture, encoder)
    load_strict(network, weights, strict=True, source=str(path))
    encoder.requires_grad_(False)  # a string's vector is now a constant, whatever was trained
    return TrainedTabstar(path, network.eval(), config, architecture.text_encoder.max_tokens)


def _preprocessor(schema: dict[str, Any]) -> Preprocessor:
    """Return the preparation of the features in use: a run may have kept some of a table's only."""
    whole = Preprocessor.from_schema(schema)
    kept = set(schema["features"])
    dates = {
        name: parts
        for name, parts in whole.dates.items()
        if any(verbalize.column_text(f"{name}_{part}") in kept for part in parts)
    }
    return replace(whole, columns=tuple(column for column in whole.columns if column.name in kept), dates=dates)


def _string_vectors(network: TabStarNetwork, tokens: StringTokens, place: torch.device) -> Tensor:
    """Encode every string once, in the groups that training encodes: ``[V, D]``."""
    vectors = []
    for first in range(0, len(tokens), GROUP_SIZE):
        token_ids, lengths = tokens.gather(np.arange(first, min(first + GROUP_SIZE, len(tokens))))
        vectors.append(network.text_encoder(torch.from_numpy(token_ids).to(place), lengths).float())
    return torch.cat(vectors)


def _predictions(outputs: Tensor, target: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    """Make what the network gave, ``[N, C]``, classes with probabilities, or numbers in the target's unit."""
    if not target["classes"]:
        scale = ZScore(target["mean"], target["std"])
        return pd.DataFrame({"prediction": outputs.squeeze(1).numpy() * scale.std + scale.mean}, index=index)
    probabilities = outputs.softmax(dim=1).numpy()
    classes = np.array(target["classes"], dtype=object)
    columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(classes)}
    return pd.DataFrame({"prediction": classes[probabilities.argmax(axis=1)], **columns}, index=index)
