"""What a decoder remembers: rows taken in any order, padding without a position, room that grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_decoders import SmallTransformer, SmallTranslator, lively

from tabstar_lit.nn.cache import DecoderCache, KeyValue, KeyValueCache

ROWS = [[2, 0, 1], [1, 1], [0, 0, 1, 1, 2, 2], [2]]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("reads_a_source", [False, True])
@torch.no_grad()
def test_rows_go_on_wherever_they_are_taken(rows: list[int], padded: bool, reads_a_source: bool) -> None:
    source, there = torch.randint(11, (3, 6)), torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    network: Any = lively(SmallTranslator() if reads_a_source else SmallTransformer()).double()
    context = (source, there) if reads_a_source else None
    tokens, taken = torch.randint(11, (3, 5)), torch.tensor(rows)
    mask = torch.arange(5) >= torch.tensor([0, 2, 3])[:, None] if padded else None
    expected = network(*(context or ()), tokens, mask)[taken]
    _, state = network.step(tokens[:, :3], network.start(context), None if mask is None else mask[:, :3])
    tokens, state = tokens[taken], state.select(taken)
    for place in (3, 4):
        logits, state = network.step(tokens[:, place : place + 1], state)
        torch.testing.assert_close(logits, expected[:, place], atol=1e-12, rtol=1e-12)
        order = torch.arange(len(rows)).flip(0)  # rows that change places read another source
        tokens, expected, state = tokens[order], expected[order], state.select(order)


@torch.no_grad()
def test_a_source_that_rows_keep_is_not_copied() -> None:
    source = KeyValue(*torch.randn(2, 2, 1, 3, 4))
    state = DecoderCache([], [source], torch.ones(2, 3, dtype=torch.bool)).select(torch.tensor([0, 0, 1, 1]))
    beams = state.select(torch.tensor([1, 0, 3, 3]))
    assert beams.sources[0] is state.sources[0]
    assert beams.source_mask is state.source_mask
    crossed = beams.select(torch.tensor([1, 2, 0, 3]))
    torch.testing.assert_close(crossed.sources[0].key, source.key[[0, 1, 0, 1]])


def test_room_grows_and_keeps_what_was_there() -> None:
    cache, seen = KeyValueCache(), torch.randn(2, 3, 2, 11, 4)
    first = 0
    for piece in (2, 1, 1, 4, 3):
        key, value = cache.extend(KeyValue(*seen[:, :, :, first : first + piece]))
        first += piece
        assert torch.equal(key, seen[0, :, :, :first])
        assert torch.equal(value, seen[1, :, :, :first])
    assert cache.length == 11
    assert KeyValueCache().select(torch.tensor([0])).length == 0


def test_padding_takes_no_position() -> None:
    state, tokens = DecoderCache([]), torch.zeros(2, 3, dtype=torch.long)
    positions, mask = state.admit(tokens, torch.tensor([[False, False, True], [True, True, True]]))
    assert positions.tolist() == [[0, 0, 0], [0, 1, 2]]
    assert mask is not None
    positions, mask = state.admit(tokens[:, :1])
    assert positions.tolist() == [[1], [3]]
    assert mask is not None
    assert mask.int().tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    plain = DecoderCache([])
    assert plain.admit(tokens)[0].tolist() == [0, 1, 2]
    positions, mask = plain.admit(tokens[:, :2])
    assert positions.tolist() == [3, 4]
    assert mask is None


def test_what_is_only_looked_at_leaves_no_trace() -> None:
    cache, seen = KeyValueCache(), torch.randn(2, 3, 2, 5, 4)
    with pytest.raises(ValueError, match="nothing has been seen"):
        cache.followed_by()
    cache.extend(KeyValue(*seen[:, :, :, :3]))
    for _ in range(2):
        key, value = cache.followed_by(KeyValue(*seen[:, :, :, 3:]))
        assert torch.equal(torch.stack([key, value]), seen)
    assert cache.length == 3
    assert torch.equal(torch.stack(cache.followed_by()), seen[:, :, :, :3])
