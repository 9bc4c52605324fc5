"""Splits of samples: groups are never parted, shares and classes are even, and what is asked for is there."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.config import SampleFolds, SampleLabels, SampleSplit
from tabstar_lit.families.microbes.study.splits import keep_labels, split_samples

GROUPS = [f"subject {i // 5}" for i in range(120)]  # 24 subjects with 5 samples
SAMPLES = [f"sample {i}" for i in range(120)]
CLASSES = np.array([int(i // 5 < 11) for i in range(120)], dtype=np.int64)


@pytest.mark.parametrize("rule", ["dealt", "hash"])
def test_groups_are_never_parted(rule: str) -> None:
    for seed in range(5):
        sides = split_samples(SAMPLES, GROUPS, SampleSplit(rule=rule, val=0.2, test=0.2, seed=seed), None, CLASSES)
        for group in set(GROUPS):
            assert len(set(sides[[own == group for own in GROUPS]])) == 1


def test_dealt_sides_have_their_shares_and_classes() -> None:
    for seed in range(5):
        sides = split_samples(SAMPLES, GROUPS, SampleSplit(val=0.25, test=0.25, seed=seed), None, CLASSES)
        for side, n_groups in ((0, 12), (1, 6), (2, 6)):
            assert abs((sides == side).sum() / 5 - n_groups) <= 1
            assert abs(CLASSES[sides == side].mean() - CLASSES.mean()) < 0.12


def test_every_sample_is_tested_in_one_fold() -> None:
    split = SampleSplit(val=0.2)
    tested = np.stack([split_samples(SAMPLES, GROUPS, split, SampleFolds(n=5, fold=k), CLASSES) == 2 for k in range(5)])
    assert (tested.sum(axis=0) == 1).all()
    assert set((tested.sum(axis=1) / 5).tolist()) <= {4, 5}
    for own in tested:
        assert 0 < CLASSES[own].mean() < 1


def test_a_hashed_split_does_not_move_when_samples_are_added() -> None:
    split = SampleSplit(rule="hash", val=0.2, test=0.2)
    some = split_samples(SAMPLES[:60], GROUPS[:60], split)
    assert (split_samples(SAMPLES, GROUPS, split)[:60] == some).all()


def test_the_order_of_samples_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(len(SAMPLES))
    for rule in ("dealt", "hash"):
        split = SampleSplit(rule=rule, val=0.2, test=0.2)
        sides = split_samples(SAMPLES, GROUPS, split, None, CLASSES)
        shuffled = split_samples([SAMPLES[i] for i in order], [GROUPS[i] for i in order], split, None, CLASSES[order])
        assert (shuffled == sides[order]).all()


def test_parting_samples_of_a_group_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        split_samples(SAMPLES, GROUPS, SampleSplit())
        assert not caplog.records
        sides = split_samples(SAMPLES, GROUPS, SampleSplit(by="sample", val=0.3))
    assert "120 samples of 24 groups" in caplog.text
    assert any(len(set(sides[[own == group for own in GROUPS]])) > 1 for group in set(GROUPS))


def test_a_side_without_groups_is_refused() -> None:
    with pytest.raises(DataError, match="of 2 groups none is in the test split"):
        split_samples(SAMPLES[:10], GROUPS[:10], SampleSplit(val=0.5, test=0.1))


def kept_groups(share: float, seed: int = 0, training: np.ndarray | None = None) -> set[str]:
    every = np.ones(len(GROUPS), dtype=bool) if training is None else training
    kept = keep_labels(GROUPS, every, SampleLabels(share=share, seed=seed), CLASSES)
    return {group for group, own in zip(GROUPS, kept, strict=True) if own}


def test_labels_are_of_a_share_of_whole_groups_of_every_class() -> None:
    kept = keep_labels(GROUPS, np.ones(120, dtype=bool), SampleLabels(share=0.25), CLASSES)
    assert kept.sum() == 30  # six of 24 subjects, five samples each
    assert CLASSES[kept].mean() == 0.5
    assert len(kept_groups(0.01)) == 2
    assert len(kept_groups(1.0)) == 24


def test_labels_of_a_smaller_share_are_among_those_of_a_larger_one_and_draws_differ() -> None:
    assert kept_groups(0.1) < kept_groups(0.3) < kept_groups(0.9)
    assert len({frozenset(kept_groups(0.3, seed)) for seed in range(5)}) > 1


def test_labels_are_drawn_from_training_groups_alone() -> None:
    training = np.array([own < 60 for own in range(120)])
    assert kept_groups(0.5, training=training) <= set(GROUPS[:60])
    assert len(kept_groups(0.5, training=training)) == 6
