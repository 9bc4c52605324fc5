"""A trained TabSTAR out of a checkpoint or a folder alone: predictions, vectors and explanations of rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.engine.trained import Trained, find_device, stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.deployment.chunks import Wanted, file_chunks, frame_chunks
from tabstar_lit.families.tabstar.deployment.embedding import Vectors, embed
from tabstar_lit.families.tabstar.deployment.explaining import Importance, Method, explain
from tabstar_lit.families.tabstar.deployment.serving import TableServer
from tabstar_lit.families.tabstar.deployment.stored import stored_model
from tabstar_lit.families.tabstar.deployment.unseen import described
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.files import read_table
from tabstar_lit.families.tabstar.targets import TargetScale
from tabstar_lit.nn.text_sources import from_payload

NEEDED_OF_A_TABLE = ("task", "target", "columns", "dates", "dropped", "features", "ignored", "parsed_dates")
BATCH_SIZE = 256

Task = Literal["classification", "regression"]


class Asked(NamedTuple):
    """Rows of a table, and what computes them."""

    server: TableServer
    chunks: Iterator[pd.DataFrame]


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
        """Names of the tables it was trained on; it predicts others by their description only."""
        return tuple(self.config["tables"])

    def predict(
        self,
        data: pd.DataFrame | str | Path,
        *,
        table: str | None = None,
        target: str | None = None,
        task: Task | None = None,
        classes: Sequence[str] = (),
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the predictions for new rows of a table.

        Parameters
        ----------
        data : DataFrame, str or Path
            Rows with the columns of the training, or a CSV, TSV or Parquet file of them. Further columns are ignored
            with a warning; the target may be missing.
        table : str, optional
            Which table of the training they are rows of; may be left out where there was one.
        target : str, optional
            What to predict of a table that was not trained on, see
            :func:`tabstar_lit.families.tabstar.deployment.unseen.described`.
        task : str, optional
            ``classification`` or ``regression`` of such a table; classes say the former.
        classes : sequence of str
            Of such a table.
        batch_size : int
            Rows in a batch; predictions do not depend on it.
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
        asked = self.ask(data, table, target=target, task=task, classes=classes, device=device)
        return pd.concat(self.predicted(asked, batch_size))

    def predicted(self, asked: Asked, batch_size: int = BATCH_SIZE) -> Iterator[pd.DataFrame]:
        """Yield the predictions of each chunk of rows, see :meth:`predict`; one at least.

        Raises
        ------
        DataError
            There are no rows.
        """
        chunk = None
        for chunk in asked.chunks:
            outputs = asked.server.outputs(chunk, batch_size)
            yield _predictions(outputs.double(), asked.server.schema["target"], chunk.index)
        if chunk is None:
            raise DataError(f"table '{asked.server.name}': there are no rows to predict.")

    def embed(
        self,
        data: pd.DataFrame | str | Path,
        *,
        cells: bool = False,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
        **about: Any,
    ) -> Vectors:
        """Return the vectors of rows, ``[N, D]``, and on demand of their cells, ``[N, M, D]``.

        ``about`` says of which table they are: ``table``, or ``target``, ``task`` and ``classes``, see :meth:`predict`.

        Raises
        ------
        DataError
            As for :meth:`predict`.
        """
        server, chunks = self.ask(data, device=device, **about)
        parts = [embed(server, chunk, cells=cells, batch_size=batch_size) for chunk in chunks]
        if not parts:
            raise DataError(f"table '{server.name}': there are no rows.")
        rows = np.concatenate([part.rows for part in parts])
        return Vectors(rows, np.concatenate([part.cells for part in parts]) if cells else None)

    def explain(
        self,
        data: pd.DataFrame | str | Path,
        *,
        method: Method = "rollout",
        batch_size: int = 64,
        device: str = "auto",
        **about: Any,
    ) -> Importance:
        """Return which columns the predictions look at, overall and for each row, see :mod:`..deployment.explaining`.

        ``about`` says of which table they are: ``table``, or ``target``, ``task`` and ``classes``, see :meth:`predict`.

        Raises
        ------
        DataError
            As for :meth:`predict`.
        """
        server, chunks = self.ask(data, device=device, **about)
        return explain(server, chunks, method=method, batch_size=batch_size)

    def ask(
        self,
        data: pd.DataFrame | str | Path,
        table: str | None = None,
        *,
        target: str | None = None,
        task: Task | None = None,
        classes: Sequence[str] = (),
        device: str = "auto",
    ) -> Asked:
        """Return rows, a chunk at a time, and what computes them; the parameters are those of :meth:`predict`."""
        if target is None:
            if task or classes:
                raise DataError("task and classes describe a table that was not trained on: give its target too.")
            name, schema = self._table(table)
        else:
            if isinstance(data, str | Path):
                data = read_table(Path(data)).frame
            rows = next(frame_chunks(data, len(data) or 1))
            six = self.config["architecture_config"].get("numbers") == "six"
            name, schema = table or "unseen", described(rows, target, task, classes, six_numbers=six)
        chunks = frame_chunks(data) if isinstance(data, pd.DataFrame) else file_chunks(Path(data), Wanted.of(schema))
        network = self.network.to(find_device(device))
        tokenizer = JsonTokenizer(str(self.config["encoder"]["tokenizer"]), self.max_tokens)
        return Asked(TableServer(network, tokenizer, name, schema), chunks)

    def _table(self, name: str | None) -> tuple[str, dict[str, Any]]:
        """Return a table and what is known of it."""
        known = ", ".join(self.tables)
        described_words = "Another table must be trained on first, or described by its target, task and classes."
        if not self.tables:
            raise DataError(f"{self.path} knows no table. {described_words}")
        if name is None and len(self.tables) > 1:
            raise DataError(f"{self.path} was trained on several tables: say which of {known} the rows are of.")
        name = name or self.tables[0]
        if name not in self.tables:
            raise DataError(
                f"{self.path} was not trained on a table '{name}', so it cannot predict it."
                f"{suggestion(name, self.tables)} It knows {known}. {described_words}"
            )
        schema: dict[str, Any] = self.config["tables"][name]
        missing = [key for key in NEEDED_OF_A_TABLE if key not in schema]
        if missing:
            raise CheckpointError(
                f"{self.path} keeps no '{missing[0]}' of the table '{name}', so it cannot predict it: it is of an "
                "older release. Train again with this release."
            )
        return name, schema


def restore(path: Path) -> TrainedTabstar:
    """Rebuild network, tokenizer and tables; adapters become part of the weights.

    Parameters
    ----------
    path : Path
        As for :func:`~tabstar_lit.families.tabstar.deployment.stored.stored_model`.

    Raises
    ------
    CheckpointError
        It cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = stored_model(path)
    architecture: TabstarArchitecture = stored_architecture(TabstarArchitecture, config["architecture_config"], path)
    encoder = from_payload(config["encoder"], architecture.text_encoder)
    network = TabStarNetwork(architecture, encoder)
    load_strict(network, weights, strict=True, source=str(path))
    encoder.requires_grad_(False)  # a string's vector is now a constant, whatever was trained
    whole = {key: value for key, value in config.items() if key not in ("lora", "base")}
    return TrainedTabstar(path, network.eval(), whole, architecture.text_encoder.max_tokens)


def _predictions(outputs: Tensor, target: dict[str, Any], index: pd.Index) -> pd.DataFrame:
    """Make logits ``[N, C]`` classes with probabilities, or learned values ``[N]`` numbers in the target's unit."""
    if not target["classes"]:
        return pd.DataFrame({"prediction": TargetScale.from_schema(target).values(outputs.numpy())}, index=index)
    probabilities = outputs.softmax(dim=1).numpy()
    classes = np.array(target["classes"], dtype=object)
    columns = {f"p_{name}": probabilities[:, i] for i, name in enumerate(classes)}
    return pd.DataFrame({"prediction": classes[probabilities.argmax(axis=1)], **columns}, index=index)
