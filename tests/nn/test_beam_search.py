"""Beam search against every text there is, and against `transformers`."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from borrowed_decoders import Borrowed, borrowed, gpt2
from small_decoders import RAGGED, WIDTH, SmallRecurrent, SmallTransformer, lively, only

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.beam_search import Beams, beam_search
from tabstar_lit.nn.generation import Prompts, Stop, pad_left

PENALTIES = [-0.5, 0.0, 0.6, 1.0, 2.0]


def all_texts(network: Any, vector: torch.Tensor, length: int, end: int | None) -> list[tuple[tuple[int, ...], float]]:
    """Every text over three tokens after the prompt 2, and its log-probability."""
    texts = {
        text[: text.index(end) + 1] if end in text else text for text in product(range(3), repeat=length)
    }  # cut at the first end
    scored = []
    for text in texts:
        logits = network(vector[None], torch.tensor([[2, *text[:-1]]]))[0]
        scored.append((text, logits.log_softmax(-1)[range(len(text)), list(text)].sum().item()))
    return scored


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("end", [1, None])
@torch.no_grad()
def test_wide_beams_find_all_texts_in_order(end: int | None, penalty: float) -> None:
    network, vectors = lively(SmallRecurrent(3), 0.2), torch.randn(2, WIDTH)
    found = beam_search(
        network, Prompts(torch.tensor([[2], [2]])), Stop(4, end=end), Beams(100, penalty), context=vectors
    )
    for row in range(2):
        expected = sorted(all_texts(network, vectors[row], 4, end), key=lambda it: -it[1] / len(it[0]) ** penalty)
        there = found.lengths[row] > 0
        assert there.tolist() == [True] * len(expected) + [False] * (100 - len(expected))
        texts = [tuple(t[:n].tolist()) for t, n in zip(found.tokens[row], found.lengths[row], strict=True) if n]
        assert texts == [text for text, _ in expected]
        scores = torch.tensor([total / len(text) ** penalty for text, total in expected])
        torch.testing.assert_close(found.scores[row][there], scores, atol=1e-5, rtol=1e-5)
        totals = torch.tensor([total for _, total in expected])
        torch.testing.assert_close(found.log_probabilities[row][there].sum(-1), totals, atol=1e-5, rtol=1e-5)
        assert found.ended[row][there].tolist() == [end in text for text, _ in expected]
        assert found.scores[row][~there].eq(float("-inf")).all()


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("prompts", [RAGGED, [[3, 4], [5, 6]]], ids=["ragged", "equal"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_narrow_beams_find_what_transformers_finds(
    name: str, prompts: list[list[int]], beams: int, penalty: float
) -> None:
    theirs = gpt2() if name == "gpt2" else borrowed(lively(SmallTransformer(), 0.3))
    given = pad_left(prompts)
    expected = theirs.generate(
        given.tokens, attention_mask=None if given.mask is None else given.mask.long(), do_sample=False,
        max_new_tokens=10, eos_token_id=1, pad_token_id=9, num_beams=beams, num_return_sequences=beams,
        length_penalty=penalty, early_stopping="never", return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    ours = beam_search(Borrowed(theirs), given, Stop(10, end=1, pad=9), Beams(beams, penalty), context=None)
    texts = expected.sequences[:, given.tokens.shape[1] :].unflatten(0, (-1, beams))
    torch.testing.assert_close(ours.scores, expected.sequences_scores.view(-1, beams), atol=1e-5, rtol=1e-5)
    assert ours.tokens.tolist() == texts[..., : ours.tokens.shape[-1]].tolist()


def test_a_process_holds_for_all_beams() -> None:
    found = beam_search(
        lively(SmallTransformer()), pad_left(RAGGED), Stop(5, end=1), Beams(2), context=None, process=only(4)
    )
    assert found.tokens[:, 0].eq(4).all()
    assert not found.ended.any()
    assert found.lengths.tolist() == [[5, 0]] * 3


def test_the_search_stops_when_nothing_better_can_come() -> None:
    steps: list[int] = []

    def sure_of_the_end(tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        steps.append(tokens.shape[1])
        return torch.tensor([0.0, 9.0, -9.0, -9.0] + [-9.0] * 7).expand_as(logits)

    found = beam_search(
        lively(SmallTransformer()), Prompts(torch.tensor([[3]])), Stop(50, end=1), Beams(2), context=None,
        process=sure_of_the_end,
    )  # fmt: skip
    assert found.tokens[0, 0].tolist()[0] == 1
    assert len(steps) < 50


def test_there_must_be_a_beam() -> None:
    with pytest.raises(ConfigError, match="beams is 0; keep at least 1"):
        Beams(0)
