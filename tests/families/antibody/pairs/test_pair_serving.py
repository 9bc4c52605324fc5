"""Pairs files, selection, splits, plans and batches."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.pairs.config import AntibodyDataset
from tabstar_lit.families.antibody.pairs.data import AntibodyData, PairRows
from tabstar_lit.families.antibody.pairs.file import Pairs, read_pairs, write_pairs
from tabstar_lit.families.antibody.pairs.plans import BucketPlan
from tabstar_lit.families.antibody.pairs.selection import sample_rows, select_pairs, split_pairs
from tabstar_lit.families.antibody.pairs.tokens import END, PAD, SEPARATOR, START, TOKENIZER, VOCABULARY_SIZE
from tabstar_lit.families.antibody.pairs.toy import (
    LEVELS,
    PARTNERS,
    AntibodyToy,
    affinity_letters,
    ensure_toy,
    motif_of,
    rule_letters,
    toy_pairs,
)

TOY = AntibodyToy(n_antigens=60, antibodies_each=3)


@pytest.fixture(scope="module")
def toy() -> Pairs:
    return toy_pairs(TOY)


def dataset(**keys: Any) -> AntibodyDataset:
    return AntibodyDataset.model_validate({"name": "toy", **keys})


def test_the_alphabet_is_that_of_the_original() -> None:
    assert (PAD, START, END, SEPARATOR, VOCABULARY_SIZE) == (0, 1, 2, 4, 25)
    assert TOKENIZER.encode(["AY|C"])[0].tolist() == [1, 5, 24, 4, 6, 2]
    assert TOKENIZER.encode(["XB"])[0].tolist() == [1, 3, 3, 2]


def test_a_file_gives_back_what_was_written(tmp_path: Path, toy: Pairs) -> None:
    write_pairs(tmp_path / "toy.h5", toy)
    read = read_pairs(tmp_path / "toy.h5")
    assert (read.antigens, read.antibodies, read.about) == (toy.antigens, toy.antibodies, toy.about)
    for name, own in toy.arrays.items():
        assert np.array_equal(read.arrays[name], own)
    assert read.fingerprint == toy.fingerprint


def test_a_changed_file_is_refused(tmp_path: Path, toy: Pairs) -> None:
    path = tmp_path / "toy.h5"
    write_pairs(path, toy)
    with h5py.File(path, "r+") as file:
        file["pkd"][0] = 3.25
    with pytest.raises(DataError, match="do not have the fingerprint"):
        read_pairs(path)


def test_the_rule_holds_for_every_generated_pair(toy: Pairs) -> None:
    asked = 0
    for row in range(len(toy)):
        antigen = toy.antigens[toy.antigen[row]]
        letters = rule_letters(antigen, float(toy.pkd[row]), toy.regions[row])
        assert all(toy.antibodies[row][place] == letter for place, letter in letters.items())
        asked += len(letters)
        assert len(motif_of(antigen)) == 4
    assert asked / len(toy) > 7
    assert all(PARTNERS[PARTNERS[letter]] == letter for letter in PARTNERS)


def test_letters_of_the_affinity_step_where_the_other_code_does_not() -> None:
    assert [affinity_letters(pkd) for pkd in (4.0, 5.0, 5.5, 6.25, 9.9)] == [
        ("G", "A"),
        ("G", "G"),
        ("S", "G"),
        ("S", "S"),
        ("V", "V"),
    ]
    assert LEVELS[-1][0] == np.inf


def test_the_task_is_made_once_and_never_over_something_else(tmp_path: Path, toy: Pairs) -> None:
    path = tmp_path / "toy.h5"
    ensure_toy(path, TOY)
    before = path.stat().st_mtime_ns
    assert ensure_toy(path, TOY).stat().st_mtime_ns == before
    ensure_toy(path, AntibodyToy(n_antigens=10))
    assert len(read_pairs(path).antigens) == 10
    write_pairs(path, replace(toy, about={"sources": []}))
    with pytest.raises(DataError, match="holds other pairs than the generated task"):
        ensure_toy(path, TOY)
    path.write_text("mine")
    with pytest.raises(DataError, match="move it if it is yours"):
        ensure_toy(path, TOY)


@pytest.mark.parametrize("by", ["cluster", "antigen", "antibody", "row"])
def test_what_is_kept_together_is_never_separated(toy: Pairs, by: Any) -> None:
    sides = split_pairs(toy, dataset(split={"by": by, "val": 0.2, "test": 0.2}).split)
    assert sorted(np.concatenate(list(sides.values())).tolist()) == list(range(len(toy)))
    keys = {"antibody": np.array(toy.antibodies), "row": np.arange(len(toy))}.get(by, toy.antigen)
    groups = [set(keys[rows].tolist()) for rows in sides.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]


def test_appending_pairs_moves_none(toy: Pairs) -> None:
    split = dataset().split
    half = replace(
        toy,
        antigen=toy.antigen[:90],
        antibodies=toy.antibodies[:90],
        pkd=toy.pkd[:90],
    )
    whole, part = split_pairs(toy, split), split_pairs(half, split)
    for name, rows in part.items():
        assert set(rows.tolist()) == {row for row in whole[name].tolist() if row < 90}


def test_a_random_split_warns_and_a_single_cluster_is_refused(toy: Pairs, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        split_pairs(toy, dataset(split={"by": "row"}).split)
    assert "measures memory" in caplog.text
    one = replace(toy, clusters=np.zeros(len(toy.antigens), np.int64))
    with pytest.raises(DataError, match=r"the val side of the split has no pair.*split\.by: antibody"):
        split_pairs(one, dataset().split)


def test_chains_are_chosen(toy: Pairs) -> None:
    paired, rows = select_pairs(toy, dataset(chains="paired"))
    assert all("|" in text for text in paired.antibodies)
    single, others = select_pairs(toy, dataset(chains="single"))
    assert sorted([*rows, *others]) == list(range(len(toy)))
    assert not any("|" in text for text in single.antibodies)
    heavy, _ = select_pairs(toy, dataset(chains="heavy"))
    assert len(heavy) == len(toy)
    assert heavy.antibodies[0] == toy.antibodies[0].split("|")[0]
    assert [len(own) for own in heavy.antibodies] == heavy.regions.lengths.tolist() == heavy.germline.lengths.tolist()


def test_an_antigen_is_chosen_by_name_or_sequence(toy: Pairs) -> None:
    for wanted in ("toy_7", toy.antigens[7]):
        chosen, rows = select_pairs(toy, dataset(antigen=wanted, split={"by": "antibody"}))
        assert set(chosen.antigen.tolist()) == {7}
        assert len(rows) == 3
    with pytest.raises(DataError, match=r"'toy_x'.*Allowed: toy_0"):
        select_pairs(toy, dataset(antigen="toy_x", split={"by": "antibody"}))


def test_bounds_are_taken_left_or_dropped(toy: Pairs) -> None:
    own = replace(toy, censored=np.where(np.arange(len(toy)) < 5, -1, 0).astype(np.int8))
    assert len(select_pairs(own, dataset(censored="drop"))[0]) == len(toy) - 5
    assert np.isnan(select_pairs(own, dataset(censored="missing"))[0].pkd).sum() == 5
    assert len(select_pairs(own, dataset(censored="missing", pkd="known"))[0]) == len(toy) - 5
    assert np.array_equal(select_pairs(own, dataset())[0].pkd, toy.pkd)


def test_affinities_that_are_needed_and_missing_are_an_error(toy: Pairs) -> None:
    own = replace(toy, pkd=np.full(len(toy), np.nan, np.float32))
    with pytest.raises(DataError, match=f"none of the {len(toy)} pairs is left: left out are {len(toy)} by pkd"):
        select_pairs(own, dataset(pkd="known"))


def test_limits_leave_out_antibodies_and_cut_antigens_and_say_so(toy: Pairs, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kept, _ = select_pairs(toy, dataset(max_antibody_tokens=40, max_antigen_tokens=25))
    assert max(map(len, kept.antibodies)) <= 38
    assert "are left out: cut, they would have no END" in caplog.text
    assert "their ends are not read" in caplog.text
    tokens = PairRows(kept, dataset(max_antigen_tokens=25)).antigens
    assert tokens.lengths.max() == 25
    assert all(tokens[row][-1] == END for row in range(len(tokens)))


def test_samples_are_always_the_same_ones(toy: Pairs) -> None:
    rows = np.arange(len(toy))
    few, more = sample_rows(toy, rows, 10), sample_rows(toy, rows, 20)
    assert set(few.tolist()) < set(more.tolist())
    assert len(sample_rows(toy, rows, None)) == len(sample_rows(toy, rows, 10**6)) == len(toy)
    assert len(sample_rows(toy, rows, 1)) == 1


def test_an_epoch_has_every_row_once_beside_rows_of_its_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 1000)
    plan = BucketPlan(np.arange(1000) + 7, lengths, 16, pool=10, seed=3)
    first = plan.batches(0)
    assert len(first) == len(plan) == 63
    assert sorted(np.concatenate([key.rows for key in first]).tolist()) == list(range(7, 1007))
    spread = np.mean([np.ptp(lengths[key.rows - 7]) for key in first])
    assert spread < 20
    again, other = plan.batches(0), plan.batches(1)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.rows, b.rows) for a, b in zip(first, other, strict=True))


def test_a_batch_is_what_it_says(toy: Pairs) -> None:
    rows = np.array([0, 5, 9])
    batch = PairRows(toy, dataset())[RowBatch(0, rows)]
    for place, row in enumerate(rows):
        text = toy.antibodies[row]
        tokens = batch.antibodies[place]
        length = int((tokens != PAD).sum())
        assert TOKENIZER.decode(tokens.tolist()) == text
        assert batch.regions[place, 1 : length - 1].tolist() == toy.regions[row].tolist()
        assert batch.germline[place, 1 : length - 1].tolist() == toy.germline[row].tolist()
        assert set(batch.germline[place, length - 1 :].tolist()) == {-1}
        assert set(batch.regions[place, length - 1 :].tolist()) == {0}
        assert TOKENIZER.decode(batch.antigens[place].tolist()) == toy.antigens[toy.antigen[row]]
    assert batch.n_targets == int((batch.antibodies[:, 1:] != PAD).sum())


def test_the_data_module_splits_scales_and_keeps(toy: Pairs) -> None:
    data = AntibodyData(dataset(split={"val": 0.2, "test": 0.2}, max_samples=30), toy, seed=1)
    assert len(data.split["train"]) == 30
    known = toy.pkd[split_pairs(toy, data.dataset.split)["train"]]
    assert data.scale.mean == pytest.approx(float(known.mean()), rel=1e-5)
    kept = data.payload()
    assert kept["training"]["total"] == len({toy.antibodies[row] for row in data.split["train"]})
    assert len(kept["training"]["offsets"]) == kept["training"]["total"] + 1
    given = AntibodyData(dataset(pkd_scale={"mean": 7.0, "std": 2.0}), toy, seed=1)
    assert tuple(given.scale) == (7.0, 2.0)
    assert given.fingerprint != data.fingerprint


def test_validation_batches_hold_several_antigens(toy: Pairs) -> None:
    data = AntibodyData(dataset(split={"val": 0.3, "test": 0.2}), toy, seed=1)
    keys = data.val_plan().batches(0)
    assert sorted(np.concatenate([key.rows for key in keys]).tolist()) == data.split["val"].tolist()
    assert all(len(set(toy.antigen[key.rows].tolist())) > 1 for key in keys)
