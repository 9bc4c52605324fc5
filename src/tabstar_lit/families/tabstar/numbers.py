"""What the network is told of a number: its z-score, its bin being in the text (TabSTAR v1), or six numbers (v1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tabstar_lit.arrays import Float32, Float64
from tabstar_lit.data import verbalize
from tabstar_lit.data.scalers import ColumnScaler
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

Z_CLIP = 3.0
"""Numbers end at this many standard deviations."""

SHARE_CLIP = 5.0
"""Shares of the training rows' range end at this many ranges beyond it."""

FIRST_VERSION = 3
"""Of the converter, whose tables say which numbers are missing or far out."""

QUANTILES = "quantiles"
"""What a table's schema keeps for six numbers: quantiles of the training rows' z-scores, by column."""


def z_scores(numbers: Float32) -> Float32:
    """Return z-scores within [-3, 3], missing ones at 0, the mean."""
    return np.nan_to_num(np.clip(numbers, -Z_CLIP, Z_CLIP), nan=0.0)


@dataclass(frozen=True)
class SixNumbers:
    """A number as six: z-score, share of the range, quantile, whether it is far out, whether it is missing, and 1.

    As the package ``tabstar`` 1.2 has it in its v1.1, but for missing numbers: they stand at the mean of the training
    rows, not at that of the rows they are predicted with.

    Attributes
    ----------
    quantiles : Mapping
        Up to 1000 quantiles of the training rows' z-scores by column, the least first.
    """

    quantiles: Mapping[str, Sequence[float]]

    @classmethod
    def fit(cls, numbers: Float32, names: Sequence[str]) -> SixNumbers:
        """Learn from training rows ``[N, K]`` of the columns ``names``; NaN is missing."""
        return cls({name: _quantiles(column.astype(np.float64)) for name, column in zip(names, numbers.T, strict=True)})

    def apply(self, encoded: Encoded, names: Sequence[str], *, heads: int) -> Encoded:
        """Return rows whose numbers are told by six numbers ``[N, M, 6]``, and by the names of their columns.

        Parameters
        ----------
        encoded : Encoded
            Rows told by bins. The first ``heads`` strings, of the target elements, stay the first.
        names : sequence of str
            The ``M`` features, the numeric columns last.
        heads : int
            Target elements.
        """
        n_text = sum(name not in self.quantiles for name in names)
        count = len(encoded.codes)
        kept, codes = np.unique(np.append(np.arange(heads), encoded.codes[:, :n_text]), return_inverse=True)
        texts = [verbalize.numeric_text(name) for name in names[n_text:]]
        own = np.broadcast_to(len(kept) + np.arange(len(texts)), (count, len(texts)))
        numbers = np.zeros((*encoded.codes.shape, 6), dtype=np.float32)
        for place, name in enumerate(names[n_text:], start=n_text):
            numbers[:, place] = _six(encoded.numbers[:, place].astype(np.float64), self.quantiles[name])
        return replace(
            encoded,
            vocabulary=(*(encoded.vocabulary[code] for code in kept), *texts),
            codes=np.concatenate([codes[heads:].reshape(count, n_text), own], axis=1).astype(np.int32),
            numbers=numbers,
        )


def with_six_numbers(table: Table) -> Table:
    """Return a table of a corpus with its numbers told by six, fitted on its training rows.

    Raises
    ------
    DataError
        The corpus is of a release that did not keep what is missing or far out.
    """
    if table.schema.get("converter_version", 0) < FIRST_VERSION:
        raise DataError(
            f"table '{table.name}' was converted by an older release, which did not keep what 'numbers: six' needs. "
            "Make the corpus again with: tabstar_lit convert tables MANIFEST.yaml -o CORPUS.h5"
        )
    names = [column["name"] for column in table.schema["columns"] if column["kind"] == "number"]
    own = table.numbers[~table.is_validation, len(table.feature_names) - len(names) :]
    six = SixNumbers.fit(own, names)
    encoded = Encoded(table.vocabulary, table.codes, table.numbers)
    made = six.apply(encoded, table.feature_names, heads=len(table.target_codes))
    schema = table.schema | {QUANTILES: six.quantiles}
    return replace(table, vocabulary=made.vocabulary, codes=made.codes, numbers=made.numbers, schema=schema)


def _quantiles(column: Float64) -> list[float]:
    learned: Any = ColumnScaler("quantile").fit(column).to_plain()["learned"][0]["quantiles_"]
    return [float(value) for value in np.ravel(learned)]


def _six(column: Float64, quantiles: Sequence[float]) -> Float64:
    """Return the six numbers ``[N, 6]`` of z-scores ``[N]``."""
    low, high = quantiles[0], quantiles[-1]
    missing = np.isnan(column)
    known = np.where(missing, 0.0, column)
    share = np.clip((known - low) / ((high - low) or 1.0), -SHARE_CLIP, 1 + SHARE_CLIP)
    learned = {"quantiles_": np.array(quantiles)[:, None], "references_": np.linspace(0, 1, len(quantiles))}
    place = ColumnScaler.from_plain({"type": "quantile", "params": {}, "learned": [learned]}).transform(known)
    far = np.abs(known) > Z_CLIP
    return np.stack([np.clip(known, -Z_CLIP, Z_CLIP), share, place, far, missing, np.ones_like(known)], axis=1)
