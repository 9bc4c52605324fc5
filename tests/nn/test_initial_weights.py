"""What blocks start from and how they treat what is special: one event, gates, empty rows, initial ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.nn.activations import activation_problems, make_activation
from tabstar_lit.nn.attention import MultiHeadAttention, masked_attention
from tabstar_lit.nn.embeddings import (
    CategoricalEmbedding,
    FeatureEmbedding,
    LinearStart,
    NumericalEmbedding,
    PiecewiseLinearEncoding,
)
from tabstar_lit.nn.ensemble import EnsembleHeads, HeadLayerNorm
from tabstar_lit.nn.feed_forward import BatchNorm, EnsembleLinear, FeedForward, MemberBatchNorm, ResidualBlock
from tabstar_lit.nn.masking import masked_mean, masked_softmax
from tabstar_lit.nn.pooling import AttentionPooling, make_reduction


def fills(values: Tensor, bound: float) -> bool:
    """Whether many uniform numbers reach, and none exceeds, the bound."""
    return bool(0.9 * bound < values.abs().max() <= bound) and values.mean().abs() < 0.1 * bound


@pytest.mark.parametrize("bins", [1, 4])
def test_embeddings_start_small_and_normal_or_as_a_linear_layer(bins: int) -> None:
    torch.manual_seed(0)
    encoding = PiecewiseLinearEncoding([list(range(bins + 1))] * 40)
    normal, uniform = (NumericalEmbedding(40, 64, encoding=encoding, start=s) for s in ("normal", "uniform"))
    assert normal.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert normal.bias.std().item() == pytest.approx(0.02, rel=0.1)
    assert fills(uniform.weight, 1 / math.sqrt(bins))
    assert fills(uniform.bias, 1 / math.sqrt(bins))


@pytest.mark.parametrize("start", ["normal", "uniform"])
def test_tables_of_categories_start_alike_in_scale(start: LinearStart) -> None:
    torch.manual_seed(0)
    table = CategoricalEmbedding((30, 50), 64, start=start).table.weight
    assert table.shape == (80, 64)
    assert fills(table, 1.0) if start == "uniform" else table.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("name", "terms"), [("conv1d", 25), ("conv2d", 25), ("reshape", 25 * 16)])
def test_reductions_start_like_the_layer_they_are(name: str, terms: int) -> None:
    torch.manual_seed(0)
    (weight, bias) = make_reduction(name, 25, 16).parameters()
    assert weight.abs().max() <= 1 / math.sqrt(terms)
    assert weight.abs().max() > 0.7 / math.sqrt(terms)
    assert bias.abs().max() <= 1 / math.sqrt(terms)


def test_an_unknown_reduction_is_an_error_of_the_program() -> None:
    with pytest.raises(KeyError, match="max"):
        make_reduction("max", 3, 4)


def test_only_the_first_layer_of_an_ensemble_makes_its_members_differ() -> None:
    torch.manual_seed(0)
    layers = [m for m in FeedForward(50, (20, 20, 20), members=4).modules() if isinstance(m, EnsembleLinear)]
    assert set(layers[0].scale_in.unique().tolist()) == {-1.0, 1.0}
    assert layers[0].scale_in.mean().abs() < 0.3
    for layer in layers[1:]:
        assert layer.scale_in.eq(1).all()
    for layer in layers:
        assert layer.scale_out.eq(1).all()
        assert layer.bias.unique(dim=0).shape[0] == 4


@pytest.mark.parametrize("members", [1, 3])
def test_a_single_event_is_normalised_by_what_was_seen_before_and_leaves_no_trace(members: int) -> None:
    norm = BatchNorm(4) if members == 1 else MemberBatchNorm(4, members)
    shape = (4,) if members == 1 else (members, 4)
    norm(torch.randn(50, *shape) * 3 + 1)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    one = torch.randn(1, *shape)
    training, evaluated = norm(one), norm.eval()(one)
    torch.testing.assert_close(training, evaluated)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_a_residual_block_adds_and_its_last_layer_is_linear() -> None:
    block = ResidualBlock(4, 8, size=1, batchnorm=False)
    layer = next(m for m in block.modules() if isinstance(m, nn.Linear))
    x = torch.randn(3, 4)
    torch.testing.assert_close(block(x), x + layer(x))  # a single layer: nothing inside, no activation
    assert not any(isinstance(m, nn.ReLU) for m in block.modules())


def test_heads_have_a_norm_of_their_own() -> None:
    norm = HeadLayerNorm(2, 5)
    norm.scale.data = torch.tensor([1.0, 3.0])[:, None, None].expand(2, 1, 5).clone()
    norm.shift.data = torch.tensor([0.0, -1.0])[:, None, None].expand(2, 1, 5).clone()
    x = torch.randn(2, 4, 5) * 7 + 2
    plain = functional.layer_norm(x, (5,))
    torch.testing.assert_close(norm(x), torch.stack([plain[0], 3 * plain[1] - 1]))


def test_the_output_activation_of_heads_is_the_last() -> None:
    heads = EnsembleHeads(4, 3, (6,), act="GeGLU", act_out="Softplus", layernorm=True)
    bare = nn.Sequential(*list(heads.layers)[:-1])
    x = torch.randn(7, 4)
    torch.testing.assert_close(heads(x), functional.softplus(bare(x.expand(3, 7, 4)).squeeze(-1).T))
    assert heads(x).gt(0).all()


@pytest.mark.parametrize("reduction", ["mean", "conv1d", "reshape", "attn", "none"])
@pytest.mark.parametrize("obstacle", ["nothing", "activation", "post"])
def test_the_short_way_is_taken_only_where_all_is_linear(reduction: str, obstacle: str) -> None:
    numbers = NumericalEmbedding(3, 4, activation=nn.Tanh() if obstacle == "activation" else None)
    post = nn.LayerNorm(4) if obstacle == "post" else None
    embed = FeatureEmbedding(numbers, None, width=4, reduction=reduction, post=post)
    assert embed.fused == (obstacle == "nothing" and reduction in ("mean", "conv1d", "reshape"))
    x = torch.randn(5, 3)
    torch.testing.assert_close(embed(x, torch.zeros(5, 0).long()), embed.reduction(embed.tokens(x, torch.zeros(5, 0))))


def test_codes_alone_never_take_the_short_way() -> None:
    assert not FeatureEmbedding(None, CategoricalEmbedding((3,), 4), width=4).fused


@given(st.integers(1, 5), st.integers(0, 2**20))
def test_masked_mean_and_softmax_are_those_of_what_is_there(slots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, mask = rng.normal(size=(4, slots, 2)), rng.random((4, slots)) < 0.6
    mean = masked_mean(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    weights = masked_softmax(torch.from_numpy(tokens[..., 0]), torch.from_numpy(mask)).numpy()
    for event in range(4):
        own = tokens[event][mask[event]]
        np.testing.assert_allclose(mean[event], own.mean(0) if len(own) else 0.0, atol=1e-12)
        expected = np.exp(own[:, 0]) / np.exp(own[:, 0]).sum()
        np.testing.assert_allclose(weights[event][mask[event]], expected, atol=1e-12)
        assert (weights[event][~mask[event]] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_masked_softmax_is_finite_in_half_precision(dtype: torch.dtype) -> None:
    weights = masked_softmax(torch.tensor([[3.0, 5.0, 1.0]], dtype=dtype), torch.tensor([[True, False, True]]))
    assert weights.dtype == dtype
    assert weights[0, 1] == 0
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-2)


def test_attention_pooling_without_padding_needs_no_mask() -> None:
    pooling, tokens = AttentionPooling(3), torch.randn(2, 4, 3)
    torch.testing.assert_close(pooling(tokens), pooling(tokens, torch.ones(2, 4, dtype=torch.bool)))


def test_a_mask_for_each_query_goes_with_a_bias_for_each_head() -> None:
    query, key, value = torch.randn(3, 2, 2, 4, 5).unbind(0)
    bias, mask = torch.randn(2, 2, 4, 4), torch.rand(2, 4, 4) < 0.6
    mask[0, 1] = False
    seen = masked_attention(query, key, value, mask=mask, bias=bias.double())
    scores = (query @ key.mT / math.sqrt(5) + bias).masked_fill(~mask[:, None], -math.inf)
    expected = torch.nan_to_num(scores.softmax(-1)) @ value
    torch.testing.assert_close(seen, expected)
    assert seen[0, :, 1].eq(0).all()


def test_the_length_of_a_head_is_free() -> None:
    attention = MultiHeadAttention(6, 4, dim_head=5)
    assert attention.query.weight.shape == (20, 6)
    assert attention(torch.randn(2, 3, 6), torch.randn(2, 7, 6)).shape == (2, 3, 6)


def test_every_mistake_of_an_activation_is_told_at_its_place() -> None:
    problems = list(activation_problems("Threshold", {"treshold": 1.0}, path=("a", "act"), arguments_path=("a", "kw")))
    assert [problem.path for problem in problems] == [("a", "kw", "treshold"), ("a", "kw")]
    assert "threshold" in problems[0].allowed
    assert problems[1].message == "Threshold needs threshold, value, which is not given."
    assert make_activation("Threshold", {"threshold": 0.5, "value": -1.0})(torch.tensor([0.4, 0.6])).tolist() == [
        -1.0,
        pytest.approx(0.6),
    ]


def test_a_gate_that_does_not_fit_is_not_offered_either() -> None:
    (refused,) = activation_problems("GeGLU", gated=False)
    (misspelt,) = activation_problems("GeGLUU", gated=True)
    assert "GeGLU" not in refused.allowed
    assert "GeGLU" in misspelt.allowed
