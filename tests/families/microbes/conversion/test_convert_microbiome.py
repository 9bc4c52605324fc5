"""``tabstar_lit convert microbiome``: from files to a study, with what was left out said, and bad input refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_refused
from click.testing import CliRunner, Result
from hand_made_tables_of_microbes import COUNTS, METADATA, SAMPLES, SEQUENCES, TREE, write_biom, write_study_files

from tabstar_lit.commands.convert import convert
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.families.microbes.study.study import Study, read_study
from tabstar_lit.families.microbes.tables.matrices import write_distances
from tabstar_lit.families.microbes.tables.tree import parse_newick
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac


def run(config: Path) -> Result:
    output = config.with_name("study.h5")
    return CliRunner().invoke(convert, ["microbiome", str(config), "-o", str(output)], catch_exceptions=False)


def converted(config: Path) -> tuple[Study, str]:
    done = run(config)
    assert done.exit_code == 0, done.output
    return read_study(config.with_name("study.h5")), done.output


def test_a_study_holds_what_the_files_say(tmp_path: Path) -> None:
    study, said = converted(write_study_files(tmp_path))
    assert (study.sample_ids, study.asv_ids, study.sequences) == (SAMPLES, SEQUENCES, SEQUENCES)
    dense = np.zeros(COUNTS.shape, dtype=np.int64)
    for row in range(len(study)):
        own = Ragged(study.counts, study.members.offsets)[row]
        dense[row, study.members[row]] = own
    np.testing.assert_array_equal(dense, COUNTS)
    np.testing.assert_array_equal(study.numbers["age"], [30, 41.5, np.nan, 22, 67])
    assert study.classes["state"].labels == ("sick", "well")
    assert study.groups() == ("a", "a", "b", "c", "c")
    branches = Branches.of(read_counts(), SEQUENCES, parse_newick(TREE))
    assert study.distances is not None
    assert study.faith_pd is not None
    np.testing.assert_allclose(study.distances, unifrac(branches), atol=1e-7)
    np.testing.assert_allclose(study.faith_pd, branches.faith_pd())
    assert "5 samples, 4 features, 3 groups" in said
    assert "all 4 features have a tip" in said


def reads_of(study: Study, row: int) -> dict[str, int]:
    """Return the reads of a sample by ASV."""
    counts = Ragged(study.counts, study.members.offsets)[row].tolist()
    return {study.asv_ids[i]: n for i, n in zip(study.members[row].tolist(), counts, strict=True)}


def read_counts() -> Any:
    from scipy import sparse

    return sparse.csr_matrix(COUNTS)


def test_what_did_not_change_is_not_made_again(tmp_path: Path) -> None:
    config = write_study_files(tmp_path)
    converted(config)
    before = (tmp_path / "study.h5").stat().st_mtime_ns
    assert "is up to date" in converted(config)[1]
    assert (tmp_path / "study.h5").stat().st_mtime_ns == before
    write_biom(tmp_path / "table.biom", COUNTS + 1)
    study, said = converted(config)
    assert "wrote" in said
    assert study.counts.sum() == (COUNTS + 1).sum()


def test_rarefaction_draws_equal_depths_that_depend_on_the_sample_alone(tmp_path: Path) -> None:
    config = write_study_files(tmp_path, "rarefy: {depth: 8, seed: 3}\n")
    study, said = converted(config)
    assert study.sample_ids == ("s1", "s2", "s3", "s4", "s5")
    assert [int(Ragged(study.counts, study.members.offsets)[row].sum()) for row in range(5)] == [8] * 5
    (tmp_path / "fewer").mkdir()
    fewer = write_study_files(tmp_path / "fewer", "rarefy: {depth: 8, seed: 3}\n")
    write_biom(tmp_path / "fewer/table.biom", COUNTS[2:], samples=SAMPLES[2:])
    part, _ = converted(fewer)
    for row, name in enumerate(part.sample_ids):
        there = study.sample_ids.index(name)
        assert reads_of(part, row) == reads_of(study, there)
    config.write_text(config.read_text().replace("depth: 8", "depth: 9"))
    left, said = converted(config)
    assert left.sample_ids == ("s1", "s3", "s4")
    assert "2 samples with fewer than 9 reads are left out: 's2 (8)'" in said


def test_features_without_a_tip_are_treated_as_asked(tmp_path: Path) -> None:
    config = write_study_files(tmp_path)
    (tmp_path / "tree.nwk").write_text(f"({SEQUENCES[0]}:1,({SEQUENCES[1]}:1,{SEQUENCES[2]}:2):1);")
    dropped, said = converted(config)
    assert dropped.asv_ids == SEQUENCES[:3]
    assert "3 of 4 features have a tip (75.0 %, 81.2 % of reads)" in said
    config.write_text(config.read_text() + "without_tip: keep\n")
    kept, said = converted(config)
    assert kept.asv_ids == SEQUENCES
    assert "are read, but do not count in UniFrac" in said
    np.testing.assert_array_equal(kept.distances, dropped.distances)
    config.write_text(config.read_text().replace("without_tip: keep", "without_tip: refuse"))
    assert_refused(run(config), "3 of 4 features have a tip", SEQUENCES[3], "without_tip: drop or keep")


def test_rare_features_and_shallow_samples_are_left_out(tmp_path: Path) -> None:
    study, said = converted(write_study_files(tmp_path, "min_samples: 2\nmin_reads: 9\n"))
    assert study.sample_ids == ("s1", "s3", "s4")
    assert study.asv_ids == (SEQUENCES[0], SEQUENCES[1], SEQUENCES[3])
    assert "2 samples with fewer than 9 reads are left out: 's2 (8)', 's5 (8)'" in said
    assert "1 features that fewer than 2 samples have are left out" in said


def test_columns_are_what_the_configuration_says(tmp_path: Path) -> None:
    extra = "columns: {age: class}\nonly_columns: true\n"
    study, _ = converted(write_study_files(tmp_path, extra))
    assert not study.numbers
    assert set(study.classes) == {"age", "subject"}
    config = write_study_files(tmp_path)
    config.write_text(config.read_text().replace("group: subject", "group: [subject, state]"))
    study, _ = converted(config)
    assert study.group == "subject / state"
    assert study.groups()[:2] == ("a / sick", "a / well")
    assert study.groups()[4] == "sample s5"  # whose state is missing


def test_taxa_of_features_are_read(tmp_path: Path) -> None:
    lines = [f"{own}\tk__Bacteria; p__{phylum}" for own, phylum in zip(SEQUENCES, ("A", "B", "B", ""), strict=True)]
    (tmp_path / "taxonomy.tsv").write_text("Feature ID\tTaxon\n" + "\n".join(lines))
    study, said = converted(write_study_files(tmp_path, "taxonomy: taxonomy.tsv\n"))
    assert study.taxa == ("k__Bacteria; p__A", "k__Bacteria; p__B")
    assert study.asv_taxa is not None
    assert study.asv_taxa.tolist() == [0, 1, 1, -1]
    assert "1 of 4 features have no taxon at level 2" in said


def test_distances_of_others_are_matched_by_ids_and_checked(tmp_path: Path) -> None:
    own = unifrac(Branches.of(read_counts(), SEQUENCES, parse_newick(TREE)))
    order = [4, 2, 0, 1, 3]
    ids = [SAMPLES[i] for i in order]
    write_distances(tmp_path / "d.h5", ids, own[np.ix_(order, order)], metric="unweighted")
    config = write_study_files(tmp_path, "distances: d.h5\n")
    study, _ = converted(config)
    np.testing.assert_allclose(study.distances, own, atol=1e-7)
    write_distances(tmp_path / "d.h5", ids, own, metric="unweighted")  # not the order that its ids say
    assert_refused(run(config), "d.h5", "in another order", "correlation")


def test_hashed_ids_have_their_sequences_in_a_fasta_file(tmp_path: Path) -> None:
    hashes = [f"{number:032x}" for number in range(4)]
    config = write_study_files(tmp_path)
    write_biom(tmp_path / "table.biom", ids=hashes)
    tree = TREE
    for sequence, name in zip(SEQUENCES, hashes, strict=True):
        tree = tree.replace(sequence, name)
    (tmp_path / "tree.nwk").write_text(tree)
    study, said = converted(config)
    assert study.sequences == ()
    assert "no network can be trained" in said
    assert study.distances is not None
    fasta = "".join(f">{name}\n{own}\n" for name, own in zip(hashes, SEQUENCES, strict=True))
    (tmp_path / "rep-seqs.fasta").write_text(fasta)
    config.write_text(config.read_text() + "sequences: rep-seqs.fasta\n")
    study, _ = converted(config)
    assert study.sequences == SEQUENCES
    assert study.asv_ids == tuple(hashes)


BAD: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "no shared samples": (
        {"metadata.tsv": METADATA.replace("\ns", "\nx")},
        "",
        ["share no sample", "'s1', 's2', 's3', ...", "'x1'"],
    ),
    "no shared features": ({"tree.nwk": "(A:1,B:2);"}, "", ["share no feature", "'A', 'B'"]),
    "tree without lengths": ({"tree.nwk": "(A,B);"}, "", ["branches have no length", "tree.nwk"]),
    "all below depth": ({}, "rarefy: 50\n", ["no sample has 50 reads", "8 to 12", "Lower rarefy.depth"]),
    "too prevalent": ({}, "min_samples: 9\n", ["no feature is in 9 samples"]),
    "column not there": ({}, "columns: {ages: number}\n", ["columns.ages", "Did you mean 'age'"]),
    "class as number": ({}, "columns: {state: number}\n", ["metadata.tsv:3", "column 'state'", "'sick' is no number"]),
    "unknown key": ({}, "rarify: 5\n", ["study.yaml:6:1", "unknown key 'rarify'", "rarefy"]),
    "file not there": ({}, "sequences: rep.fasta\n", ["study.yaml:6:1: no file", "rep.fasta", "tree.nwk"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    files, extra, words = BAD[name]
    config = write_study_files(tmp_path, extra)
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    assert_refused(run(config), *words)
    assert not (tmp_path / "study.h5").exists()


@pytest.mark.parametrize(
    ("study", "rarefy", "expected"),
    [
        ("ibd", "rarefy: 5000\n", (428, 23, True)),
        ("house_surfaces", "rarefy: 1000\n", (226, 36, True)),
        ("sleep_apnea", "", (184, 16, True)),
        ("moving_pictures", "", (34, 2, False)),
    ],
)
def test_real_studies_convert(
    study: str, rarefy: str, expected: tuple[int, int, bool], tmp_path: Path, shared_data: Path
) -> None:
    groups = {"house_surfaces": "[village, house_number]", "moving_pictures": "Subject"}
    folder = shared_data / "microbiome" / study
    config = tmp_path / "study.yaml"
    config.write_text(
        f"name: {study}\ntable: {folder}/table.biom\ntree: {folder}/tree.nwk\nmetadata: {folder}/metadata.tsv\n"
        f"group: {groups.get(study, 'host_subject_id')}\n{rarefy}"
    )
    own, said = converted(config)
    assert (len(own), len(set(own.groups())), bool(own.sequences)) == expected
    assert own.distances is not None
    assert np.isfinite(own.distances).all()
    if study == "ibd":
        pairs = own.distances[np.triu_indices(len(own), 1)].astype(np.float64)
        quartiles = np.quantile(pairs, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, [0.573, 0.622, 0.674], atol=0.005)
        assert "9970 of 10099 features have a tip (98.7 %, 96.4 % of reads)" in said
