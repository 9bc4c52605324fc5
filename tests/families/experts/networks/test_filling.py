"""Masked diffusers that fill in several tokens of a block at once write what the surest slots say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from experts_networks import VOCABULARY, small_network

from tabstar_lit.errors import ConfigError, NonFiniteError
from tabstar_lit.families.experts.networks.decoding import decoder_of
from tabstar_lit.families.experts.networks.filling import Filler
from tabstar_lit.nn.generation import Stop, generate, pad_left
from tabstar_lit.nn.sampling import GREEDY, Sampling

BLOCK = 4
PROMPTS = [[1, 2, 3, 4, 5], [7, 8], [9] * 11, [4], [5, 6, 7]]


@pytest.fixture
def network() -> Any:
    return small_network("masked diffuser").eval()


def filled_slowly(network: Any, prompt: list[int], length: int, at_once: int) -> list[int]:
    """Fill in blocks by running the network on the whole text for every pass, with the likeliest tokens."""
    text = list(prompt)
    while len(text) < len(prompt) + length:
        offset = (len(text) - 1) % BLOCK
        hidden = list(range(len(text) - 1, len(text) - 1 + BLOCK - offset))  # slot i tells token i + 1
        text += [0] * len(hidden)
        while hidden:
            tokens = torch.tensor([text])
            clean, following = (network.embedding(part) for part in (tokens[:, :-1], tokens[:, 1:]))
            mask = torch.zeros(1, len(text) - 1, dtype=torch.bool)
            mask[0, hidden] = True
            chances = network.logits(network.expert.fill(clean, following, mask))[0].log_softmax(-1)
            for slot in sorted(hidden, key=lambda slot: -float(chances[slot].max()))[:at_once]:
                text[slot + 1] = int(chances[slot].argmax())
                hidden.remove(slot)
    return text[len(prompt) : len(prompt) + length]


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 9])
@torch.inference_mode()
def test_the_surest_slots_are_filled_in_first(network: Any, at_once: int) -> None:
    written = Filler(network, at_once).write(PROMPTS, Stop(14), GREEDY)
    assert written == [filled_slowly(network, prompt, 14, at_once) for prompt in PROMPTS]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=3, top_k=20)])
def test_what_is_written_depends_on_the_number_of_a_prompt_and_not_on_the_others(
    network: Any, sampling: Sampling
) -> None:
    together = Filler(network, 2).write(PROMPTS, Stop(10), sampling)
    others = [PROMPTS[0], [3, 3, 3], PROMPTS[2]]
    assert Filler(network, 2).write(others, Stop(10), sampling)[::2] == together[:3:2]
    longer = Filler(network, 2).write(PROMPTS, Stop(13), sampling)
    assert [text[:10] for text in longer] == together
    assert len({tuple(text) for text in together}) == len(PROMPTS)


def test_blocks_of_one_are_written_one_after_another(network: Any) -> None:
    network.expert.block = 1
    expected = generate(decoder_of(network), pad_left(PROMPTS), Stop(9), Sampling(seed=1), context=None)
    assert Filler(network, 3).write(PROMPTS, Stop(9), Sampling(seed=1)) == expected.tokens.tolist()


def test_it_takes_fewer_passes(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, real = [], network.expert.slots

    def counted(*arguments: Any) -> Any:
        passes.append(1)
        return real(*arguments)

    monkeypatch.setattr(network.expert, "slots", counted)
    for at_once, expected in ((1, 12), (2, 6), (4, 3)):
        passes.clear()
        Filler(network, at_once).write([[1]], Stop(12), GREEDY)
        assert len(passes) == expected


def test_a_text_ends_with_its_end(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    always = torch.nn.functional.one_hot(torch.tensor(6), VOCABULARY) * 50.0
    monkeypatch.setattr(network, "logits", lambda states: always.expand(*states.shape[:-1], -1))
    assert Filler(network, 4).write(PROMPTS, Stop(9, end=6), GREEDY) == [[6]] * len(PROMPTS)
    assert Filler(network, 4).write(PROMPTS, Stop(9, end=5), GREEDY) == [[6] * 9] * len(PROMPTS)


def test_training_goes_on_as_before(network: Any) -> None:
    Filler(network.train(), 2).write([[1]], Stop(2), GREEDY)
    assert network.training
    assert network.expert.training


def test_what_cannot_be_filled_in_is_refused(network: Any) -> None:
    with pytest.raises(ConfigError, match="only masked diffusers"):
        Filler(small_network("transformer"), 2)
    with pytest.raises(ConfigError, match="give 1 or more"):
        Filler(network, 0)
    with torch.no_grad():
        network.embedding.weight[3] = float("nan")
    with pytest.raises(NonFiniteError, match="log-probability"):
        Filler(network, 2).write([[1]], Stop(4), GREEDY)
