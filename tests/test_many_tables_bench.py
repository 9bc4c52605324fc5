"""The benchmark of a corpus of many tables runs on a few, and its figures are what they are called."""

from __future__ import annotations

from pathlib import Path

from benchmarks.many_tables import make_corpus, opened

from tabstar_lit.families.tabstar.tables.corpus import Corpus


def test_a_corpus_of_tables_of_their_own_is_opened_and_read(tmp_path: Path) -> None:
    path = make_corpus(tmp_path, count=3, rows=60)
    corpus = Corpus.open(path)
    assert list(corpus.tables) == ["t000", "t001", "t002"]
    words = [set(corpus.load(name).vocabulary[1:]) for name in corpus.tables]
    assert not words[0] & words[1]
    found = opened(str(path), batches=4)
    assert found.seconds > 0
    assert found.rows_per_s > 0
    assert 0.05 < found.gigabytes < 20
    assert make_corpus(tmp_path, count=3, rows=60) == path
