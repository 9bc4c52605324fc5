"""The network computes what the official package computes with the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.golden.tabstar_inputs import TEMPLATES, network_inputs, sketch
from benchmarks.golden.tabstar_v1 import answers, named_weights, write_published
from numpy.typing import NDArray
from official_answers import own_batch

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarArchitecture
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.text_cache import TextCache
from tabstar_lit.nn import text_encoder
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import (
    encoder_payload,
    from_payload,
    load_text_encoder,
)

TOLD: dict[str, Any] = answers()["model"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the text encoder of the package's model: a small BERT of the published width, as the hub has them."""
    return write_published(TOLD, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return named_weights(TOLD["shapes"])


def architecture(folder: Path, **text_encoder: object) -> TabstarArchitecture:
    return TabstarArchitecture(text_encoder=TextEncoderConfig(name=str(folder), unfreeze_layers=2, **text_encoder))


@pytest.fixture
def network(encoder_folder: Path, weights: dict[str, torch.Tensor]) -> TabStarNetwork:
    sizes = architecture(encoder_folder)
    own = TabStarNetwork(sizes, load_text_encoder(sizes.text_encoder))
    own.load_state_dict(weights)
    return own.eval()


def test_state_dict_has_the_official_names_and_shapes(network: TabStarNetwork) -> None:
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == TOLD["shapes"]


@pytest.mark.parametrize("n_targets", [1, 2, 3, 17])
def test_outputs_equal_the_official_ones(network: TabStarNetwork, n_targets: int) -> None:
    strings, numbers = network_inputs(n_rows=9, n_targets=n_targets, n_features=8)
    batch = own_batch(strings, numbers, n_targets, network.text_encoder.tokenizer)
    expected = torch.tensor(TOLD["outputs"][str(n_targets)])
    with torch.no_grad():
        seen = network(batch)
    assert seen.shape == (9, n_targets)
    assert expected.std() > 1e-3, "the oracle must not be constant"
    assert (seen - expected).abs().max() <= 1e-5


def test_cells_that_are_alike_are_merged_once_in_evaluation(network: TabStarNetwork) -> None:
    strings, numbers = network_inputs(n_rows=6, n_targets=2, n_features=5)
    batch = own_batch(strings, numbers.round(0).astype(np.float64), 2, network.text_encoder.tokenizer)
    twice = replace(batch, index=batch.index.repeat(2, 1), numbers=batch.numbers.repeat(2, 1))
    merged: list[int] = []
    network.double().numerical_fusion.register_forward_pre_hook(lambda _, given: merged.append(given[1].numel()))
    with torch.no_grad():
        once = network.elements(twice)
        network.training = True  # the parts stay in evaluation: there is no dropout
        each = network.elements(twice)
    assert merged == [len(set(zip(batch.index.flatten().tolist(), batch.numbers.flatten().tolist(), strict=True))), 84]
    torch.testing.assert_close(once, each, rtol=0, atol=1e-10)


def test_gradients_equal_the_official_ones_where_it_trains(network: TabStarNetwork) -> None:
    # In double precision: rounding of float32 would hide a wrong term behind a loose tolerance.
    strings, numbers = network_inputs(n_rows=5, n_targets=3, n_features=6)
    batch = own_batch(strings, numbers.astype(np.float64), 3, network.text_encoder.tokenizer)
    network.double()(batch).pow(2).sum().backward()
    trained = {name: p.grad for name, p in network.named_parameters() if p.requires_grad and "reg_head" not in name}
    assert any(name.startswith("text_encoder.encoder.layer.1.") for name in trained)
    assert not any(name.startswith("text_encoder.encoder.layer.0.") for name in trained)
    for name, gradient in trained.items():
        assert gradient is not None
        np.testing.assert_allclose(sketch(gradient), TOLD["gradients"][name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_each_unique_string_is_encoded_once(network: TabStarNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    strings, numbers = network_inputs(n_rows=9, n_targets=2, n_features=4)
    batch = own_batch(
        np.concatenate([strings, strings]),
        np.concatenate([numbers, numbers]),
        2,
        network.text_encoder.tokenizer,
    )
    seen = []
    forward = network.text_encoder.forward
    monkeypatch.setattr(
        network.text_encoder,
        "forward",
        lambda ids, lengths, *more: seen.append(len(lengths)) or forward(ids, lengths, *more),
    )
    network(batch)
    assert seen == [len(np.unique(strings))]


def test_rows_do_not_influence_each_other(network: TabStarNetwork) -> None:
    strings, numbers = network_inputs(n_rows=6, n_targets=2, n_features=4)
    tokenizer = network.text_encoder.tokenizer
    with torch.no_grad():
        together = network(own_batch(strings, numbers, 2, tokenizer))
        alone = torch.cat([network(own_batch(strings[i : i + 1], numbers[i : i + 1], 2, tokenizer)) for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_another_width_adds_a_projection(encoder_folder: Path) -> None:
    sizes = TabstarArchitecture(
        text_encoder=TextEncoderConfig(name=str(encoder_folder), unfreeze_layers=0),
        d_model=32, interaction_layers=1, interaction_heads=4, head_hidden=8, number_hidden=16, ffn_hidden=24,
        activation="gelu",
    )  # fmt: skip
    network = TabStarNetwork(sizes, load_text_encoder(sizes.text_encoder))
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes["text_projection.weight"] == (32, 384)
    assert shapes["numerical_fusion.scalar_embedder.0.weight"] == (16, 1)
    assert shapes["tabular_encoder.encoder.layers.0.linear1.weight"] == (24, 32)
    assert shapes["cls_head.layers.0.weight"] == (8, 32)
    strings, numbers = network_inputs(n_rows=2, n_targets=2, n_features=3)
    assert network(own_batch(strings, numbers, 2, network.text_encoder.tokenizer)).shape == (2, 2)


@pytest.mark.parametrize("key", ["fusion_heads", "interaction_heads"])
def test_heads_that_do_not_divide_the_width_are_refused(key: str) -> None:
    sizes = TabstarArchitecture(text_encoder=random_encoder(), interaction_heads=4).model_copy(update={key: 5})
    with pytest.raises(ConfigError, match=rf"{key}: 5 does not divide .* 32"):
        TabStarNetwork(sizes, load_text_encoder(sizes.text_encoder))


def random_encoder() -> TextEncoderConfig:
    return TextEncoderConfig(name="random", unfreeze_layers=0, random=RandomEncoder(hidden_size=32, layers=1))


def test_a_network_is_rebuilt_from_its_payload_and_weights(encoder_folder: Path, network: TabStarNetwork) -> None:
    sizes = architecture(encoder_folder)
    gone = sizes.text_encoder.model_copy(update={"name": "no/such-model"})
    rebuilt = TabStarNetwork(sizes, from_payload(encoder_payload(network.text_encoder), gone)).eval()
    rebuilt.load_state_dict(network.state_dict())
    strings, numbers = network_inputs(n_rows=4, n_targets=2, n_features=4)
    batch = own_batch(strings, numbers, 2, rebuilt.text_encoder.tokenizer)
    with torch.no_grad():
        assert torch.equal(rebuilt(batch), network(batch))


@pytest.fixture
def frozen() -> tuple[TabStarNetwork, StringTokens, list[str]]:
    torch.manual_seed(0)
    sizes = TabstarArchitecture(text_encoder=random_encoder(), interaction_layers=1, interaction_heads=2, dropout=0.0)
    network = TabStarNetwork(sizes, load_text_encoder(sizes.text_encoder))
    strings = [TEMPLATES[i % 2].format(i, i * i) for i in range(200)]
    return network, StringTokens({"t": JsonTokenizer(network.text_encoder.tokenizer, 512).encode(strings)}), strings


def cached_batch(tokens: StringTokens, string_ids: NDArray[np.int64]) -> TableBatch:
    token_ids, lengths = tokens.gather(string_ids)
    index = torch.arange(len(string_ids)).view(2, -1)
    return TableBatch(
        source="t", task="classification", string_ids=string_ids, lengths=lengths,
        token_ids=torch.from_numpy(token_ids), index=index, numbers=torch.zeros(index.shape),
        targets=torch.zeros(2, dtype=torch.int64), n_targets=2,
    )  # fmt: skip


def test_cached_vectors_equal_encoded_ones_and_do_not_depend_on_the_batch(
    frozen: tuple[TabStarNetwork, StringTokens, list[str]],
) -> None:
    network, tokens, _ = frozen
    batch = cached_batch(tokens, np.array([3, 70, 71, 140, 141, 199]))
    with torch.no_grad():
        direct = network.encode_strings(batch)
        network.text_lookup = TextCache(network.text_encoder, tokens)
        with torch.inference_mode():
            network.text_lookup(np.array([80]))
        cached = network.encode_strings(batch)
        other_order = TextCache(network.text_encoder, tokens)
        for number in (199, 3, 140, 141, 71, 70):
            other_order(np.array([number]))
    torch.testing.assert_close(cached, direct, rtol=0, atol=1e-5)
    assert torch.equal(other_order(batch.string_ids), cached)


def test_cached_vectors_take_part_in_training(frozen: tuple[TabStarNetwork, StringTokens, list[str]]) -> None:
    network, tokens, _ = frozen
    network.text_lookup = TextCache(network.text_encoder, tokens)
    batch = cached_batch(tokens, np.arange(6))
    with torch.inference_mode():
        network(batch)
    network(batch).sum().backward()
    assert network.tabular_encoder.layers[0].linear1.weight.grad is not None
    assert all(p.grad is None for p in network.text_encoder.parameters())


def test_new_weights_empty_the_cache(frozen: tuple[TabStarNetwork, StringTokens, list[str]]) -> None:
    network, tokens, _ = frozen
    cache = TextCache(network.text_encoder, tokens)
    before = cache(np.array([5]))
    state = {
        name: tensor + 0.5 if "word_embeddings" in name else tensor for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    assert not torch.equal(cache(np.array([5])), before)


def test_a_trained_encoder_is_not_looked_up(frozen: tuple[TabStarNetwork, StringTokens, list[str]]) -> None:
    network, tokens, _ = frozen
    network.text_lookup = TextCache(network.text_encoder, tokens)
    network.text_encoder.encoder.layer[-1].requires_grad_(True)
    network(cached_batch(tokens, np.arange(6))).sum().backward()
    assert not network.text_lookup.known.any()
    assert network.text_encoder.encoder.layer[-1].output.dense.weight.grad is not None


def test_bfloat16_autocast_runs_and_agrees_roughly(network: TabStarNetwork) -> None:
    strings, numbers = network_inputs(n_rows=4, n_targets=2, n_features=4)
    batch = own_batch(strings, numbers, 2, network.text_encoder.tokenizer)
    with torch.no_grad():
        exact = network(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(batch)
    assert torch.allclose(rough.float(), exact, atol=0.1)


def test_under_autocast_the_trained_layers_take_the_ragged_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = TextEncoderConfig(
        name="random", unfreeze_layers=1, random=RandomEncoder(hidden_size=32, layers=2), dropout=0.0
    )
    sizes = TabstarArchitecture(text_encoder=reads, interaction_layers=1, interaction_heads=2, dropout=0.0)
    network = TabStarNetwork(sizes, load_text_encoder(sizes.text_encoder))
    strings, numbers = network_inputs(n_rows=4, n_targets=2, n_features=4)
    batch = own_batch(strings, numbers, 2, network.text_encoder.tokenizer)
    exact = network(batch)
    made: list[int] = []
    layout = text_encoder.RaggedLayout
    monkeypatch.setattr(text_encoder, "has_kernel", lambda device, dtype: dtype == torch.bfloat16)
    monkeypatch.setattr(text_encoder, "RaggedLayout", lambda *given: made.append(1) or layout(*given))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(batch)
    assert len(made) == 2, "once for the frozen layers, once for the trained ones"
    assert torch.allclose(rough.float(), exact, atol=0.1)
    rough.float().sum().backward()
    assert network.text_encoder.encoder.layer[-1].output.dense.weight.grad.dtype == torch.float32
