"""Batches padded to few sizes: the same loss and gradients, and few shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from benchmarks.loops import experiment
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.stages import Parts, build_parts
from tabstar_lit.families.tabstar.batch import TableBatch, WindowPlace
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.replaying import Room, pieces_of
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin


@given(st.lists(st.integers(1, 300), min_size=1, max_size=400))
def test_there_is_room_for_all_strings_and_for_what_pads_them(lengths: list[int]) -> None:
    room = Room.of(sorted(lengths))
    more_strings, more_tokens = room.strings - len(lengths), room.tokens - sum(lengths)
    assert 1 <= more_strings <= more_tokens <= more_strings * room.longest
    assert max(lengths) <= room.longest < 2 * max(2, max(lengths))
    own = room.lengths()
    assert (len(own), sum(own), max(own)) == (room.strings, room.tokens, room.longest)
    assert min(own) >= 0


def test_sizes_are_two_to_an_octave() -> None:
    sizes = {Room.of((1,) * count).strings for count in range(1, 1000)}
    assert sizes == {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}


@pytest.fixture(scope="module", params=[0, 1, "all"], ids=lambda layers: f"unfreeze_layers={layers}")
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return a small network in double precision, its text as one stream, without dropout."""
    folder = tmp_path_factory.mktemp("replaying")
    chosen = [
        "model_config=tabstar/tiny",
        "model_config.architecture_config.dropout=0",
        f"model_config.architecture_config.text_encoder={{name: random, unfreeze_layers: {request.param}, dropout: 0}}",
        f"dataset_config={{corpus: {ensure_builtin(folder / 'builtin.h5')}}}",
    ]
    made = build_parts(family, *experiment(family, folder, "replaying", chosen), seed=0)
    made.module.double().train()
    network_of(made).text_encoder.layout = "ragged"
    return made


def network_of(parts: Parts) -> TabStarNetwork:
    return cast(TabStarNetwork, parts.module.network)


def batch_of(parts: Parts, table: str, first: int, rows: int = 6) -> TableBatch:
    data = cast(TabstarData, parts.data)
    batch = data.train_dataset()[RowBatch(data.names.index(table), torch.arange(first, first + rows).numpy())]
    return batch._each(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def losses_and_gradients(parts: Parts, batch: TableBatch) -> list[Tensor]:
    parts.module.zero_grad()
    loss = parts.module.compute(batch).loss
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in parts.module.parameters() if p.grad is not None)]


@pytest.mark.parametrize("table", ["wine", "diabetes", "iris"])
@pytest.mark.parametrize(
    "changed", [lambda batch: batch, lambda batch: replace(batch, weights=batch.numbers[:, 0] + 2)]
)
def test_padding_changes_neither_loss_nor_gradients(
    parts: Parts, table: str, changed: Callable[[TableBatch], TableBatch]
) -> None:
    batch = changed(batch_of(parts, table, 0))
    pieces = pieces_of(batch, network_of(parts))
    assert pieces is not None
    pairs = zip(
        losses_and_gradients(parts, pieces.rebuild(pieces.tensors)), losses_and_gradients(parts, batch), strict=True
    )
    assert max(float((own - expected).abs().max()) for own, expected in pairs) < 1e-10


def test_batches_of_a_table_share_few_shapes_and_those_of_two_tasks_none(parts: Parts) -> None:
    keys = {}
    for table in ("wine", "diabetes"):
        pieces = [pieces_of(batch_of(parts, table, first), network_of(parts)) for first in range(0, 60, 6)]
        keys[table] = {own.key for own in pieces if own is not None}
        assert 1 <= len(keys[table]) <= 4
    assert not keys["wine"] & keys["diabetes"]


def test_batches_of_a_window_are_left_as_they_are(parts: Parts) -> None:
    batch = replace(batch_of(parts, "wine", 0), window=WindowPlace(is_first=True, is_last=False))
    assert pieces_of(batch, network_of(parts)) is None


def test_what_a_replayed_step_says_is_of_its_own_batch(parts: Parts) -> None:
    batch = batch_of(parts, "wine", 0)
    pieces = pieces_of(batch, network_of(parts))
    assert pieces is not None
    own, padded = parts.module.compute(batch), parts.module.compute(pieces.rebuild(pieces.tensors))
    told = parts.module.replayed(padded, batch)
    assert (told.source, told.size, told.flops) == (own.source, own.size, own.flops)
