"""Vectorised embeddings against plain loops over features, and the short way against the long one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tabstar_lit.nn.embeddings import (
    CategoricalEmbedding,
    FeatureEmbedding,
    NumericalEmbedding,
    PiecewiseLinearEncoding,
    TokenBatchNorm,
    post_embedding,
)

EDGES = ((-1.0, 0.0, 0.5, 2.0), (0.0, 0.0, 1.0), (3.0, 3.0), (), (-2.0, 5.0))
"""Bins of five features: usual, with an edge twice, a constant, none, and one bin."""
CODES = torch.tensor([[0, 3], [2, 0], [1, 1]])


def encoded_by_loop(x: np.ndarray, edges: tuple[tuple[float, ...], ...], n_bins: int) -> np.ndarray:
    """The formula of arXiv 2203.05556, one number at a time, kept inside [0, 1]."""
    out = np.zeros((*x.shape, n_bins))
    for event in range(len(x)):
        for feature, feature_edges in enumerate(edges):
            distinct = sorted(set(feature_edges))
            for k, (low, high) in enumerate(pairwise(distinct)):
                out[event, feature, k] = min(max((x[event, feature] - low) / (high - low), 0.0), 1.0)
    return out


@pytest.mark.parametrize("learned", [False, True])
def test_piecewise_linear_encoding_follows_its_formula(learned: bool) -> None:
    encoding = PiecewiseLinearEncoding(EDGES, learned=learned).double()
    x = torch.tensor([[-1e6] * 5, [0.25] * 5, [3.0] * 5, [1e6] * 5, [0.0] * 5], dtype=torch.float64)
    expected = torch.from_numpy(encoded_by_loop(x.numpy(), EDGES, 3))
    torch.testing.assert_close(encoding(x), expected, atol=1e-6, rtol=0)


@settings(max_examples=40)
@given(
    edges=st.lists(st.lists(st.floats(-50, 50, width=16), max_size=6).map(sorted), min_size=1, max_size=4),
    value=st.floats(-100, 100, width=16),
)
def test_any_edges_are_safe(edges: list[list[float]], value: float) -> None:
    z = PiecewiseLinearEncoding(edges)(torch.full((1, len(edges)), value))
    assert torch.isfinite(z).all()
    assert ((z >= 0) & (z <= 1)).all()
    assert (z.diff(dim=-1) <= 1e-6).all(), "a number fills its bins from the left"


def test_uniform_bins_are_equally_wide() -> None:
    encoding = PiecewiseLinearEncoding(((0.0, 0.1, 0.2, 4.0),), uniform=True)
    torch.testing.assert_close(encoding(torch.tensor([[2.0]])), torch.tensor([[[1.0, 0.5, 0.0]]]))


def test_learned_edges_move_and_stay_in_order() -> None:
    encoding = PiecewiseLinearEncoding(EDGES, learned=True)
    optimizer = torch.optim.SGD(encoding.parameters(), lr=5.0)
    x = torch.randn(64, 5)
    before = encoding(x).detach()
    for _ in range(20):
        optimizer.zero_grad()
        encoding(x).square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoding.parameters())
        optimizer.step()
    after = encoding(x)
    assert not torch.allclose(before, after)
    assert (after.diff(dim=-1) <= 1e-6).all()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_numbers_become_their_features_vectors(shared: bool, shape: tuple[int, ...]) -> None:
    embed = NumericalEmbedding(5, 6, start="uniform", shared=shared, activation=nn.Tanh())
    x = torch.randn(*shape, 5)
    for feature in range(5):
        own = 0 if shared else feature
        layer = nn.Linear(1, 6)
        layer.load_state_dict({"weight": embed.weight[own].T, "bias": embed.bias[own]})
        torch.testing.assert_close(embed(x)[..., feature, :], layer(x[..., feature, None]).tanh())


def test_binned_numbers_become_their_features_vectors() -> None:
    encoding = PiecewiseLinearEncoding(EDGES)
    embed = NumericalEmbedding(5, 6, encoding=encoding)
    x = torch.randn(3, 5)
    for feature in range(5):
        expected = encoding(x)[:, feature] @ embed.weight[feature] + embed.bias[feature]
        torch.testing.assert_close(embed(x)[:, feature], expected)


def test_codes_become_their_features_vectors() -> None:
    embed = CategoricalEmbedding((3, 4), 6)
    tables = embed.table.weight.split([3, 4])
    for feature, table in enumerate(tables):
        torch.testing.assert_close(embed(CODES)[:, feature], nn.functional.embedding(CODES[:, feature], table))


def built(reduction: str, *, bins: bool, shared: bool, categories: bool, post: nn.Module | None) -> FeatureEmbedding:
    encoding = PiecewiseLinearEncoding(EDGES) if bins else None
    numerical = NumericalEmbedding(5, 6, encoding=encoding, start="uniform", shared=shared)
    categorical = CategoricalEmbedding((3, 4), 6, start="uniform") if categories else None
    return FeatureEmbedding(numerical, categorical, width=6, reduction=reduction, post=post).double()


@pytest.mark.parametrize("reduction", ["mean", "conv1d", "reshape"])
@pytest.mark.parametrize("bins", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("categories", [False, True])
def test_the_short_way_equals_the_long_way(reduction: str, bins: bool, shared: bool, categories: bool) -> None:
    embed = built(reduction, bins=bins, shared=shared, categories=categories, post=None)
    x = torch.randn(3, 5, dtype=torch.float64)
    assert embed.fused
    long: Tensor = embed.reduction(embed.tokens(x, CODES))
    short = embed(x, CODES)
    torch.testing.assert_close(short, long)
    parameters = list(embed.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(short.square().sum(), parameters, retain_graph=True),
        torch.autograd.grad(long.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reduction", ["mean", "conv1d", "reshape", "attn"])
def test_what_follows_the_vectors_comes_before_the_reduction(reduction: str) -> None:
    post = post_embedding(6, act="GELU", layernorm=True)
    embed = built(reduction, bins=False, shared=False, categories=True, post=post)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    codes = CODES[:2, None].expand(2, 4, 2)
    assert not embed.fused
    tokens = torch.cat([embed.numerical(x), embed.categorical(codes)], dim=-2)
    normed = nn.functional.layer_norm(tokens, (6,))
    torch.testing.assert_close(embed(x, codes), embed.reduction(nn.functional.gelu(normed)))


def test_unreduced_vectors_are_kept_and_codes_alone_are_enough() -> None:
    embed = built("none", bins=False, shared=False, categories=True, post=None)
    assert embed(torch.randn(3, 5, dtype=torch.float64), CODES).shape == (3, 7, 6)
    alone = FeatureEmbedding(None, CategoricalEmbedding((3, 4), 6), width=6)
    torch.testing.assert_close(alone(torch.zeros(3, 0), CODES), alone.tokens(torch.zeros(3, 0), CODES).mean(1))


def test_post_embedding_is_empty_or_in_order() -> None:
    assert post_embedding(6) is None
    layers = post_embedding(6, act="ReLU", batchnorm=True, dropout=0.5)
    assert layers is not None
    assert [type(layer) for layer in layers.children()] == [TokenBatchNorm, nn.ReLU, nn.Dropout]
    tokens = torch.randn(9, 4, 6) * 3 + 2
    normed = TokenBatchNorm(6)(tokens)
    torch.testing.assert_close(normed.mean((0, 1)), torch.zeros(6), atol=1e-5, rtol=0)
