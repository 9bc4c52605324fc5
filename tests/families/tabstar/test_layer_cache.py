"""What is remembered of frozen layers is what they compute, within its budget, whatever came first."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trained_tables import train

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.layer_cache import Budget, LayerCache
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
from tabstar_lit.families.tabstar.tables.corpora import corpus_paths
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
    cache = LayerCache(encoder, tokens)
    with torch.inference_mode():
        cache(batch_of(np.array([301])))
    states = cache(batch_of(asked))
    token_ids, lengths = tokens.gather(asked)
    torch.testing.assert_close(states, encoder.frozen_states(torch.from_numpy(token_ids), lengths), rtol=0, atol=1e-5)
    assert cache.known_strings == 700
    other = LayerCache(encoder, tokens)
    for number in (699, 4, 3, 300):
        other(batch_of(np.array([number])))
    assert torch.equal(other(batch_of(asked)), states)


def test_a_budget_holds_the_first_strings_and_nothing_of_others(encoder: TextEncoder, tokens: StringTokens) -> None:
    lengths = tokens.lengths_of(np.arange(len(tokens)))
    budget = int(lengths[:300].sum()) * encoder.width * 4
    cache = LayerCache(encoder, tokens, Budget(budget))
    assert cache(batch_of(np.array([0, 299]))) is not None
    assert cache(batch_of(np.array([0, 300]))) is None
    assert sum(tier.rows.nbytes for tier in cache._tiers) <= budget
    assert LayerCache(encoder, tokens, Budget(0))(batch_of(np.array([0]))) is None


def test_new_weights_empty_it(encoder: TextEncoder, tokens: StringTokens) -> None:
    cache = LayerCache(encoder, tokens)
    before = cache(batch_of(np.array([5])))
    state = {
        name: tensor + 0.5 if "word_embeddings" in name else tensor for name, tensor in encoder.state_dict().items()
    }
    encoder.load_state_dict(state)
    assert not torch.equal(cache(batch_of(np.array([5]))), before)


def test_states_come_in_the_precision_that_is_computed_in(encoder: TextEncoder, tokens: StringTokens) -> None:
    cache = LayerCache(encoder, tokens)
    exact = cache(batch_of(np.array([7, 8])))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = cache(batch_of(np.array([7, 8])))
    assert (exact.dtype, rough.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.1)


# -- Memory of the host, and a file -----------------------------------------------------------------------------------

EVERYWHERE = np.array([0, 99, 100, 140, 299, 300, 511, 512, 699])
"""Strings of a batch: the first hundred are to be on the device, two hundred on the host, all in a file."""


def bytes_of(strings: int, encoder: TextEncoder, tokens: StringTokens, *, size: int = 4) -> int:
    return int(tokens.lengths_of(np.arange(strings)).sum()) * encoder.width * size


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tmp_path / "tables[1].h5"


@pytest.fixture
def spread(encoder: TextEncoder, tokens: StringTokens) -> Budget:
    return Budget(*(bytes_of(n, encoder, tokens) for n in (100, 200)), disk=1 << 30)


def written(encoder: TextEncoder, tokens: StringTokens, corpus: Path) -> tuple[Tensor, Path]:
    """Return the states of a batch, and the file that was made of them."""
    states = LayerCache(encoder, tokens, Budget(disk=1 << 30), corpus)(batch_of(EVERYWHERE))
    (path,) = corpus.parent.iterdir()
    return states, path


def fails(*_: object) -> None:
    raise AssertionError("strings are encoded that had been before")


def test_states_are_the_same_wherever_they_are(
    encoder: TextEncoder, tokens: StringTokens, spread: Budget, corpus: Path
) -> None:
    expected = LayerCache(encoder, tokens)(batch_of(EVERYWHERE))
    cache = LayerCache(encoder, tokens, spread, corpus)
    assert torch.equal(cache(batch_of(EVERYWHERE)), expected)
    assert torch.equal(cache(batch_of(EVERYWHERE)), expected)
    rows = [len(tier.rows) for tier in cache._tiers]
    assert np.cumsum(rows)[-1] == tokens.lengths_of(np.arange(700)).sum()
    assert all(rows)
    assert cache.known_strings == 700
    for strings in ([5], [250], [600], [5, 600], [250, 600]):
        own = batch_of(np.array(strings))
        assert torch.equal(cache(own), LayerCache(encoder, tokens)(own))


def test_a_later_run_reads_them_from_the_file(
    encoder: TextEncoder, tokens: StringTokens, spread: Budget, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = LayerCache(encoder, tokens, spread, corpus)(batch_of(EVERYWHERE))
    monkeypatch.setattr(encoder, "frozen_states", fails)
    assert torch.equal(LayerCache(encoder, tokens, spread, corpus)(batch_of(EVERYWHERE)), expected)
    in_file_only = Budget(0, 0, 1 << 30)
    assert torch.equal(LayerCache(encoder, tokens, in_file_only, corpus)(batch_of(EVERYWHERE)), expected)
    in_memory_too = Budget(disk=1 << 30)
    assert torch.equal(LayerCache(encoder, tokens, in_memory_too, corpus)(batch_of(EVERYWHERE)), expected)


def test_a_small_file_holds_whole_groups(encoder: TextEncoder, tokens: StringTokens, corpus: Path) -> None:
    budget = Budget(0, 0, bytes_of(600, encoder, tokens))
    cache = LayerCache(encoder, tokens, budget, corpus)
    assert cache(batch_of(np.array([511]))) is not None
    assert cache(batch_of(np.array([512]))) is None
    assert LayerCache(encoder, tokens, Budget(0, 0, 100), corpus)(batch_of(np.array([0]))) is None


def test_other_weights_strings_and_precisions_have_other_files_and_old_ones_make_room(
    encoder: TextEncoder, tokens: StringTokens, corpus: Path
) -> None:
    size = bytes_of(700, encoder, tokens)
    budget = Budget(disk=int(2.3 * size))
    other_tokens = StringTokens({"t": JsonTokenizer(encoder.tokenizer, 200).encode(STRINGS[1:])})
    first = LayerCache(encoder, tokens, budget, corpus)
    expected = first(batch_of(EVERYWHERE))
    (old,) = corpus.parent.iterdir()
    os.utime(old, (0, 0))
    LayerCache(encoder, other_tokens, budget, corpus)(batch_of(EVERYWHERE[:-1]))
    assert len(list(corpus.parent.iterdir())) == 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = LayerCache(encoder, tokens, budget, corpus)(batch_of(EVERYWHERE))
        again = LayerCache(encoder, tokens, budget, corpus)(batch_of(EVERYWHERE))
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, again)
    left = list(corpus.parent.iterdir())
    assert old not in left
    assert sum(file.stat().st_size for file in left) <= budget.disk
    assert torch.equal(first(batch_of(EVERYWHERE)), expected)  # a run that still reads it goes on
    with torch.no_grad():
        next(encoder.encoder.layer[0].parameters()).add_(0.01)
    assert not torch.equal(LayerCache(encoder, tokens, budget, corpus)(batch_of(EVERYWHERE)), expected)


@pytest.mark.parametrize("part", ["rows", "checksums"])
def test_what_a_disk_has_changed_is_computed_again(
    encoder: TextEncoder, tokens: StringTokens, corpus: Path, part: str
) -> None:
    expected, path = written(encoder, tokens, corpus)
    with h5py.File(path, "r+") as file:
        file[part][1:3] = np.random.default_rng(0).integers(0, 250, file[part][1:3].shape)
    assert torch.equal(LayerCache(encoder, tokens, Budget(disk=1 << 30), corpus)(batch_of(EVERYWHERE)), expected)
    assert torch.equal(LayerCache(encoder, tokens, Budget(0, 0, 1 << 30), corpus)(batch_of(EVERYWHERE)), expected)


@pytest.mark.parametrize("damage", ["cut", "other kind", "other type", "other shape"])
def test_a_file_that_is_not_what_is_wanted_is_made_anew(
    encoder: TextEncoder, tokens: StringTokens, corpus: Path, damage: str
) -> None:
    expected, path = written(encoder, tokens, corpus)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "other shape":
                del file["checksums"]
                file["checksums"] = np.zeros(99)
            else:
                file.attrs["kind" if damage == "other kind" else "dtype"] = np.bytes_(b"other")
    assert torch.equal(LayerCache(encoder, tokens, Budget(0, 0, 1 << 30), corpus)(batch_of(EVERYWHERE)), expected)
    assert path.stat().st_size > bytes_of(700, encoder, tokens)


def test_without_a_place_for_the_file_memory_has_to_do(
    encoder: TextEncoder, tokens: StringTokens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = LayerCache(encoder, tokens, Budget(disk=1 << 30), tmp_path / "file" / "corpus.h5")
    assert torch.equal(cache(batch_of(EVERYWHERE)), LayerCache(encoder, tokens)(batch_of(EVERYWHERE)))
    assert "kept in memory only" in caplog.text


def test_what_is_kept_beside_a_corpus_is_no_corpus(tmp_path: Path) -> None:
    for name in ("a.h5", "a.tokens-0123456789ab.h5", "a.states-0123456789ab.h5"):
        (tmp_path / name).touch()
    assert corpus_paths(TabstarDataset(name="t", corpus=str(tmp_path / "*.h5"))) == [tmp_path / "a.h5"]


def test_a_training_ends_with_the_same_weights_wherever_states_are(tmp_path: Path) -> None:
    corpus = ensure_builtin(tmp_path / "builtin.h5")
    frozen = "model_config.architecture_config.text_encoder.unfreeze_layers=1"
    ways = {
        "memory": (),
        "file": ("dataset_config.text_cache_gb=0", "dataset_config.text_cache_disk_gb=0.1"),
        "read": ("dataset_config.text_cache_gb=0.001", "dataset_config.text_cache_disk_gb=0.1"),
    }
    weights = {}
    for name, told in ways.items():
        _, checkpoint = train(tmp_path / name, corpus, frozen, *told)
        weights[name] = load_weights(checkpoint)
        assert len(list(tmp_path.glob("builtin.states-*.h5"))) == bool(told)
    for name in ("file", "read"):
        assert weights[name].keys() == weights["memory"].keys()
        assert all(torch.equal(weights[name][key], own) for key, own in weights["memory"].items()), name
