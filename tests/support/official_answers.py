"""Tables as they are here, held against what the package ``tabstar`` has made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from benchmarks.golden.tabstar_inputs import cells_sketch, sketch
from benchmarks.golden.tabstar_v1 import answers
from numpy.typing import NDArray

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.families.tabstar.batch import TableBatch
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


def own_batch(strings: NDArray[np.str_], numbers: NDArray[np.float32], n_targets: int, tokenizer: str) -> TableBatch:
    """Return rows as our network takes them, of strings ``[B, S]`` as the package does."""
    unique, inverse = np.unique(strings, return_inverse=True)
    tokens = StringTokens({"t": JsonTokenizer(tokenizer, 512).encode(unique.tolist())})
    ranks = tokens.ranks("t")
    different = np.arange(ranks.max() + 1)  # two strings may have the same tokens
    token_ids, lengths = tokens.gather(different)
    return TableBatch(
        source="t",
        task="regression" if n_targets == 1 else "classification",
        string_ids=different,
        lengths=lengths,
        token_ids=torch.from_numpy(token_ids),
        index=torch.from_numpy(ranks[inverse].reshape(strings.shape).astype(np.int64)),
        numbers=torch.from_numpy(numbers),
        targets=torch.zeros(len(strings)),
        n_targets=n_targets,
    )
