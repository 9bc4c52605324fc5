"""Tokenizers by name, and the tokens around each document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tabstar_lit.data.tokenizers import ByteTokenizer, JsonTokenizer, tokenizer_from_payload
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text.bpe import SMALLEST, SPECIALS, train_bpe
from tabstar_lit.families.experts.text.tokenizing import Framing, find_tokenizer

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", "naïve café"]


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as GPT-2's first release has it: a vocabulary and merges, no ``tokenizer.json``."""
    folder = tmp_path_factory.mktemp("gpt2")
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator(TEXTS, vocab_size=290, special_tokens=["<|endoftext|>"], show_progress=False)
    model.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    return folder


def test_a_folder_in_the_older_format_is_read_through_transformers(gpt2_folder: Path) -> None:
    oracle = tokenizers.ByteLevelBPETokenizer.from_file(
        str(gpt2_folder / "vocab.json"), str(gpt2_folder / "merges.txt")
    )
    framing = Framing(find_tokenizer(str(gpt2_folder)))
    encoded = framing.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        assert encoded[row].tolist() == [framing.begin, *oracle.encode(text).ids, framing.end]
        assert framing.decode(encoded[row].tolist()) == text
    assert framing.begin == framing.end == oracle.token_to_id("<|endoftext|>")


def test_a_name_on_the_hub_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = train_bpe(TEXTS, 270)
    path = tmp_path / "downloaded.json"
    path.write_text(own.text)
    asked: list[tuple[str, str]] = []

    def download(name: str, file: str, **_: Any) -> str:
        asked.append((name, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert find_tokenizer("openai-community/gpt2").fingerprint == own.fingerprint
    assert asked == [("openai-community/gpt2", "tokenizer.json")]
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(path))
    assert find_tokenizer("openai-community/gpt2").fingerprint == own.fingerprint
    assert len(asked) == 1


def test_a_hub_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(DataError, match=r"'gpt2' is no file or folder, .* no route to host\nUse 'bytes'"):
        find_tokenizer("gpt2")


@pytest.mark.parametrize("content", ["", "{", '{"model": 3}', "\udcff"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(DataError, match=r"tokenizer"):
        find_tokenizer(str(path))


def test_bytes_need_no_file() -> None:
    tokenizer = find_tokenizer("bytes")
    assert tokenizer == ByteTokenizer(begin=True)
    assert tokenizer_from_payload(tokenizer.to_payload()) == tokenizer


@settings(max_examples=60)
@given(texts=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
def test_any_text_comes_back_from_bytes_and_from_pairs(texts: list[str]) -> None:
    texts = [text for text in texts if not any("\ud800" <= letter <= "\udfff" for letter in text)]
    for tokenizer in (ByteTokenizer(begin=True), PAIRS):
        framing = Framing(tokenizer)
        encoded = framing.encode(texts)
        for row, text in enumerate(texts):
            tokens = encoded[row].tolist()
            assert (tokens[0], tokens[-1]) == (framing.begin, framing.end)
            if not any(special in text for special in SPECIALS):
                assert framing.decode(tokens) == text
                assert framing.prompt(text) == tokens[:-1]


PAIRS = train_bpe(TEXTS, 280)


def test_trained_pairs_join_what_is_frequent() -> None:
    ids = [PAIRS.encode([text])[0].tolist() for text in TEXTS]
    assert all(len(own) < len(text.encode()) for own, text in zip(ids, TEXTS, strict=True))
    assert PAIRS.specials == {"pad": 0, "eos": 1, "bos": 2}
    assert train_bpe(TEXTS, 280).fingerprint == PAIRS.fingerprint
    assert train_bpe(TEXTS, SMALLEST).vocabulary_size == SMALLEST
    assert isinstance(PAIRS, JsonTokenizer)
