"""Splits by document, shares of domains, and batches that are a function of (seed, epoch)."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_made_texts import make_text_corpus, trees, write_texts

from tabstar_lit.data.tokenizers import ByteTokenizer
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text.batch import TokenBatch
from tabstar_lit.families.experts.text.converter import convert_text
from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.data import TextData
from tabstar_lit.families.experts.text.dataset_config import TextDataset
from tabstar_lit.families.experts.text.location import open_corpus

FEW, MANY = trees(30), trees(300, first=1000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TextCorpus:
    return make_text_corpus(tmp_path_factory.mktemp("corpus"), {"few": FEW, "many": MANY})


def data_of(corpus: TextCorpus, *, batch_size: int = 8, seed: int = 0, **options: object) -> TextData:
    config = TextDataset(name="test", **({"context_length": 64} | options))
    return TextData(config, corpus, batch_size=batch_size, seed=seed)


def texts_of(batches: list[TokenBatch]) -> list[str]:
    """Return the documents of padded rows that are shorter than a row, read back from their tokens."""
    tokenizer = ByteTokenizer()
    return [
        tokenizer.decode(row[row >= 0].tolist()) for batch in batches for row in batch.targets.numpy().astype(np.int64)
    ]


def validation(data: TextData) -> list[TokenBatch]:
    return [data.val_dataset()[key] for key in data.val_plan().batches(0)]


def training(data: TextData, epoch: int = 0) -> list[TokenBatch]:
    return [data.train_dataset()[key] for key in data.train_plan().batches(epoch)]


def test_no_document_is_on_both_sides_and_all_are_on_one(corpus: TextCorpus) -> None:
    data = data_of(corpus, documents="padded", context_length=512, strategy="proportional", val_split=0.3)
    trained, validated = texts_of(training(data)), texts_of(validation(data))
    assert sorted([*trained, *validated]) == sorted([*FEW, *MANY])
    assert 0.2 < len(validated) / 330 < 0.4


def test_appended_lines_move_no_document(tmp_path: Path) -> None:
    root = write_texts(tmp_path / "t", {"few": FEW, "many": MANY})
    sides = []
    for more in ([], trees(40, first=5000)):
        write_texts(root, {"few": [*more[:20], *FEW, *more[20:]]})
        convert_text(root, tmp_path / "c.h5")
        data = data_of(TextCorpus.open(tmp_path / "c.h5"), documents="padded", context_length=512, val_split=0.3)
        sides.append(set(texts_of(validation(data))))
    before, after = sides
    assert before < after
    assert after - before <= set(trees(40, first=5000))


def test_another_seed_of_the_split_and_no_other_seed_moves_documents(corpus: TextCorpus) -> None:
    first, same, other = (
        set(texts_of(validation(data_of(corpus, documents="padded", context_length=512, seed=seed, split_seed=split))))
        for seed, split in ((0, 42), (1, 42), (0, 43))
    )
    assert first == same != other


def test_a_contiguous_split_takes_the_last_documents(corpus: TextCorpus) -> None:
    data = data_of(corpus, documents="padded", context_length=512, split="contiguous", val_split=0.2)
    validated = texts_of(validation(data))
    for texts in (FEW, MANY):
        own = [text for text in validated if text in texts]
        assert own == texts[-len(own) :]
        assert sum(map(len, own)) / sum(map(len, texts)) == pytest.approx(0.2, abs=1 / len(texts) + 0.03)


def test_validation_batches_are_of_one_domain_and_have_every_byte(corpus: TextCorpus) -> None:
    for documents in ("packed", "padded", "joined"):
        data = data_of(corpus, documents=documents)
        batches = validation(data)
        assert {batch.source for batch in batches} == {"few", "many"}
        for batch in batches:
            assert {data.names[i] for i in batch.domains.tolist()} == {batch.source}
        ids = corpus.load("many").ids
        assert sum(int(batch.n_bytes.sum()) for batch in batches if batch.source == "many") == sum(
            int(n) for n, side in zip(corpus.load("many").n_bytes, data_sides(data, ids), strict=True) if side
        )


def data_sides(data: TextData, ids: np.ndarray) -> list[bool]:
    from tabstar_lit.data.splits import Split

    return [bool(side) for side in Split(data.config.split_seed, {"val": data.config.val_split}).sides(ids)]


@pytest.mark.parametrize(("strategy", "share"), [("uniform", 0.5), ("proportional", None), ("temperature", None)])
def test_shares_of_domains(corpus: TextCorpus, strategy: str, share: float | None) -> None:
    options = {"temperature": 2.0} if strategy == "temperature" else {}
    data = data_of(corpus, strategy=strategy, rows_per_epoch=200, **options)
    counts = Counter(int(domain) for batch in training(data) for domain in batch.domains)
    sizes = [len(side.rows.numbers) for side in data._train]
    if share is None:
        exponent = 1.0 if strategy == "proportional" else 0.5
        share = sizes[0] ** exponent / sum(size**exponent for size in sizes)
    assert counts[0] / sum(counts.values()) == pytest.approx(share, abs=0.01)
    assert sum(counts.values()) == 200


def test_epochs_are_functions_of_the_seed(corpus: TextCorpus) -> None:
    for documents in ("packed", "joined"):
        first, again, later, other = (
            torch.cat([batch.tokens for batch in training(data_of(corpus, documents=documents, seed=seed), epoch)])
            for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, later)
        assert not torch.equal(first, other)


def test_an_endless_text_is_cut_elsewhere_in_each_epoch(corpus: TextCorpus) -> None:
    plan = data_of(corpus, documents="joined").train_plan()
    places = [{int(row) % 64 for key in plan.batches(epoch) for part in key for row in part.rows} for epoch in range(9)]
    assert all(len(own) == 1 for own in places)
    assert len(set.union(*places)) > 5
    for epoch in range(9):
        assert len(plan.batches(epoch)) == len(plan)
    first = plan.batches(0)[0]
    assert plan.size(first) == 8
    assert sum(map(plan.size, plan.split(first))) == 8


def test_at_most_so_many_documents_the_same_whatever_is_appended(corpus: TextCorpus) -> None:
    data = data_of(corpus, documents="padded", context_length=512, max_samples=20, strategy="proportional")
    used = [*texts_of(training(data)), *texts_of(validation(data))]
    assert len(used) == 40
    assert len(set(used) & set(FEW)) == 20


def test_domains_are_chosen_by_name(corpus: TextCorpus) -> None:
    assert data_of(corpus, domains=("many",)).names == ("many",)
    with pytest.raises(DataError, match=r"dataset_config\.domains: .* has no domain 'manny'\. Did you mean 'many'"):
        data_of(corpus, domains=("manny",))


def test_a_domain_too_small_to_split_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = make_text_corpus(tmp_path, {"one": ["a single document"], "many": MANY})
    with caplog.at_level(logging.WARNING):
        data = data_of(corpus)
    assert "Domain 'one': none of its 1 documents validates" in caplog.text
    assert {batch.source for batch in validation(data)} == {"many"}
    with pytest.raises(DataError, match="no document of any domain validates"):
        data_of(corpus, domains=("one",))
    with pytest.raises(DataError, match="leaves none to train on"):
        data_of(corpus, domains=("one",), val_split=0.99999)


def test_a_text_shorter_than_its_rows_is_refused_where_documents_are_joined(corpus: TextCorpus) -> None:
    with pytest.raises(DataError, match=r"domain 'few' has .* less than two rows of 4096"):
        data_of(corpus, documents="joined", context_length=4096)


def test_the_fingerprint_follows_what_is_served(corpus: TextCorpus) -> None:
    first = data_of(corpus).fingerprint
    assert data_of(corpus, seed=5, dataloader_kwargs={"num_workers": 0}).fingerprint == first
    assert data_of(corpus, split_seed=1).fingerprint != first
    assert data_of(corpus, domains=("few",)).fingerprint != first


def test_a_folder_is_converted_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "data/raw", {"few": FEW})
    config = TextDataset(name="mine", corpus="raw")
    opened = open_corpus(config)
    assert opened.path == Path("data/text_mine.h5")
    assert opened.domains == ("few",)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert open_corpus(TextDataset(name="other", corpus="raw"), scratch).path == scratch / "text_other.h5"
    with pytest.raises(DataError, match=r"tokenizer is 'gpt2', but .*text_mine\.h5 is a corpus"):
        open_corpus(TextDataset(name="mine", corpus=str(opened.path), tokenizer="gpt2"))
    with pytest.raises(DataError, match=r"(?s)corpus: none\.h5: no such file or folder, neither in .*convert text"):
        open_corpus(TextDataset(name="mine", corpus="none.h5"))
