"""Every fusion mode: shapes, formulas, masks, gradients, and options a mode does not have."""

from __future__ import annotations

import pytest
import torch

from tabstar_lit.nn.fusion import EMBEDDING_MODES, OUTPUT_MODES, EmbeddingFusion, OutputFusion, fusion_problems


@pytest.mark.parametrize("mode", EMBEDDING_MODES)
def test_embedding_fusion_is_blind_to_padding_and_trains_all_it_has(mode: str) -> None:
    fusion = EmbeddingFusion(mode, 8)
    event, objects = torch.randn(3, 8, requires_grad=True), torch.randn(3, 4, 8)
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    fused, there = fusion(event, objects, mask)
    changed, _ = fusion(event, torch.where(mask[..., None], objects, 7.0), mask)
    extra = 1 if mode == "cat" else 0
    assert fused.shape == (3, 4 + extra, 8)
    assert torch.equal(there[:, extra:], mask)
    assert there[:, :extra].all()
    torch.testing.assert_close(fused[there], changed[there])
    torch.where(there[..., None], fused, 0.0).square().sum().backward()
    gradients = [p.grad for p in fusion.parameters()] + [event.grad]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_simple_modes_follow_their_formulas() -> None:
    event, objects, mask = torch.randn(2, 4), torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    total = event[:, None] + objects
    for mode, expected in {"add": total, "sum": total, "mean": total / 2, "learn": total / 2}.items():
        torch.testing.assert_close(EmbeddingFusion(mode, 4)(event, objects, mask)[0], expected)


def test_attention_with_a_skip_is_attention_beside_the_objects() -> None:
    plain, skip = EmbeddingFusion("attn", 8, {"heads": 2}), EmbeddingFusion("res_attn", 8, {"heads": 2})
    skip.load_state_dict(plain.state_dict())
    event, objects, mask = torch.randn(2, 8), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(skip(event, objects, mask)[0], objects + plain(event, objects, mask)[0])


@pytest.mark.parametrize("mode", OUTPUT_MODES)
def test_output_fusion_keeps_the_shape_and_trains_all_it_has(mode: str) -> None:
    fusion = OutputFusion(mode, 3)
    flat, jagged = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    fused = fusion(flat, jagged)
    fused.square().sum().backward()
    assert fused.shape == (5, 3)
    gradients = [p.grad for p in (*fusion.parameters(), flat, jagged)]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_mixing_modes_stay_between_the_two() -> None:
    flat, jagged = torch.full((4, 2), -1.0), torch.full((4, 2), 3.0)
    torch.testing.assert_close(OutputFusion("add", 2)(flat, jagged), flat + jagged)
    torch.testing.assert_close(OutputFusion("learn", 2)(flat, jagged), torch.ones(4, 2))
    for mode in ("gate", "attn"):
        mixed = OutputFusion(mode, 2)(flat, jagged)
        assert ((mixed > -1) & (mixed < 3)).all()


@pytest.mark.parametrize("mode", sorted({*EMBEDDING_MODES, *OUTPUT_MODES}))
def test_all_modes_work_in_mixed_precision(mode: str) -> None:
    wide, narrow = torch.randn(2, 3, 8), torch.randn(2, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if mode in EMBEDDING_MODES:
            fused, _ = EmbeddingFusion(mode, 8)(narrow, wide, torch.ones(2, 3, dtype=torch.bool))
            assert torch.isfinite(fused).all()
        if mode in OUTPUT_MODES:
            assert torch.isfinite(OutputFusion(mode, 8)(narrow, wide[:, 0])).all()


def test_options_of_another_mode_are_named() -> None:
    assert fusion_problems("attn", {"heads": 2, "dropout": 0.1}, ()) == []
    (problem,) = fusion_problems("gate", {"heads": 2}, ("fuse", "fuse_kwargs"))
    assert problem.path == ("fuse", "fuse_kwargs", "heads")
    assert "unknown parameter 'heads' of fusion gate" in problem.message
