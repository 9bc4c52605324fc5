"""Rows of tokens: every pair of token and target once, nothing crosses documents, bytes add up."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from hand_made_texts import trees
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import ByteTokenizer
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch
from tabstar_lit.families.experts.text.datasets import Side, TokenBatches
from tabstar_lit.families.experts.text.rows import lay_out, spelled_before
from tabstar_lit.families.experts.text.sums import bin_width, row_sums
from tabstar_lit.families.experts.text.tokenizing import Framing

LAYOUTS: tuple[Literal["packed", "padded", "joined"], ...] = ("packed", "padded", "joined")
TEXTS = [*trees(40), "x" * 200, "ü" * 70]


def side_of(texts: list[str], layout: Literal["packed", "padded", "joined"], context_length: int = 64) -> Side:
    tokens = Framing(ByteTokenizer(begin=True)).encode(texts)
    n_bytes = np.array([len(text.encode()) for text in texts])
    return Side.of("forest", tokens, n_bytes, context_length=context_length, layout=layout)


def whole(side: Side, context_length: int | None = 64) -> TokenBatch:
    """Return all rows as one batch."""
    return TokenBatches([side], context_length)[RowBatch(0, side.rows.numbers)]


def pairs(batch: TokenBatch) -> list[tuple[int, int]]:
    """Return all pairs of token and target, sorted."""
    there = batch.targets != NO_TARGET
    return sorted(zip(batch.tokens[there].tolist(), batch.targets[there].tolist(), strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_token_is_predicted_once_from_the_one_before(layout: Literal["packed", "padded", "joined"]) -> None:
    side = side_of(TEXTS, layout)
    batch = whole(side)
    documents = [side.tokens[row].tolist() for row in range(len(TEXTS))]
    if layout == "joined":
        documents = [[token for document in documents for token in document]]
    assert pairs(batch) == sorted(pair for document in documents for pair in pairwise(document))
    assert batch.n_targets == int((batch.targets != NO_TARGET).sum())
    assert batch.source == "forest"
    assert int(batch.n_bytes.sum()) == sum(len(text.encode()) for text in TEXTS)


def test_packed_rows_tell_documents_apart_and_are_full() -> None:
    side = side_of(TEXTS, "packed")
    batch = whole(side)
    assert batch.documents is not None
    assert batch.n_targets / batch.tokens.numel() > 0.93
    begins = batch.tokens == 2
    for tokens, documents, positions in zip(batch.tokens, batch.documents, batch.positions, strict=True):
        padding = documents < 0
        assert torch.equal(padding, documents.cummin(0).values < 0)  # at the right only
        assert documents[~padding].diff().clamp(min=0).max() <= 1
        for number in documents[~padding].unique():
            own = documents == number
            assert positions[own].tolist() == list(range(int(own.sum())))
            assert not begins[0][0] or (tokens[own] == 2).sum() <= 1
    there = batch.documents >= 0
    assert torch.equal(there, batch.targets != NO_TARGET)
    assert not batch.tokens[~there].any()
    assert not batch.positions[~there].any()


def test_one_document_a_row_needs_no_numbers_and_no_more_room_than_the_longest() -> None:
    batch = whole(side_of(trees(12), "padded", 512), None)
    assert batch.documents is None
    assert batch.tokens.shape[1] == max(len(text) + 1 for text in trees(12))
    assert (batch.tokens[:, 0] == 2).all()


def test_rows_of_one_piece_each_need_no_numbers() -> None:
    assert whole(side_of(["x" * 70, "y" * 70], "packed", 71), 71).documents is None


def test_an_endless_text_is_cut_anywhere() -> None:
    side = side_of(TEXTS, "joined")
    batch = TokenBatches([side], 64)[RowBatch(0, np.array([5, 1]))]
    stream = torch.from_numpy(side.tokens.flat.astype(np.int64))
    assert torch.equal(batch.tokens, torch.stack([stream[5:69], stream[1:65]]))
    assert torch.equal(batch.targets, torch.stack([stream[6:70], stream[2:66]]))


def test_mixed_batches_hold_the_rows_of_each_domain_in_turn() -> None:
    sides = [side_of(trees(40), "packed", 150), side_of(trees(40, first=50), "packed", 150)]
    batches = TokenBatches(sides, 150)
    mixed = batches[(RowBatch(0, np.array([1, 0])), RowBatch(1, np.array([2])))]
    assert mixed.domains.tolist() == [0, 0, 1]
    assert mixed.source == "mixed"
    alone = [batches[RowBatch(0, np.array([1, 0]))], batches[RowBatch(1, np.array([2]))]]
    for name in ("tokens", "targets", "documents", "positions", "n_bytes"):
        assert torch.equal(getattr(mixed, name), torch.cat([getattr(batch, name) for batch in alone])), name
    assert mixed.n_targets == sum(batch.n_targets for batch in alone)


@settings(max_examples=60)
@given(lengths=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 30)), min_size=1, max_size=8))
def test_bytes_of_any_tokenizer_add_up_over_any_cut(lengths: list[tuple[int, int]]) -> None:
    tokens = Ragged.of([range(length) for length, _ in lengths], np.int32)
    n_bytes = np.array([own for _, own in lengths])
    spelled = spelled_before(tokens, n_bytes, np.arange(len(tokens.flat) + 1))
    assert spelled[0] == 0
    assert spelled[-1] == n_bytes.sum()
    assert (np.diff(spelled) >= 0).all()
    assert spelled[tokens.offsets].tolist() == [0, *np.cumsum(n_bytes).tolist()]


def test_sums_by_row_and_by_position() -> None:
    side = side_of(TEXTS, "packed")
    batch = whole(side)
    nats = torch.rand(batch.tokens.shape, generator=torch.Generator().manual_seed(0))
    sums = row_sums(nats.masked_fill(batch.targets == NO_TARGET, float("nan")), batch, 64)
    there = batch.targets != NO_TARGET
    assert float(sums["nats"].sum()) == pytest.approx(float(nats[there].double().sum()), rel=1e-12)
    assert sums["tokens"].tolist() == there.sum(1).tolist()
    assert sums["position_nats"].shape == (len(batch), 32)
    width = bin_width(64)
    for number in (0, 3, 31):
        own = there & (batch.positions // width == number)
        assert float(sums["position_nats"][:, number].sum()) == pytest.approx(float(nats[own].double().sum()))
        assert int(sums["position_tokens"][:, number].sum()) == int(own.sum())


def test_positions_of_short_and_odd_contexts_fit_their_bins() -> None:
    for context_length in (8, 33, 511, 512):
        side = side_of(["x" * 600], "packed", context_length)
        batch = whole(side, context_length)
        sums = row_sums(torch.ones(batch.tokens.shape), batch, context_length)
        assert sums["position_tokens"].shape[1] <= 32
        assert int(sums["position_tokens"].sum()) == batch.n_targets


def test_layouts_of_nothing_have_no_rows() -> None:
    for layout in LAYOUTS:
        assert len(lay_out(Ragged.of([], np.int32), 64, layout).numbers) == 0


def test_a_batch_moves_whole() -> None:
    batch = whole(side_of(TEXTS, "packed")).to("meta")
    assert {tensor.device.type for tensor in (batch.tokens, batch.documents, batch.n_bytes) if tensor is not None} == {
        "meta"
    }
    assert len(batch) == len(batch.tokens)
