"""Steps of a conversion: each leaves what it should, and says what it took."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checks import message_of_refusal
from hand_made_tables_of_microbes import COUNTS, SAMPLES, SEQUENCES, write_biom
from scipy.stats import chisquare

from tabstar_lit.families.microbes.conversion import steps
from tabstar_lit.families.microbes.tables.counts import CountTable, read_table
from tabstar_lit.families.microbes.tables.tree import parse_newick


@pytest.fixture
def table(tmp_path: Path) -> CountTable:
    return read_table(write_biom(tmp_path / "table.biom"))


def test_samples_without_metadata_are_left_out_and_named(table: CountTable) -> None:
    left, line = steps.with_metadata(table, ["s5", "s1", "unknown"], "m.tsv")
    assert left.sample_ids == ("s1", "s5")
    np.testing.assert_array_equal(left.counts.toarray(), COUNTS[[0, 4]])
    assert line == "3 samples without metadata are left out: 's2', 's3', 's4'"
    assert steps.with_metadata(table, SAMPLES, "m.tsv") == (table, None)


def test_overlap_with_a_tree_is_told_in_features_and_reads(table: CountTable) -> None:
    tree = parse_newick(f"({SEQUENCES[3]}:1,(other:1,{SEQUENCES[0]}:1):1);")
    left, line = steps.on_tree(table, tree, "drop")
    assert left.ids == (SEQUENCES[0], SEQUENCES[3])
    share = 100 * COUNTS[:, [0, 3]].sum() / COUNTS.sum()
    assert line == f"2 of 4 features have a tip (50.0 %, {share:.1f} % of reads); the others are left out"
    assert steps.on_tree(table, tree, "keep")[0] is table
    counts, ids = steps.branch_table(table, tree)
    assert ids == left.ids
    np.testing.assert_array_equal(counts.toarray(), left.counts.toarray())


def test_rarefied_counts_are_drawn_without_replacement(table: CountTable) -> None:
    for seed in range(20):
        drawn, line = steps.rarefied(table, 8, seed)
        assert line is None
        assert (drawn.depths == 8).all()
        assert (drawn.counts.toarray() <= COUNTS).all()
    np.testing.assert_array_equal(
        steps.rarefied(table, 8, 3)[0].counts.toarray(), steps.rarefied(table, 8, 3)[0].counts.toarray()
    )
    drawn, line = steps.rarefied(table, 10, 0)
    assert drawn.sample_ids == ("s1", "s3", "s4")
    np.testing.assert_array_equal(drawn.counts.toarray()[[0, 2]], COUNTS[[0, 3]])  # all that these have
    assert line == "2 samples with fewer than 10 reads are left out: 's2 (8)', 's5 (8)'"


def test_every_read_is_drawn_alike(table: CountTable) -> None:
    sums = sum(steps.rarefied(table, 5, seed)[0].counts.toarray()[2] for seed in range(600))
    expected = COUNTS[2] * 600 * 5 / COUNTS[2].sum()
    assert chisquare(sums[1:], expected[1:]).pvalue > 0.001


def test_the_order_of_features_changes_no_draw(table: CountTable) -> None:
    order = np.array([2, 0, 3, 1])
    first = steps.rarefied(table, 5, 1)[0].counts.toarray()
    second = steps.rarefied(table.take(features=order), 5, 1)[0].counts.toarray()
    np.testing.assert_array_equal(second, first[:, order])


def test_depth_and_prevalence_say_what_they_would_need(table: CountTable) -> None:
    message = message_of_refusal(steps.deep_enough, table, 13, "min_reads")
    assert "no sample has 13 reads, as min_reads asks for: they have 8 to 12, half of them at least 10" in message
    assert "the most common one is in 4" in message_of_refusal(steps.prevalent, table, 5)


def test_prevalence_takes_features_and_then_samples_that_are_left_empty(table: CountTable) -> None:
    own = table.take(samples=np.array([0, 1, 2, 3, 4]))
    lone = CountTable((*own.sample_ids, "s6"), own.ids, own.counts.copy())
    lone.counts.resize((6, 4))
    dense = lone.counts.tolil()
    dense[5, 2] = 4
    dense[2, 2] = dense[4, 2] = 0
    lone = CountTable(lone.sample_ids, lone.ids, dense.tocsr())
    left, line = steps.prevalent(lone, 3)
    assert SEQUENCES[2] not in left.ids
    assert "s6" not in left.sample_ids
    assert line == ("1 features that fewer than 3 samples have and 1 samples that had no other features are left out")
