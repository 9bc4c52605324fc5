"""Blocks of events: an index_select equals looking the events up one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.families.hep.preparation.blocks import EventBlock, ObjectBlock, PaddedBlock, merge
from tabstar_lit.families.hep.preparation.preprocess import arrange

EVENT_TABLES = ("numerical", "categorical", "targets", "loss_weights", "event_weights", "spectators")
OBJECT_TABLES = ("numerical", "categorical", "momenta", "starts", "counts")


def make_objects(counts: list[int], slots: int, n_numbers: int, n_codes: int) -> ObjectBlock:
    kept = torch.tensor(counts).clamp(max=slots)
    total = int(kept.sum())
    generator = torch.Generator().manual_seed(total)
    tables = [
        torch.rand((total + 1, n_numbers), generator=generator),
        torch.randint(1, 9, (total + 1, n_codes), generator=generator),
        torch.rand((total + 1, 4), generator=generator),
    ]
    for table in tables:
        table[-1] = 0
    numerical, categorical, momenta = tables
    return ObjectBlock(numerical, categorical, momenta, starts=kept.cumsum(0) - kept, counts=kept, slots=slots)


def make_block(counts: list[int], slots: int = 3, first: int = 0) -> EventBlock:
    n = len(counts)
    return EventBlock(
        first=first,
        numerical=torch.rand(n, 2),
        categorical=torch.randint(0, 4, (n, 1)),
        targets=torch.randint(0, 2, (n,)),
        loss_weights=torch.rand(n),
        event_weights=torch.randn(n),
        spectators=torch.rand(n, 1),
        objects={"jets": make_objects(counts, slots, 2, 1)},
    )


def leaves(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    return [leaf for part in (batch.values() if isinstance(batch, dict) else batch) for leaf in leaves(part)]


def same(first: Any, second: Any) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(leaves(first), leaves(second), strict=True))


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    slots=st.integers(1, 5),
    n_numbers=st.integers(0, 2),
    n_codes=st.integers(0, 2),
    picks=st.lists(st.integers(0, 10**6), min_size=1, max_size=20),
)
def test_objects_of_events_in_any_order_are_padded(
    counts: list[int], slots: int, n_numbers: int, n_codes: int, picks: list[int]
) -> None:
    block = make_objects(counts, slots, n_numbers, n_codes)
    index = torch.tensor(picks) % len(counts)
    chosen = block.select(index)
    assert chosen.numerical.shape == (len(picks), slots, n_numbers)
    assert chosen.categorical.shape == (len(picks), slots, n_codes)
    for place, event in enumerate(index.tolist()):
        start, n = int(block.starts[event]), int(block.counts[event])
        assert chosen.mask[place].tolist() == [slot < n for slot in range(slots)]
        for table, source in zip(
            (chosen.numerical, chosen.categorical, chosen.momenta),
            (block.numerical, block.categorical, block.momenta),
            strict=True,
        ):
            assert torch.equal(table[place, :n], source[start : start + n])
            assert not table[place, n:].any()


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=9), picks=st.lists(st.integers(0, 99), min_size=1))
def test_padding_once_for_all_changes_no_batch(counts: list[int], picks: list[int]) -> None:
    block = make_block(counts, first=40)
    index = torch.tensor(picks) % len(counts)
    batch = block.select(index)
    assert same(block.padded().select(index), batch)
    assert torch.equal(batch.rows, index + 40)


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_merged_parts_are_the_batch_they_were_cut_from(cuts: list[int], seed: int) -> None:
    n = sum(cuts)
    block = make_block([3, 0, 1, 2] * n)
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(rng.integers(0, 4 * n, n))
    order = torch.from_numpy(rng.permutation(n))
    parts = [block.select(part) for part in index.split(cuts)]
    assert same(merge(parts, order), block.select(index[order]))


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=10),
    slots=st.integers(1, 6),
    keys=st.one_of(st.none(), st.integers(0, 99)),
)
def test_arranged_objects_are_the_highest_of_each_event_and_ties_keep_their_order(
    counts: list[int], slots: int, keys: int | None
) -> None:
    offsets = np.cumsum([0, *counts])
    rng = np.random.default_rng(keys)
    values = None if keys is None else rng.choice([1.0, 2.0, 3.0, np.nan], offsets[-1])
    rows, kept = arrange(offsets, values, slots)
    expected: list[int] = []
    for start, stop in pairwise(offsets):
        own = list(range(start, stop))
        if values is not None:
            own.sort(key=lambda row: np.inf if np.isnan(values[row]) else -values[row])
        expected += own[:slots]
    assert rows.tolist() == expected
    assert kept.tolist() == [min(count, slots) for count in counts]


def test_events_without_any_object_have_empty_masks() -> None:
    batch = make_block([0, 0]).select(torch.tensor([1, 0, 1]))
    jets = batch.features.objects["jets"]
    assert jets.mask.shape == (3, 3)
    assert not jets.mask.any()
    assert not jets.numerical.any()


def test_a_block_is_not_changed_by_what_is_done_to_its_batches() -> None:
    block = make_block([1, 2])
    before = block.numerical.clone()
    block.select(torch.tensor([0, 1])).features.numerical.zero_()
    assert torch.equal(block.numerical, before)


@pytest.mark.parametrize("index", [2, -3])
def test_events_outside_the_block_are_no_events(index: int) -> None:
    with pytest.raises(IndexError):
        make_block([1, 2]).select(torch.tensor([index]))


@pytest.mark.parametrize("padded", [False, True])
def test_a_block_moves_with_all_its_tensors_and_says_what_they_take(padded: bool) -> None:
    block = make_block([2, 0, 3])
    block = block.padded() if padded else block
    (jets,) = block.objects.values()
    tables = jets.objects if isinstance(jets, PaddedBlock) else [getattr(jets, name) for name in OBJECT_TABLES]
    tensors = [*(getattr(block, name) for name in EVENT_TABLES), *tables]
    assert block.nbytes == sum(tensor.nbytes for tensor in tensors)
    assert same(block.to(torch.device("cpu")).select(torch.tensor([2, 0])), block.select(torch.tensor([2, 0])))
    moved = block.to(torch.device("meta")).select(torch.tensor([2, 0], device="meta"))
    assert {leaf.device.type for leaf in leaves(moved)} == {"meta"}
