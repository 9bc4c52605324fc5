"""Token ids equal the tokenizer's own, are cached beside the corpus, and are served sorted by length."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tabstar_lit.data import hdf5
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import ByteTokenizer, JsonTokenizer
from tabstar_lit.data.tokens import StringTokens, cache_path, corpus_tokens
from tabstar_lit.nn import text_sources
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

VOCABULARIES = {
    "a": ("Target Feature: y\nFeature Value: no", "x", "Predictive Feature: long\nFeature Value: " + "word " * 90),
    "b": ("", "Predictive Feature: été\nFeature Value: 1.5 to 2 (Quantile 10 - 20%)"),
}


@pytest.fixture(scope="module")
def tokenizer() -> JsonTokenizer:
    return JsonTokenizer(load_tokenizer(TextEncoderConfig(name="random")), 50)


@pytest.mark.parametrize("max_tokens", [16, 512])
def test_tokens_equal_those_of_transformers(max_tokens: int) -> None:
    # The file of this tokenizer asks for padding to 128 tokens and truncation there: both must be overruled.
    own = AutoTokenizer.from_pretrained(text_sources._installed_folder())
    strings = [string for vocabulary in VOCABULARIES.values() for string in vocabulary]
    expected = own(strings, truncation=True, max_length=max_tokens)["input_ids"]
    table = JsonTokenizer(load_tokenizer(TextEncoderConfig(name="offline-minilm")), max_tokens).encode(strings)
    assert [ids.tolist() for ids in table] == expected


def test_strings_are_numbered_by_length_within_each_table(tokenizer: JsonTokenizer) -> None:
    tables = {name: tokenizer.encode(strings) for name, strings in VOCABULARIES.items()}
    strings = StringTokens(tables)
    assert len(strings) == 5
    assert (strings.first("a"), strings.first("b")) == (0, 3)
    assert strings.ranks("a").tolist() == [1, 0, 2]
    for name, table in tables.items():
        for code, rank in enumerate(strings.ranks(name)):
            token_ids, lengths = strings.gather(np.array([strings.first(name) + rank]))
            assert token_ids.tolist() == table[code].tolist()
            assert lengths == (len(token_ids),)


def test_gathered_strings_lie_end_to_end(tokenizer: JsonTokenizer) -> None:
    strings = StringTokens({name: tokenizer.encode(own) for name, own in VOCABULARIES.items()})
    token_ids, lengths = strings.gather(np.array([0, 4, 2]))
    assert lengths == (3, lengths[1], 50)
    assert lengths == tuple(strings.lengths_of(np.array([0, 4, 2])))
    one_by_one = [strings.gather(np.array([number]))[0] for number in (0, 4, 2)]
    assert token_ids.tolist() == np.concatenate(one_by_one).tolist()


def test_the_cache_is_used_and_grows(tokenizer: JsonTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "corpus.h5"
    calls: list[int] = []
    encode = JsonTokenizer.encode
    monkeypatch.setattr(JsonTokenizer, "encode", lambda self, own: calls.append(len(own)) or encode(self, own))
    corpus_tokens(corpus, {"a": VOCABULARIES["a"]}, tokenizer)
    assert calls == [3]
    both = corpus_tokens(corpus, VOCABULARIES, tokenizer)
    assert calls == [3, 2]
    again = corpus_tokens(corpus, VOCABULARIES, tokenizer)
    assert calls == [3, 2]
    for number in range(5):
        one, other = both.gather(np.array([number])), again.gather(np.array([number]))
        assert one[0].tolist() == other[0].tolist()


def test_another_tokenizer_length_or_vocabulary_is_not_taken_from_the_cache(
    tokenizer: JsonTokenizer, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.h5"
    long = corpus_tokens(corpus, VOCABULARIES, tokenizer).gather(np.array([2]))[1]
    short = corpus_tokens(corpus, VOCABULARIES, JsonTokenizer(tokenizer.text, 20)).gather(np.array([2]))[1]
    assert (long, short) == ((50,), (20,))
    changed = corpus_tokens(corpus, {"a": VOCABULARIES["b"]}, tokenizer)
    assert len(changed) == 2
    assert cache_path(corpus, tokenizer) != cache_path(corpus, JsonTokenizer(tokenizer.text + " ", 50))


def test_a_damaged_cache_is_made_again(
    tokenizer: JsonTokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "corpus.h5"
    corpus_tokens(corpus, VOCABULARIES, tokenizer)
    path = cache_path(corpus, tokenizer)
    path.write_bytes(path.read_bytes()[:700])
    assert len(corpus_tokens(corpus, VOCABULARIES, tokenizer)) == 5
    assert "made again" in caplog.text
    caplog.clear()
    corpus_tokens(corpus, VOCABULARIES, tokenizer)
    assert not caplog.text


def test_without_a_place_for_the_cache_training_goes_on(
    tokenizer: JsonTokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "corpus.h5"
    cache_path(corpus, tokenizer).mkdir()
    with caplog.at_level(logging.INFO):
        assert len(corpus_tokens(corpus, VOCABULARIES, tokenizer)) == 5
    assert "in memory only" in caplog.text


def test_the_cache_is_not_written_when_asked_not_to(tokenizer: JsonTokenizer, tmp_path: Path) -> None:
    assert len(corpus_tokens(tmp_path / "corpus.h5", VOCABULARIES, tokenizer, keep=False)) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_cache_of_earlier_releases_is_used(
    tokenizer: JsonTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name and its keys are hashes; a change of either would tokenise every corpus again."""
    corpus = tmp_path / "corpus.h5"
    name = hashlib.sha256(f"50\n{tokenizer.text}".encode()).hexdigest()[:12]
    with hdf5.atomic_file(tmp_path / f"corpus.tokens-{name}.h5") as file:
        for strings in VOCABULARIES.values():
            table = tokenizer.encode(strings)
            group = file.create_group(hashlib.sha256("\0".join(strings).encode()).hexdigest())
            hdf5.write_array(group, "ids", table.flat)
            hdf5.write_array(group, "offsets", table.offsets)
        hdf5.write_text(file, "kind", "tabstar_lit.tokens")
        file.attrs["schema_version"] = 1
    expected = corpus_tokens(corpus, VOCABULARIES, JsonTokenizer(tokenizer.text, 50), keep=False)
    monkeypatch.setattr(JsonTokenizer, "encode", lambda self, own: pytest.fail("tokenised again"))
    kept = corpus_tokens(corpus, VOCABULARIES, tokenizer)
    assert kept.gather(np.arange(5))[0].tolist() == expected.gather(np.arange(5))[0].tolist()


def test_strings_that_hold_the_separator_are_kept_apart(tmp_path: Path) -> None:
    vocabularies = {"one": ["a\0b"], "two": ["a", "b"], "three": ["a", "\0b"], "four": ["a\0", "b"]}
    for _ in range(2):  # made, then read from the cache
        strings = corpus_tokens(tmp_path / "c.h5", vocabularies, ByteTokenizer(end=False))
        lengths = {
            name: strings.gather(np.arange(len(own)) + strings.first(name))[1] for name, own in vocabularies.items()
        }
        assert lengths == {"one": (3,), "two": (1, 1), "three": (1, 2), "four": (1, 2)}


def test_no_tables_are_no_strings() -> None:
    assert len(StringTokens({})) == 0
    strings = StringTokens({"empty": Ragged.of([], np.int32), "blank": Ragged.of([[]], np.int32)})
    token_ids, lengths = strings.gather(np.array([0]))
    assert (len(strings), token_ids.shape, lengths) == (1, (0,), (0,))
