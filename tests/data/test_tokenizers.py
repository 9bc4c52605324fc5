"""Tokens of bytes, letters and files equal those of other implementations, and a checkpoint restores them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from tabstar_lit.data.tokenizers import (
    ByteTokenizer,
    JsonTokenizer,
    LetterTokenizer,
    Tokenizer,
    tokenizer_from_payload,
)
from tabstar_lit.errors import DataError

TEXTS = st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=12), max_size=6)
PROTEINS = LetterTokenizer(
    {"|": 4} | {letter: 5 + i for i, letter in enumerate("ACDEFGHIKLMNPQRSTVWY")},
    {"pad": 0, "bos": 1, "eos": 2, "unknown": 3},
)
NUCLEOTIDES = LetterTokenizer({"A": 1, "C": 2, "G": 3, "T": 4}, {"pad": 0, "bos": 5, "mask": 6}, end=False)


def pairs(merges: int = 20) -> JsonTokenizer:
    """Train byte pairs as a user would, with GPT-2's only special token."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=257 + merges, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    trained.train_from_iterator(["the cat and the hat"] * 5, trainer)
    return JsonTokenizer(trained.to_str())


PAIRS = pairs()
ALL: dict[str, Tokenizer] = {"bytes": ByteTokenizer(), "proteins": PROTEINS, "nucleotides": NUCLEOTIDES, "pairs": PAIRS}


def listed(tokenizer: Tokenizer, strings: list[str]) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.encode(strings)]


@given(texts=TEXTS)
def test_bytes_are_those_of_byt5(texts: list[str]) -> None:
    """The same numbering (arXiv 2105.13626), but for its unknown token in the place of our first one."""
    other = ByT5Tokenizer(extra_ids=0)
    expected = [[*(byte + 3 for byte in text.encode()), other.eos_token_id] for text in texts]
    assert listed(ByteTokenizer(), texts) == expected
    plain = [text for text in texts if "<" not in text]  # there its special tokens could be spelt
    assert listed(ByteTokenizer(), plain) == [other(text)["input_ids"] for text in plain]


@given(texts=TEXTS, begin=st.booleans(), end=st.booleans())
def test_bytes_come_back(texts: list[str], begin: bool, end: bool) -> None:
    tokenizer = ByteTokenizer(begin=begin, end=end)
    assert [tokenizer.decode(row.tolist()) for row in tokenizer.encode(texts)] == texts


def test_long_strings_are_cut_between_their_special_tokens() -> None:
    assert listed(ByteTokenizer(4, begin=True), ["abcdef", "a", ""]) == [[2, 100, 101, 1], [2, 100, 1], [2, 1]]
    assert listed(ByteTokenizer(2, end=False), ["abc"]) == [[100, 101]]
    cut = ByteTokenizer(3)
    assert cut.decode(cut.encode(["aé"])[0].tolist()) == "a\ufffd"


def test_an_alphabet_of_amino_acids_is_read_as_its_table_says() -> None:
    assert PROTEINS.vocabulary_size == 25
    assert listed(PROTEINS, ["AC|Y", "", "AzBé"]) == [[1, 5, 6, 4, 24, 2], [1, 2], [1, 5, 3, 3, 3, 2]]
    assert PROTEINS.decode([1, 5, 4, 24, 2, 5, 5]) == "A|Y"
    assert PROTEINS.decode([5, 3, 1, 99, 0, 0]) == "A<unknown><bos><99>", "what is no sequence is not made to look so"


def test_a_letter_outside_an_alphabet_without_unknown_is_named() -> None:
    assert listed(NUCLEOTIDES, ["ACGT"]) == [[5, 1, 2, 3, 4]]
    assert NUCLEOTIDES.vocabulary_size == 7
    with pytest.raises(DataError, match=r"sequence 1 holds 'N' at position 2, counted from 0\. Allowed: ACGT\."):
        NUCLEOTIDES.encode(["ACGT", "ACNNT"])


@pytest.mark.parametrize(
    ("letters", "specials", "words"),
    [
        ({"A": 1, "é": 2}, {"pad": 0}, "single ASCII characters other than '\\?'; 'é' is not"),
        ({"A": 1, "CG": 2}, {"pad": 0}, "'CG' is not"),
        ({"A": 1, "?": 2}, {"pad": 0}, "'\\?' is not"),
        ({"A": 1, "C": 1}, {"pad": 0, "bos": 5, "eos": 6}, "has an id of its own"),
        ({"A": 0}, {"pad": 0, "bos": 5, "eos": 6}, "has an id of its own"),
        ({"A": 1}, {"pad": 0, "bos": 5}, "no special token 'eos'"),
        ({"A": 1}, {"bos": 5, "eos": 6}, "no special token 'pad'"),
    ],
)
def test_alphabets_that_cannot_be_read_back_are_refused(
    letters: dict[str, int], specials: dict[str, int], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        LetterTokenizer(letters, specials)


def test_a_file_of_byte_pairs_is_read_as_its_library_reads_it() -> None:
    tokenizer, other = PAIRS, tokenizers.Tokenizer.from_str(PAIRS.text)
    texts = ["the cat", "", "ünknown\nwords"]
    assert listed(tokenizer, texts) == [other.encode(text).ids for text in texts]
    assert [tokenizer.decode(ids) for ids in listed(tokenizer, texts)] == texts
    assert (tokenizer.vocabulary_size, dict(tokenizer.specials)) == (other.get_vocab_size(), {"eos": 0})
    assert tokenizer.decode([*other.encode("the").ids, 0, *other.encode("cat").ids]) == "the"


def test_a_text_that_is_no_tokenizer_is_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match=r"not the text of a tokenizer\.json: .*Save the tokenizer anew"):
        JsonTokenizer("{}").encode(["a"])


@pytest.mark.parametrize("name", ALL)
def test_checkpoints_and_workers_get_the_same_tokenizer(name: str) -> None:
    tokenizer, strings = ALL[name], ["ACGT", "A", ""]
    payload = json.loads(json.dumps(tokenizer.to_payload()))
    for other in (tokenizer_from_payload(payload), pickle.loads(pickle.dumps(tokenizer))):
        assert (other, other.fingerprint, other.vocabulary_size) == (
            tokenizer,
            tokenizer.fingerprint,
            tokenizer.vocabulary_size,
        )
        np.testing.assert_array_equal(other.encode(strings).flat, tokenizer.encode(strings).flat)


def test_fingerprints_see_all_that_ids_depend_on() -> None:
    ways: list[Any] = [*ALL.values(), ByteTokenizer(9), ByteTokenizer(begin=True), ByteTokenizer(end=False)]
    ways += [JsonTokenizer(PAIRS.text, 7)]
    ways += [LetterTokenizer({"A": 2, "C": 1}, {"pad": 0, "bos": 5, "mask": 6}, end=False)]
    assert len({way.fingerprint for way in ways}) == len(ways)


def test_a_kind_of_a_later_release_is_refused() -> None:
    with pytest.raises(DataError, match=r"no tokenizer is called 'byte'\. Did you mean 'bytes'\?"):
        tokenizer_from_payload({"kind": "byte"})
