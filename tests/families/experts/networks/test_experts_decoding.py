"""Texts are written the same with a memory and without, by every network of every role."""

from __future__ import annotations

import pytest
import torch
from experts_networks import NETWORKS, VOCABULARY, small_network

from tabstar_lit.families.experts.networks import memory
from tabstar_lit.families.experts.networks.decoding import as_documents, decoder_of, decoder_without_memory
from tabstar_lit.nn.beam_search import Beams, beam_search
from tabstar_lit.nn.generation import Stop, generate, pad_left
from tabstar_lit.nn.sampling import Sampling

PROMPTS = pad_left([[1, 2, 3, 4, 5], [7, 8], [9] * 11, [4]])


@pytest.fixture(autouse=True)
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memories be asked every few tokens of these short texts."""
    monkeypatch.setattr(memory, "STRIDE", 4)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(top_k=20, seed=3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_memory_changes_no_token(name: str, sampling: Sampling) -> None:
    network = small_network(name)
    with_memory, without = (
        generate(decoder, PROMPTS, Stop(30), sampling, context=None)
        for decoder in (decoder_of(network), decoder_without_memory(network))
    )
    assert torch.equal(with_memory.tokens, without.tokens)
    torch.testing.assert_close(with_memory.log_probabilities, without.log_probabilities, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_text_is_what_it_would_be_alone(name: str) -> None:
    network = small_network(name)
    together = generate(decoder_of(network), PROMPTS, Stop(12), context=None)
    alone = generate(decoder_of(network), pad_left([[7, 8]]), Stop(12), context=None)
    assert torch.equal(together.tokens[1], alone.tokens[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_log_probabilities_are_those_of_the_whole_text(name: str) -> None:
    network = small_network(name).eval()
    prompt = torch.randint(VOCABULARY, (1, 6))
    made = generate(decoder_of(network), pad_left(prompt.tolist()), Stop(10), Sampling(seed=1), context=None)
    text = torch.cat([prompt, made.tokens], dim=1)
    expected = network.logits(network(text[:, :-1])).log_softmax(-1).gather(2, text[:, 1:, None])[0, 5:, 0]
    torch.testing.assert_close(made.log_probabilities[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["transformer", "state space", "continuous diffuser", "mixture of latents"])
def test_memories_follow_their_beams(name: str) -> None:
    network = small_network(name)
    stop = Stop(8, end=0)
    found, expected = (
        beam_search(decoder, PROMPTS, stop, Beams(3), context=None)
        for decoder in (decoder_of(network), decoder_without_memory(network))
    )
    assert torch.equal(found.tokens, expected.tokens)


def test_padding_is_a_document_of_its_own() -> None:
    assert as_documents(None) is None
    mask = torch.tensor([[False, True, True]])
    documents = as_documents(mask)
    assert documents is not None
    assert documents.tolist() == [[-1, 0, 0]]
