"""What is remembered of frozen layers is what they compute, within its budget, whatever came first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.layer_cache import LayerCache
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_encoder import TextEncoder
from tabstar_lit.nn.text_sources import load_text_encoder

STRINGS = [f"Feature Value: {'more ' * (i % 4)}{i * i}" for i in range(700)]


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    sizes = RandomEncoder(layers=3)
    return load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=1, random=sizes, dropout=0.3)).train()


@pytest.fixture
def tokens(encoder: TextEncoder) -> StringTokens:
    return StringTokens({"t": JsonTokenizer(encoder.tokenizer, 200).encode(STRINGS)})


def batch_of(string_ids: NDArray[np.int64]) -> TableBatch:
    nothing = torch.empty(0)
    return TableBatch("t", "regression", string_ids, (), nothing, nothing, nothing, nothing, 1)


def test_states_are_those_of_the_encoder_and_do_not_depend_on_the_batch(
    encoder: TextEncoder, tokens: StringTokens
) -> None:
    asked = np.array([3, 4, 300, 699])
    cache = LayerCache(encoder, tokens, 1 << 30)
    with torch.inference_mode():
        cache(batch_of(np.array([301])))
    states = cache(batch_of(asked))
    token_ids, lengths = tokens.gather(asked)
    torch.testing.assert_close(states, encoder.frozen_states(torch.from_numpy(token_ids), lengths), rtol=0, atol=1e-5)
    assert cache.known_strings == 700
    other = LayerCache(encoder, tokens, 1 << 30)
    for number in (699, 4, 3, 300):
        other(batch_of(np.array([number])))
    assert torch.equal(other(batch_of(asked)), states)


def test_a_budget_holds_the_first_strings_and_nothing_of_others(encoder: TextEncoder, tokens: StringTokens) -> None:
    lengths = tokens.lengths_of(np.arange(len(tokens)))
    budget = int(lengths[:300].sum()) * encoder.width * 4
    cache = LayerCache(encoder, tokens, budget)
    assert cache(batch_of(np.array([0, 299]))) is not None
    assert cache(batch_of(np.array([0, 300]))) is None
    assert cache._states.nbytes <= budget
    assert LayerCache(encoder, tokens, 0)(batch_of(np.array([0]))) is None


def test_new_weights_empty_it(encoder: TextEncoder, tokens: StringTokens) -> None:
    cache = LayerCache(encoder, tokens, 1 << 30)
    before = cache(batch_of(np.array([5])))
    state = {
        name: tensor + 0.5 if "word_embeddings" in name else tensor for name, tensor in encoder.state_dict().items()
    }
    encoder.load_state_dict(state)
    assert not torch.equal(cache(batch_of(np.array([5]))), before)


def test_states_come_in_the_precision_that_is_computed_in(encoder: TextEncoder, tokens: StringTokens) -> None:
    cache = LayerCache(encoder, tokens, 1 << 30)
    exact = cache(batch_of(np.array([7, 8])))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = cache(batch_of(np.array([7, 8])))
    assert (exact.dtype, rough.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.1)
