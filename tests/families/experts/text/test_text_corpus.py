"""Corpora of text: tokens are what the tokenizer says, unchanged domains are kept, damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tokenizers
from hand_made_texts import make_text_corpus, trees, write_texts

from tabstar_lit.data.splits import document_ids
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text import converter
from tabstar_lit.families.experts.text.converter import convert_text
from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.show import describe
from tabstar_lit.families.experts.text.tokenizing import Framing

DOMAINS = {"forest": trees(30), "town": ["Straße 1", "naïve café", "plain", "plain"]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TextCorpus:
    return make_text_corpus(tmp_path_factory.mktemp("corpus"), DOMAINS)


def test_bytes_are_tokens_between_begin_and_end(corpus: TextCorpus) -> None:
    town = corpus.load("town")
    assert town.tokens[0].tolist() == [2, *(byte + 3 for byte in "Straße 1".encode()), 1]
    assert town.n_bytes.tolist() == [9, 12, 5, 5]
    assert town.ids.tolist() == document_ids(DOMAINS["town"]).tolist()
    assert town.sources[0]["documents"] == 4
    framing = Framing(corpus.tokenizer)
    forest = corpus.load("forest")
    assert [framing.decode(forest.tokens[row].tolist()) for row in range(30)] == DOMAINS["forest"]


def test_small_types_are_stored(corpus: TextCorpus) -> None:
    assert corpus.load("town").tokens.flat.dtype == np.uint16
    assert corpus.tokenizer.vocabulary_size == 259


def test_repeated_documents_are_counted(tmp_path: Path) -> None:
    report = convert_text(write_texts(tmp_path / "t", DOMAINS), tmp_path / "c.h5")
    assert [(row.name, row.documents, row.repeated, row.n_bytes) for row in report.domains] == [
        ("forest", 30, 0, sum(map(len, DOMAINS["forest"]))),
        ("town", 4, 1, 31),
    ]


def test_what_did_not_change_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = write_texts(tmp_path / "t", DOMAINS), tmp_path / "c.h5"
    assert convert_text(root, path).written
    first = path.read_bytes()
    assert not convert_text(root, path).written
    assert path.read_bytes() == first
    (root / "town" / "more.jsonl").write_text('{"text": "new"}\n')
    read: list[str] = []
    original = converter.read_texts
    monkeypatch.setattr(converter, "read_texts", lambda file: read.append(file.parent.name) or original(file))
    report = convert_text(root, path)
    assert [(row.name, row.kept, row.documents) for row in report.domains] == [("forest", True, 30), ("town", False, 5)]
    assert set(read) == {"town"}


def test_a_damaged_domain_is_made_again(tmp_path: Path) -> None:
    root, path = write_texts(tmp_path / "t", DOMAINS), tmp_path / "c.h5"
    convert_text(root, path)
    fingerprint = TextCorpus.open(path).fingerprint
    with h5py.File(path, "r+") as file:
        file["domains/town/n_bytes"][0] = 99
    with pytest.raises(DataError, match="domain 'town' differs from its checksum"):
        TextCorpus.open(path).load("town")
    report = convert_text(root, path)
    assert [row.kept for row in report.domains] == [True, False]
    assert TextCorpus.open(path).fingerprint == fingerprint


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    root = write_texts(tmp_path / "t", DOMAINS)
    (tmp_path / "c.h5").write_text("precious")
    with pytest.raises(DataError, match="not overwritten"):
        convert_text(root, tmp_path / "c.h5")
    assert (tmp_path / "c.h5").read_text() == "precious"


def test_a_domain_of_blank_lines_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    root = write_texts(tmp_path / "t", {"void": []})
    (root / "void" / "void.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match=r"the domain 'void' has no document: void\.jsonl is empty"):
        convert_text(root, tmp_path / "c.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]


def test_a_trained_tokenizer_reads_every_text_and_is_kept_with_the_corpus(tmp_path: Path) -> None:
    root, path = write_texts(tmp_path / "t", DOMAINS), tmp_path / "c.h5"
    convert_text(root, path, bpe=300)
    corpus = TextCorpus.open(path)
    framing = Framing(corpus.tokenizer)
    assert 259 < corpus.tokenizer.vocabulary_size <= 300
    forest = corpus.load("forest")
    assert [framing.decode(forest.tokens[row].tolist()) for row in range(30)] == DOMAINS["forest"]
    assert len(forest.tokens.flat) < forest.n_bytes.sum() * 0.8
    unseen = "ΑΒΓ 日本 \x00 🦉"
    assert framing.decode(framing.encode([unseen])[0].tolist()) == unseen
    assert not convert_text(root, path, bpe=300).written
    assert convert_text(root, path, bpe=290).written
    with pytest.raises(DataError, match="a vocabulary of 200 is too small"):
        convert_text(root, tmp_path / "d.h5", bpe=200)


def gpt2_like(texts: list[str], *, frame: bool) -> str:
    """Return a tokenizer as GPT-2's is, with one special token for begin and end, which it may put around texts."""
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator(texts, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    if frame:
        model.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
        )
    return str(model.to_str())


@pytest.mark.parametrize("frame", [False, True])
def test_a_tokenizer_in_a_file_or_folder_frames_each_document_once(tmp_path: Path, frame: bool) -> None:
    texts = DOMAINS["forest"]
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(gpt2_like(texts, frame=frame))
    oracle = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = [[0, *oracle.encode(text, add_special_tokens=False).ids, 0] for text in texts]
    for number, name in enumerate((str(folder), str(folder / "tokenizer.json"))):
        convert_text(write_texts(tmp_path / "t", DOMAINS), tmp_path / f"{number}.h5", tokenizer=name)
        corpus = TextCorpus.open(tmp_path / f"{number}.h5")
        tokens = corpus.load("forest").tokens
        assert [tokens[row].tolist() for row in range(30)] == expected
        assert Framing(corpus.tokenizer).prompt("ash ") == [0, *oracle.encode("ash ", add_special_tokens=False).ids]


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    own = json.loads(gpt2_like(["a b c"], frame=False).replace("<|endoftext|>", "<|nothing|>"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(own))
    with pytest.raises(DataError, match="no token that ends a text"):
        convert_text(write_texts(tmp_path / "t", DOMAINS), tmp_path / "c.h5", tokenizer=str(tmp_path))


def test_a_tokenizer_that_is_nowhere_is_refused_with_what_works_offline(tmp_path: Path) -> None:
    root = write_texts(tmp_path / "t", DOMAINS)
    for name in ("no/such-tokenizer", str(tmp_path)):
        with pytest.raises(DataError, match=r"(?s)Use 'bytes', which needs no file.*--train-bpe 8192"):
            convert_text(root, tmp_path / "c.h5", tokenizer=name)


def test_a_corpus_is_described(corpus: TextCorpus) -> None:
    text = describe(corpus.path)
    assert "2 domains, tokenizer bytes of 259 tokens" in text
    assert "town: 'Straße 1'" in text
    assert "forest: '0: ash.'" in text
