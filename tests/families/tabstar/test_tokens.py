"""Token ids equal the tokenizer's own, are cached beside the corpus, and are served sorted by length."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tabstar_lit.families.tabstar import tokens
from tabstar_lit.families.tabstar.tokens import StringTokens, cache_path, corpus_tokens, tokenize
from tabstar_lit.nn import text_sources
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

VOCABULARIES = {
    "a": ("Target Feature: y\nFeature Value: no", "x", "Predictive Feature: long\nFeature Value: " + "word " * 90),
    "b": ("", "Predictive Feature: été\nFeature Value: 1.5 to 2 (Quantile 10 - 20%)"),
}


@pytest.fixture(scope="module")
def tokenizer() -> str:
    return load_tokenizer(TextEncoderConfig(name="random"))


@pytest.mark.parametrize("max_tokens", [16, 512])
def test_tokens_equal_those_of_transformers(max_tokens: int) -> None:
    # The file of this tokenizer asks for padding to 128 tokens and truncation there: both must be overruled.
    own = AutoTokenizer.from_pretrained(text_sources._installed_folder())
    strings = [string for vocabulary in VOCABULARIES.values() for string in vocabulary]
    expected = own(strings, truncation=True, max_length=max_tokens)["input_ids"]
    table = tokenize(strings, load_tokenizer(TextEncoderConfig(name="offline-minilm")), max_tokens)
    assert [table.ids[i:j].tolist() for i, j in zip(table.offsets[:-1], table.offsets[1:], strict=True)] == expected


def test_strings_are_numbered_by_length_within_each_table(tokenizer: str) -> None:
    tables = {name: tokenize(strings, tokenizer, 50) for name, strings in VOCABULARIES.items()}
    strings = StringTokens(tables)
    assert len(strings) == 5
    assert (strings.first("a"), strings.first("b")) == (0, 3)
    assert strings.ranks("a").tolist() == [1, 0, 2]
    for name, table in tables.items():
        for code, rank in enumerate(strings.ranks(name)):
            token_ids, lengths = strings.gather(np.array([strings.first(name) + rank]))
            assert token_ids[0].tolist() == table.ids[table.offsets[code] : table.offsets[code + 1]].tolist()
            assert lengths == (token_ids.shape[1],)


def test_gathered_strings_are_padded_with_zeros(tokenizer: str) -> None:
    strings = StringTokens({name: tokenize(own, tokenizer, 50) for name, own in VOCABULARIES.items()})
    token_ids, lengths = strings.gather(np.array([0, 4, 2]))
    assert token_ids.shape == (3, 50)
    assert lengths == (3, lengths[1], 50)
    for row, length in zip(token_ids, lengths, strict=True):
        assert (row[:length] > 0).all()
        assert (row[length:] == 0).all()


def test_the_cache_is_used_and_grows(tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "corpus.h5"
    calls: list[int] = []
    monkeypatch.setattr(tokens, "tokenize", lambda *args: calls.append(len(args[0])) or tokenize(*args))
    corpus_tokens(corpus, {"a": VOCABULARIES["a"]}, tokenizer, 50)
    assert calls == [3]
    both = corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)
    assert calls == [3, 2]
    again = corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)
    assert calls == [3, 2]
    for number in range(5):
        one, other = both.gather(np.array([number])), again.gather(np.array([number]))
        assert one[0].tolist() == other[0].tolist()


def test_another_tokenizer_length_or_vocabulary_is_not_taken_from_the_cache(tokenizer: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.h5"
    long = corpus_tokens(corpus, VOCABULARIES, tokenizer, 50).gather(np.array([2]))[1]
    short = corpus_tokens(corpus, VOCABULARIES, tokenizer, 20).gather(np.array([2]))[1]
    assert (long, short) == ((50,), (20,))
    changed = corpus_tokens(corpus, {"a": VOCABULARIES["b"]}, tokenizer, 50)
    assert len(changed) == 2
    assert cache_path(corpus, tokenizer, 50) != cache_path(corpus, tokenizer + " ", 50)


def test_a_damaged_cache_is_made_again(tokenizer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = tmp_path / "corpus.h5"
    corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)
    path = cache_path(corpus, tokenizer, 50)
    path.write_bytes(path.read_bytes()[:700])
    assert len(corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)) == 5
    assert "made again" in caplog.text
    caplog.clear()
    corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)
    assert not caplog.text


def test_without_a_place_for_the_cache_training_goes_on(
    tokenizer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "corpus.h5"
    cache_path(corpus, tokenizer, 50).mkdir()
    with caplog.at_level(logging.INFO):
        assert len(corpus_tokens(corpus, VOCABULARIES, tokenizer, 50)) == 5
    assert "in memory only" in caplog.text


def test_the_cache_is_not_written_when_asked_not_to(tokenizer: str, tmp_path: Path) -> None:
    assert len(corpus_tokens(tmp_path / "corpus.h5", VOCABULARIES, tokenizer, 50, keep=False)) == 5
    assert list(tmp_path.iterdir()) == []
