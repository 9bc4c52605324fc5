"""However the tokens of strings are laid out, and whatever is remembered of them, their vectors are the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_encoder import LayerCopies, TextEncoder
from tabstar_lit.nn.text_layout import CPU_PACKING, GPU_PACKING, Packing, RaggedLayout, block_layouts
from tabstar_lit.nn.text_sources import load_text_encoder

STRINGS = [f"Predictive Feature: f{i % 7}\nFeature Value: {'long ' * (i % 5)}{i}" for i in range(60)]


def encoder_of(pooling: str = "cls", unfreeze: int | str = 2) -> TextEncoder:
    torch.manual_seed(1)
    sizes = RandomEncoder(layers=4, hidden_size=24, heads=3, ffn_hidden=40)
    config = TextEncoderConfig(name="random", pooling=pooling, unfreeze_layers=unfreeze, random=sizes, dropout=0.0)
    return load_text_encoder(config).double().train()


def tokens_of(encoder: TextEncoder, strings: list[str] = STRINGS) -> tuple[Tensor, list[int]]:
    table = JsonTokenizer(encoder.tokenizer, 200).encode(strings)
    return torch.from_numpy(table.flat.astype("int64")), table.lengths.tolist()


def vectors_and_gradients(encoder: TextEncoder, tokens: Tensor, lengths: list[int], **known: Tensor) -> list[Tensor]:
    encoder.zero_grad(set_to_none=True)
    vectors = encoder(tokens, lengths, **known)
    torch.manual_seed(2)
    (vectors * torch.randn_like(vectors)).sum().backward()
    return [vectors.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None)]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other) > 5
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("unfreeze", [2, 4, "all"])
def test_one_ragged_stream_equals_blocks(pooling: str, unfreeze: int | str) -> None:
    encoder = encoder_of(pooling, unfreeze)
    tokens, lengths = tokens_of(encoder)
    encoder.layout = "blocks"
    blocks = vectors_and_gradients(encoder, tokens, lengths)
    encoder.layout = "ragged"
    assert_same(vectors_and_gradients(encoder, tokens, lengths), blocks)


@pytest.mark.parametrize("layout", ["ragged", "blocks"])
def test_remembered_states_of_frozen_layers_change_nothing(layout: str) -> None:
    encoder = encoder_of()
    tokens, lengths = tokens_of(encoder, sorted(STRINGS, key=len))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    parts = tokens.split(lengths)
    tokens, lengths = torch.cat([parts[i] for i in order]), [lengths[i] for i in order]
    encoder.layout = layout  # type: ignore[assignment]  # one of the two
    plain = vectors_and_gradients(encoder, tokens, lengths)
    states = encoder.frozen_states(tokens, lengths)
    assert (states.shape, states.requires_grad) == ((sum(lengths), 24), False)
    assert_same(vectors_and_gradients(encoder, tokens, lengths, frozen=states), plain)


@pytest.mark.parametrize("packing", [CPU_PACKING, GPU_PACKING, Packing(20, 0.5)])
def test_layouts_give_back_what_they_were_given(packing: Packing) -> None:
    lengths = [1, 1, 2, 3, 3, 5, 9, 9]
    stream = torch.arange(sum(lengths)).view(-1, 1)
    firsts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
    parts = [(stream[own], layout) for own, layout in block_layouts(lengths, packing, torch.device("cpu"))]
    assert torch.equal(torch.cat([layout.stream(layout.spread(part)) for part, layout in parts]), stream)
    assert torch.equal(torch.cat([layout.first(layout.spread(part)) for part, layout in parts])[:, 0], firsts)
    ragged = RaggedLayout(torch.tensor([0, *lengths]).cumsum(0).int(), lengths)
    assert torch.equal(ragged.first(stream)[:, 0], firsts)
    means = torch.cat([layout.means(layout.spread(part.double())) for part, layout in parts])
    torch.testing.assert_close(means, ragged.means(stream.double()))


def test_copies_in_half_precision_are_made_once_and_again_when_weights_change() -> None:
    layer = torch.nn.Linear(3, 3)
    copies = LayerCopies()
    assert copies.of([layer], torch.float32)[0] is layer
    first = copies.of([layer], torch.bfloat16)[0]
    assert copies.of([layer], torch.bfloat16)[0] is first
    layer.load_state_dict(copy.deepcopy(torch.nn.Linear(3, 3).state_dict()))
    second = copies.of([layer], torch.bfloat16)[0]
    assert torch.equal(second.weight, layer.weight.bfloat16())
    assert not torch.equal(second.weight, first.weight)
