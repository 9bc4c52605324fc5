"""Cuts of a distribution against those of `transformers`, and draws that depend on their row and place alone."""

from __future__ import annotations

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.sampling import GREEDY, Sampling, at_quantile


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 7, 1000])
@pytest.mark.parametrize("top_p", [None, 1e-6, 0.5, 0.95, 1.0])
def test_what_is_kept_is_what_transformers_keeps(temperature: float, top_k: int | None, top_p: float | None) -> None:
    logits = torch.randn(40, 50, generator=torch.Generator().manual_seed(0)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p is not None and top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(None, logits).softmax(-1)
    seen = Sampling(temperature, top_k, top_p).cut(logits).softmax(-1)
    assert torch.equal(seen > 0, expected > 0)
    torch.testing.assert_close(seen, expected)


def test_top_p_keeps_the_fewest_that_suffice() -> None:
    probabilities = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    for p, kept in [(0.4, [1]), (0.5, [1]), (0.6, [1, 3]), (0.8, [1, 2, 3]), (1.0, [0, 1, 2, 3])]:
        cut = Sampling(top_p=p).cut(probabilities.log())
        assert cut.isfinite().nonzero()[:, 1].tolist() == kept


def test_quantiles_pass_through_the_tokens_in_their_shares() -> None:
    probabilities = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    draws = (torch.arange(1000) + 0.5) / 1000
    tokens = at_quantile(probabilities.expand(1000, -1), draws)
    assert torch.bincount(tokens, minlength=6).tolist() == [0, 250, 0, 500, 250, 0]
    assert tokens.diff().ge(0).all()


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_no_draw_chooses_a_token_without_probability(draw: float) -> None:
    logits = torch.randn(500, 3000, generator=torch.Generator().manual_seed(1)) * 8
    probabilities = Sampling(top_k=20).cut(logits).softmax(-1)
    tokens = at_quantile(probabilities, torch.full((500,), draw))
    assert probabilities.gather(1, tokens[:, None]).gt(0).all()


def test_no_temperature_is_the_likeliest_token() -> None:
    logits = torch.randn(6, 9)
    assert torch.equal(GREEDY.choose(logits, GREEDY.draws(range(6), 1)[:, 0]), logits.argmax(-1))
    assert torch.equal(Sampling(1e-4, seed=2).choose(logits * 10, torch.rand(6)), logits.argmax(-1))


def test_draws_depend_on_seed_row_and_place_alone() -> None:
    all_rows = Sampling(seed=7).draws(range(50), 40)
    assert torch.equal(Sampling(seed=7).draws([31, 4], 25), all_rows[[31, 4], :25])
    assert not torch.equal(Sampling(seed=8).draws(range(50), 40), all_rows)
    assert len(all_rows.unique()) > 1990
    assert all_rows.dtype == torch.float32
    assert ((all_rows >= 0) & (all_rows < 1)).all()
    assert all_rows.mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; give 0"),
        ({"temperature": float("nan")}, "temperature is nan; give 0"),
        ({"top_k": 0}, "top_k is 0; keep at least 1 token"),
        ({"top_p": 0.0}, "top_p is 0.0; give a probability above 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"seed": -3}, "seed is -3; give 0 or more"),
    ],
)
def test_settings_without_meaning_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**options)
