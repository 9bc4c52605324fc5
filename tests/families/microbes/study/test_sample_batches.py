"""Batches of samples: each sequence once, nothing lost, nothing padded beyond the batch; targets and categories."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.study.batch import NO_ASV, NO_CLASS, START, SampleBatch
from tabstar_lit.families.microbes.study.data import MicrobesData, PairedPlan, paired
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.samples import taxon_shares
from tabstar_lit.families.microbes.study.study import Classes, Study


@pytest.fixture(scope="module")
def study() -> Study:
    return generate(n_subjects=12)


def data_of(study: Study, **config: Any) -> MicrobesData:
    labelled = config.pop("labelled", False)
    return MicrobesData(MicrobesDataset(name="test", **config), study, seed=1, labelled=labelled)


def batch_of(data: MicrobesData, rows: list[int]) -> SampleBatch:
    return data.val_dataset()[RowBatch(0, np.array(rows))]


def test_a_batch_holds_its_samples_and_each_sequence_once(study: Study) -> None:
    rows = [3, 17, 8]
    batch = batch_of(data_of(study), rows)
    letters = np.array(list("?ACGT"))
    texts = ["".join(letters[own[1:].numpy()]) for own in batch.sequences]
    assert len(set(map(tuple, batch.sequences.tolist()))) <= len(texts) == len(batch.asvs[batch.asvs >= 0].unique())
    assert (batch.sequences[:, 0] == START).all()
    for place, row in enumerate(rows):
        own = batch.asvs[place][batch.asvs[place] != NO_ASV]
        assert [texts[i] for i in own] == [study.sequences[i] for i in study.members[row]]
        counts = study.counts[study.members.offsets[row] : study.members.offsets[row + 1]]
        assert batch.counts[place, : len(own)].tolist() == counts.tolist()
        assert not batch.counts[place, len(own) :].any()
    assert batch.asvs.shape[1] == max(len(study.members[row]) for row in rows)
    assert study.distances is not None
    np.testing.assert_array_equal(batch.distances.numpy(), study.distances[np.ix_(rows, rows)])


def test_only_the_most_abundant_are_kept_of_rich_samples(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        batch = batch_of(data_of(study, max_asvs=10, max_bases=30), [0])
    assert "more than 10 ASVs" in caplog.text
    assert "cut after 30 bases" in caplog.text
    counts = study.counts[: study.members.offsets[1]]
    assert sorted(batch.counts[0].tolist()) == sorted(counts)[-10:]
    assert batch.sequences.shape == (10, 31)


def test_no_batch_holds_a_single_sample() -> None:
    assert [len(own) for own in paired(np.arange(9), 4)] == [4, 5]
    assert [len(own) for own in paired(np.arange(10), 4)] == [4, 4, 2]
    plan = PairedPlan(np.arange(33), 8, seed=0)
    first, again, second = plan.batches(0), plan.batches(0), plan.batches(1)
    assert sorted(np.concatenate([own.rows for own in first])) == list(range(33))
    assert all((a.rows == b.rows).all() for a, b in zip(first, again, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(first, second, strict=True))


def test_targets_are_on_their_own_scale_and_missing_ones_are_left_out(study: Study) -> None:
    phenotype = study.numbers["phenotype"].copy()
    phenotype[:5] = np.nan
    own = replace(study, numbers={"phenotype": phenotype})
    data = data_of(own, target="phenotype", labelled=True)
    served = np.concatenate([data.rows("train"), data.rows("val")])
    assert not set(range(5)) & set(served.tolist())
    assert len(served) == len(study) - 5
    batch = batch_of(data, [0, 20])
    assert batch.targets[0].isnan().all()
    assert float(batch.targets[1, 0]) == pytest.approx(phenotype[20])
    assert len(data_of(own, target="phenotype").rows("train")) > len(data.rows("train"))


def test_classes_are_numbered_as_they_occur(study: Study) -> None:
    column = Classes(np.array([2, 2, 0, -1] * 12, dtype=np.int32), ("b", "unused", "c"))
    own = replace(study, classes={**study.classes, "kind": column})
    data = data_of(own, target="kind")
    assert data.facts.classes == ("b", "c")
    assert data.facts.kind == "classification"
    assert batch_of(data, [0, 1, 2, 3]).targets.tolist() == [1, 1, 0, NO_CLASS]


def test_categories_are_numbered_by_training_samples(study: Study) -> None:
    data = data_of(study, categories="site")
    seen = {data.study.classes["site"].labels[i] for i in data.study.classes["site"].codes[data.rows("train")]}
    assert set(data.category_labels["site"]) == seen
    assert data.facts.categories == {"site": len(seen)}
    rare = Classes(np.full(len(study), 0, dtype=np.int32), ("common", "rare"))
    held_out = data.rows("val")[0]
    rare.codes[held_out] = 1
    data = data_of(replace(study, classes={**study.classes, "site": rare}), categories="site")
    assert data.facts.categories == {"site": 1}
    assert data.categories[held_out, 0] == 0
    assert batch_of(data, [int(held_out), 0]).categories[0].tolist() == [0]


def test_shares_of_taxa_sum_to_one(study: Study) -> None:
    taxa = np.arange(len(study.asv_ids), dtype=np.int32) % 3 - 1
    own = replace(study, asv_taxa=taxa, taxa=("p", "q"))
    shares = taxon_shares(own)
    assert shares is not None
    assert shares.sum(axis=1) == pytest.approx(1)
    batch = batch_of(data_of(own), [4, 5])
    assert batch.taxonomy is not None
    assert torch.equal(batch.taxonomy, torch.from_numpy(shares[[4, 5]]))
    assert taxon_shares(study) is None
    assert batch_of(data_of(study), [4, 5]).taxonomy is None


def test_the_fingerprint_follows_what_is_trained_on(study: Study) -> None:
    plain = data_of(study).fingerprint
    assert plain == data_of(study, baseline="none").fingerprint
    assert len({plain, data_of(study, target="phenotype").fingerprint, data_of(study, max_asvs=5).fingerprint}) == 3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"target": "statuss"}, "dataset_config.target: .* no column 'statuss'. Did you mean 'status'"),
        ({"target": ["status", "phenotype"]}, "'status' holds classes, and stands beside other targets"),
        ({"categories": "phenotype"}, "'phenotype' holds numbers"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(study: Study, config: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        data_of(study, **config)


def test_a_study_without_sequences_is_refused(study: Study) -> None:
    with pytest.raises(DataError, match=r"not their sequences, which the network reads. Name a FASTA"):
        data_of(replace(study, sequences=()))


def test_a_target_that_is_the_same_everywhere_is_refused(study: Study) -> None:
    same = Classes(np.zeros(len(study), dtype=np.int32), ("x", "y"))
    with pytest.raises(DataError, match=r"nothing to tell apart|There is nothing"):
        data_of(replace(study, classes={"kind": same, "subject": study.classes["subject"]}), target="kind")
