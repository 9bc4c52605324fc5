"""The store that FAISS searches finds what the exact one finds, and says what it needs."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any

import pytest
import torch
from experts_networks import VOCABULARY, architecture, small_network, token_batch

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.experts.architecture import ExpertsTraining
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.objectives import mixing
from tabstar_lit.families.experts.networks.vector_store import FaissStore, VectorStore


def stores(room: int, *added: tuple[int, list[int]]) -> tuple[VectorStore, FaissStore]:
    """Return both kinds with the same random vectors of these owners, added in turn."""
    both = VectorStore(room, 8), FaissStore(room, 8)
    for seed, owners in added:
        vectors = torch.randn(len(owners), 8, generator=torch.Generator().manual_seed(seed))
        for store in both:
            store.add(vectors, torch.tensor(owners))
    return both


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("asking", [None, [3, 40, 7]])
@pytest.mark.parametrize(
    "added",
    [
        [],
        [(0, [3])],
        [(0, [3, 3, 7])],
        [(0, list(range(9))), (1, [3, 7, 3])],
        [(0, list(range(9))), (1, [3] * 6)],
    ],
    ids=["empty", "one", "fewer than asked for", "full", "overwritten"],
)
def test_both_find_the_same(added: list[tuple[int, list[int]]], asking: list[int] | None, k: int) -> None:
    exact, other = stores(12, *added)
    queries = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(5))
    owners = None if asking is None else torch.tensor(asking)
    (expected, there), (found, found_there) = (store.nearest(queries, k, owners) for store in (exact, other))
    assert torch.equal(found_there, there)
    torch.testing.assert_close(found[there], expected[there])
    assert found.shape == expected.shape == (3, 4, min(k, 12), 8)


def test_a_mixture_searches_as_it_is_told_and_checkpoints_fit_both() -> None:
    exact, options = small_network("mixture with memory"), {"use_vector_store": True, "max_vectors": 20}
    other: Any = build("mixture", architecture(mixture={**options, "search": "faiss"}), VOCABULARY)
    assert isinstance(deepcopy(other).memory.store, FaissStore)
    other.load_state_dict(exact.state_dict())
    batch = token_batch()
    for training in (False, True):
        torch.manual_seed(0)
        expected = mixing(exact.train(training), batch, ExpertsTraining())
        torch.manual_seed(0)
        torch.testing.assert_close(mixing(other.train(training), batch, ExpertsTraining()).loss, expected.loss)


def test_a_machine_without_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"search: faiss needs FAISS: pip install 'tabstar_lit\[faiss\]'"):
        FaissStore(3, 8)
