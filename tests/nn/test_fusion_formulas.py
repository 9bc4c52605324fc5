"""Modes of fusion against their formulas, with which of the two stands first and which a share leads to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.fusion import EmbeddingFusion, OutputFusion, fusion_problems

WIDTH = 6


def event_and_objects() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    return torch.randn(2, WIDTH, generator=random), torch.randn(2, 3, WIDTH, generator=random), mask


def fixed_share(fusion: nn.Module, logit: float) -> None:
    share = fusion.get_parameter("share")
    share.data.fill_(logit)


def test_the_event_is_put_in_front_of_its_objects_and_is_always_there() -> None:
    event, objects, mask = event_and_objects()
    fused, there = EmbeddingFusion("cat", WIDTH)(event, objects, mask)
    assert torch.equal(fused[:, 0], event)
    assert torch.equal(fused[:, 1:], objects)
    assert there.tolist() == [[True, True, True, False], [True, True, False, False]]


def test_projection_reads_the_event_first_and_the_object_second() -> None:
    fusion = EmbeddingFusion("cat_proj", WIDTH)
    fusion.project.weight.data = torch.cat([torch.eye(WIDTH), 2 * torch.eye(WIDTH)], dim=1)
    fusion.project.bias.data.fill_(0.25)
    event, objects, mask = event_and_objects()
    torch.testing.assert_close(fusion(event, objects, mask)[0], event[:, None] + 2 * objects + 0.25)


@pytest.mark.parametrize("logit", [-1.5, 0.0, 30.0])
def test_a_learned_share_leads_from_the_objects_to_the_event(logit: float) -> None:
    fusion = EmbeddingFusion("learn", WIDTH)
    fixed_share(fusion, logit)
    event, objects, mask = event_and_objects()
    share = torch.sigmoid(torch.tensor(logit))
    torch.testing.assert_close(fusion(event, objects, mask)[0], share * event[:, None] + (1 - share) * objects)


def test_a_gate_has_a_share_for_each_entry_from_both() -> None:
    fusion = EmbeddingFusion("gate", WIDTH)
    event, objects, mask = event_and_objects()
    own = event[:, None].expand_as(objects)
    share = torch.sigmoid(fusion.gate(torch.cat([own, objects], dim=-1)))
    torch.testing.assert_close(fusion(event, objects, mask)[0], share * own + (1 - share) * objects)


def test_objects_attend_to_the_event_and_to_those_that_are_there() -> None:
    torch.manual_seed(0)
    fusion = EmbeddingFusion("attn", WIDTH, {"heads": 2, "dropout": 0.0})
    event, objects, mask = event_and_objects()
    fused, there = fusion(event, objects, mask)
    assert torch.equal(there, mask)
    normed = functional.layer_norm(torch.cat([event[:, None], objects], dim=1), (WIDTH,))
    kept = normed[:1, :3]  # the event and its two objects
    torch.testing.assert_close(fused[:1, :2], fusion.attention(kept[:, 1:], kept))


def test_attention_has_four_heads_unless_told_otherwise() -> None:
    attention = EmbeddingFusion("res_attn", 8).attention
    assert isinstance(attention, MultiHeadAttention)
    assert (attention.heads, attention.dropout) == (4, 0.0)
    changed = EmbeddingFusion("attn", 8, {"dropout": 0.3}).attention
    assert (changed.heads, changed.dropout) == (4, 0.3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_are_mixed_from_the_jagged_to_the_flat_network(outputs: int) -> None:
    flat, jagged = torch.randn(5, outputs), torch.randn(5, outputs)
    learned, gate = OutputFusion("learn", outputs), OutputFusion("gate", outputs)
    fixed_share(learned, 2.0)
    share = torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(learned(flat, jagged), share * flat + (1 - share) * jagged)
    shares = torch.sigmoid(gate.combine(torch.cat([flat, jagged], dim=1)))
    torch.testing.assert_close(gate(flat, jagged), shares * flat + (1 - shares) * jagged)


def test_logits_are_put_side_by_side_with_the_flat_ones_first() -> None:
    fusion = OutputFusion("cat", 2)
    fusion.combine.weight.data = torch.tensor([[1.0, 0, 0, 10], [0, 1, 100, 0]])
    fusion.combine.bias.data.zero_()
    flat, jagged = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(fusion(flat, jagged), flat + torch.tensor([10.0, 100.0]) * jagged.flip(1))


def test_attention_over_logits_has_one_share_for_each_network() -> None:
    fusion = OutputFusion("attn", 3)
    flat, jagged = torch.randn(4, 3), torch.randn(4, 3)
    odds = fusion.score(flat) - fusion.score(jagged)
    share = torch.sigmoid(odds)
    torch.testing.assert_close(fusion(flat, jagged), share * flat + (1 - share) * jagged)


@pytest.mark.parametrize("mode", ["attn", "res_attn"])
def test_options_of_attention_are_allowed_and_misspelt_ones_located(mode: str) -> None:
    assert fusion_problems(mode, {"heads": 2, "dropout": 0.1}, ("fuse_kwargs",)) == []
    (problem,) = fusion_problems(mode, {"heads": 2, "head": 2}, ("a", "fuse_kwargs"))
    assert problem.path == ("a", "fuse_kwargs", "head")
    assert set(problem.allowed) == {"heads", "dropout"}
