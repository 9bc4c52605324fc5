"""Tables as they are here, held against what the package ``tabstar`` has made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from benchmarks.golden.tabstar_inputs import cells_sketch, sketch
from benchmarks.golden.tabstar_v1 import answers
from numpy.typing import NDArray

from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.tables.corpus import Table


def assert_cells(texts: NDArray[Any], numbers: NDArray[np.floating[Any]], told: Mapping[str, Any]) -> None:
    """Compare texts and numbers ``[N, M]``, column by column."""
    seen = cells_sketch(texts, numbers)
    assert seen["texts"] == told["texts"]
    np.testing.assert_allclose(seen["numbers"], told["numbers"], rtol=1e-6, atol=1e-6)


def assert_table(table: Table) -> None:
    """Compare targets, and the cells of training and of validation rows."""
    told = answers()["tables"][table.name]
    vocabulary = np.array(table.vocabulary, dtype=object)
    assert vocabulary[table.target_codes].tolist() == told["targets"]
    own = table.targets if table.classes else z_scores(table.targets)
    for part, expected in zip((~table.is_validation, table.is_validation), told["parts"], strict=True):
        assert_cells(vocabulary[table.codes[part]], z_scores(table.numbers[part]), expected)
        np.testing.assert_allclose(sketch(own[part]), expected["y"], rtol=1e-6, atol=1e-5)
