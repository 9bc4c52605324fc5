"""Gradient boosted trees of a regression target, on numbers and common texts, kept as plain arrays of their nodes.

They are fitted by scikit-learn's histogram boosting (Ke et al., LightGBM, 2017) and read without it.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from tabstar_lit.arrays import Array, Bool, Float32, Float64, Int64
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.offsets.cells import common, encoded_rows, evenly, key, texts_and_numbers
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.families.tabstar.tables.preprocessing import Encoded

MOST_TREES, STAGE = 500, 10
"""Trees that are grown, and by how many their number differs among those to choose from."""

SETTINGS = {"learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 20, "l2_regularization": 1.0}
"""Of the boosting."""

MOST_TEXTS = 255
"""Texts of a column that trees tell apart: the most common, by their place in the alphabet."""

MOST_ROWS = 200_000
"""Rows that are fitted to: evenly chosen where there are more."""

MOST_BYTES = 1 << 22
"""Of an array of nodes, which those of all trees together do not come near."""

AT_ONCE = 1 << 20
"""Rows times trees that are walked through together."""


class Nodes(NamedTuple):
    """Nodes of ``T`` trees, tree after tree; a step at a leaf leads to itself.

    Attributes
    ----------
    roots : NDArray of int32
        ``[T]`` where each tree begins.
    feature : NDArray of int32
        ``[K]`` the column that is asked.
    threshold : NDArray of float32
        ``[K]`` up to which cells go left.
    missing_left : NDArray of bool
        ``[K]`` whether missing cells do.
    left, right : NDArray of int32
        ``[K]`` steps to the next node.
    value : NDArray of float32
        ``[K]`` what a leaf adds.
    """

    roots: Array
    feature: Array
    threshold: Float32
    missing_left: Bool
    left: Array
    right: Array
    value: Float32

    @classmethod
    def of(cls, trees: Sequence[Any]) -> Nodes:
        """Take trees of scikit-learn's histogram boosting apart, node by node."""
        if not trees:
            return cls(*(np.empty(0, dtype=own) for own in TYPES.values()))
        nodes = np.concatenate(trees)
        roots = np.cumsum([0, *map(len, trees[:-1])])
        place = np.arange(len(nodes)) - np.repeat(roots, [len(tree) for tree in trees])
        is_leaf = nodes["is_leaf"].astype(bool)
        inner = np.where(is_leaf, 0, nodes["feature_idx"])
        left, right = (np.where(is_leaf, 0, nodes[side].astype(np.int64) - place) for side in ("left", "right"))
        thresholds = np.where(is_leaf, 0, nodes["num_threshold"])
        own = (roots, inner, _rounded_down(thresholds), nodes["missing_go_to_left"], left, right, nodes["value"])
        return cls(*(array.astype(kind) for array, kind in zip(own, TYPES.values(), strict=True)))

    def first(self, count: int) -> Nodes:
        """Return the first ``count`` trees."""
        end = self.roots[count] if count < len(self.roots) else len(self.feature)
        return Nodes._make([self.roots[:count], *(array[:end] for array in self[1:])])

    def values(self, cells: Float32) -> Float64:
        """Return ``[N, T]`` what each tree says of rows ``[N, C]``; NaN is missing."""
        node = np.tile(self.roots.astype(np.int64), (len(cells), 1))
        rows = np.arange(len(cells))[:, None]
        while True:
            asked = cells[rows, self.feature[node]]
            is_left = np.where(np.isnan(asked), self.missing_left[node], asked <= self.threshold[node])
            steps = np.where(is_left, self.left[node], self.right[node])
            if not steps.any():
                return self.value[node].astype(np.float64)
            node += steps

    def to_plain(self) -> dict[str, str]:
        """Return compressed bytes of the arrays, as text."""
        return {name: _packed(array) for name, array in self._asdict().items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, str]) -> Nodes:
        """Rebuild them from :meth:`to_plain`.

        Raises
        ------
        CheckpointError
            These are no trees: arrays do not fit each other, or a step would lead back or out of them.
        """
        try:
            own = cls(**{name: _unpacked(plain[name], kind) for name, kind in TYPES.items()})
        except (KeyError, ValueError, zlib.error) as error:
            raise CheckpointError(f"The trees that predictions start from cannot be read: {error}") from error
        own._require_trees()
        return own

    def _require_trees(self) -> None:
        """Refuse what a walk through would not come to an end of, or leave."""
        _, *of_nodes = self
        count, fits = len(self.feature), len({len(array) for array in of_nodes}) == 1
        if fits and count:
            places, steps = np.arange(count), np.stack([self.left, self.right])
            inside = (steps >= 0) & (steps < count - places)
            fits = bool(inside.all() and (self.roots >= 0).all() and (self.roots < count).all())
        if not fits or (self.feature < 0).any():
            raise CheckpointError("The trees that predictions start from are none: steps lead out of them.")


TYPES = {
    "roots": "<i4", "feature": "<i4", "threshold": "<f4", "missing_left": "|b1", "left": "<i4", "right": "<i4",
    "value": "<f4",
}  # fmt: skip
"""Of the arrays of nodes, on whatever machine."""


@dataclass(frozen=True)
class TreesOffset:
    """A sum over trees, on the scale on which targets are learned.

    Attributes
    ----------
    start : float
        Where the sum begins.
    columns : sequence of str
        The ``C`` columns that trees ask.
    texts : Mapping
        The common texts of each column of text, in the order of the alphabet, by a hash from which they cannot be
        read. All others are missing to a tree.
    nodes : Nodes
        The trees.
    """

    start: float
    columns: Sequence[str]
    texts: Mapping[str, Sequence[str]]
    nodes: Nodes

    @classmethod
    def fit(cls, table: Table, features: Int64, rows: Int64) -> TreesOffset:
        """Fit rows of a regression table.

        Parameters
        ----------
        table : Table
            Its numbers are z-scores, its targets on the scale that is learned.
        features, rows : NDArray of int64
            The columns in use, and the rows that are seen.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor

        rows = evenly(rows, MOST_ROWS)
        text_places, number_places = texts_and_numbers(table, features)
        names, texts = table.feature_names, dict[str, list[str]]()
        for place in text_places:
            words = sorted(table.vocabulary[code] for code in common(table.codes[rows, place], MOST_TEXTS))
            texts |= {names[place]: list(map(key, words))} if words else {}
        known = [place for place in number_places if not np.isnan(table.numbers[rows, place]).all()]
        columns = [*texts, *(names[place] for place in known)]
        targets = table.targets[rows].astype(np.float64)
        weights = None if table.weights is None else table.weights[rows].astype(np.float64)
        bare = cls(float(np.average(targets, weights=weights)), columns, texts, Nodes.of([]))
        if not columns:
            return bare
        cells = bare.cells(encoded_rows(table, rows, features), [names[place] for place in features])
        model = HistGradientBoostingRegressor(max_iter=MOST_TREES, early_stopping=False, random_state=0, **SETTINGS)
        model.fit(cells, targets, sample_weight=weights)
        # scikit-learn has no public name for the nodes of these trees; a test holds our walk to its predictions.
        trees = [tree.nodes for (tree,) in model._predictors]
        return replace(bare, start=float(np.squeeze(model._baseline_prediction)), nodes=Nodes.of(trees))

    def cells(self, encoded: Encoded, names: Sequence[str]) -> Float32:
        """Return ``[N, C]`` the cells that trees ask: z-scores, and places of texts; NaN is missing or not known."""
        found = np.empty((len(encoded.codes), len(self.columns)), dtype=np.float32)
        places = {name: place for place, name in enumerate(names)}
        of_text = {text: place for own in self.texts.values() for place, text in enumerate(own)}
        of_code = np.array([of_text.get(key(text), np.nan) for text in encoded.vocabulary], dtype=np.float32)
        for column, name in enumerate(self.columns):
            own = places[name]
            found[:, column] = of_code[encoded.codes[:, own]] if name in self.texts else encoded.numbers[:, own]
        return found

    def stages(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return ``[S, N]`` the sums over the first 0, 10, 20, ... trees."""
        cells, count = self.cells(encoded, names), len(self.nodes.roots) // STAGE
        sums = np.full((count + 1, len(cells)), self.start)
        for rows in self._chunks(len(cells)):
            values = self.nodes.values(cells[rows])[:, : count * STAGE] if count else np.empty((0, 0))
            sums[1:, rows] += values.reshape(-1, count, STAGE).sum(axis=2).cumsum(axis=1).T if count else 0
        return sums

    def of(self, encoded: Encoded, names: Sequence[str]) -> Float64:
        """Return the sums of rows ``[N]`` whose ``M`` features are called ``names``, with numbers as z-scores."""
        cells = self.cells(encoded, names)
        total = np.full(len(cells), self.start)
        for rows in self._chunks(len(cells)):
            total[rows] += self.nodes.values(cells[rows]).sum(axis=1)
        return total

    def shrunk(self, stage: int, slope: float, center: float) -> Self:
        """Return the model of the first trees, up to a stage, whose sums are ``slope`` times as far from ``center``."""
        nodes = self.nodes.first(stage * STAGE)
        nodes = nodes._replace(value=(slope * nodes.value).astype(np.float32))
        return replace(self, start=center + slope * (self.start - center), nodes=nodes)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        texts = {name: list(own) for name, own in self.texts.items()}
        return {"start": self.start, "columns": list(self.columns), "texts": texts, "nodes": self.nodes.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TreesOffset:
        """Rebuild it from the data of :meth:`to_plain`; raises what :meth:`Nodes.from_plain` does."""
        nodes = Nodes.from_plain(plain["nodes"])
        if len(nodes.feature) and nodes.feature.max() >= len(plain["columns"]):
            raise CheckpointError("The trees that predictions start from ask columns that are not there.")
        return cls(**{**plain, "nodes": nodes})

    def _chunks(self, count: int) -> list[slice]:
        if not len(self.nodes.roots):
            return []
        size = max(1, AT_ONCE // len(self.nodes.roots))
        return [slice(first, first + size) for first in range(0, count, size)]


def _rounded_down(thresholds: Float64) -> Float32:
    """Return thresholds that every cell of single precision passes as it does the given ones."""
    single = thresholds.astype(np.float32)
    return np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)


def _packed(array: Array) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


def _unpacked(text: str, kind: str) -> Array:
    stream = zlib.decompressobj()
    own = stream.decompress(base64.b64decode(text, validate=True), MOST_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"an array of more than {MOST_BYTES} bytes")
    return np.frombuffer(own, dtype=kind)
