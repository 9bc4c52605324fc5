"""Rotations against complex multiplication and Llama, sinusoids against XLM, positions row by row."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings

from tabstar_lit.errors import DataError
from tabstar_lit.nn.positions import LearnedPositions, positions_in_documents, rotation, sinusoids


@pytest.mark.parametrize("base", [10_000.0, 500.0])
@pytest.mark.parametrize("offset", [0, 37])
def test_a_rotation_is_a_complex_multiplication(base: float, offset: int) -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    positions = torch.arange(offset, offset + 5)
    angles = positions[:, None].double() * base ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    expected = torch.view_as_complex(x.view(2, 3, 5, 4, 2)) * torch.polar(torch.ones_like(angles), angles)
    seen = rotation(positions, 8, base)(x)
    assert seen.dtype == torch.float64
    torch.testing.assert_close(seen, torch.view_as_real(expected).flatten(-2), atol=1e-5, rtol=0)


def test_a_rotation_is_llamas_up_to_the_order_of_the_entries() -> None:
    rotary = LlamaRotaryEmbedding(LlamaConfig(hidden_size=16, num_attention_heads=2, head_dim=8))
    x, positions = torch.randn(2, 2, 6, 8), torch.stack([torch.arange(6), torch.arange(6) + 11])
    even_first = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])  # theirs pairs i with i + 4, ours 2 i with 2 i + 1
    theirs, _ = apply_rotary_pos_emb(x[..., even_first], x[..., even_first], *rotary(x, positions))
    torch.testing.assert_close(rotation(positions, 8)(x)[..., even_first], theirs)


def test_scores_depend_on_distance_alone() -> None:
    query, key = torch.randn(2, 1, 1, 7, 8).unbind(0)
    here, there = rotation(torch.arange(7), 8), rotation(torch.arange(7) + 100, 8)
    torch.testing.assert_close(here(query) @ here(key).mT, there(query) @ there(key).mT, atol=1e-4, rtol=1e-4)


def test_half_precision_is_kept_and_turned_in_full() -> None:
    x, turned = torch.randn(1, 1, 400, 8).bfloat16(), rotation(torch.arange(400), 8)
    assert turned(x).dtype == torch.bfloat16
    torch.testing.assert_close(turned(x).float(), turned(x.float()), atol=1e-2, rtol=1e-2)


def test_sinusoids_are_xlms_and_take_any_time() -> None:
    theirs = nn.Parameter(torch.empty(20, 12), requires_grad=False)
    create_sinusoidal_embeddings(20, 12, theirs)
    torch.testing.assert_close(sinusoids(torch.arange(20), 12), theirs.data)
    assert sinusoids(torch.tensor([[0.5]]), 2).flatten().tolist() == pytest.approx([math.sin(0.5), math.cos(0.5)])


def test_learned_positions_are_added_and_run_out() -> None:
    located, tokens = LearnedPositions(5, 3), torch.randn(2, 4, 3)
    torch.testing.assert_close(located(tokens), tokens + located.table.weight[:4])
    places = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 4]])
    torch.testing.assert_close(located(tokens, places), tokens + located.table.weight[places])
    with pytest.raises(DataError, match="a sequence has 6 tokens, and the network learned 5 positions"):
        located(torch.randn(1, 6, 3))


def test_positions_begin_anew_with_each_document() -> None:
    documents = torch.tensor([[7, 7, 7, 2, 2, 9], [1, 1, 0, 0, 0, 0]])
    assert positions_in_documents(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 0, 1, 2, 3]]
