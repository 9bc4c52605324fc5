"""``tabstar_lit microbes unifrac``: distances as a file that others read too."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from checks import assert_refused
from click.testing import CliRunner, Result
from hand_made_tables_of_microbes import SAMPLES, TREE, write_biom

from tabstar_lit.commands.cli import main
from tabstar_lit.families.microbes.tables.matrices import read_distances


def run(folder: Path, *arguments: str) -> Result:
    write_biom(folder / "table.biom")
    (folder / "tree.nwk").write_text(TREE)
    command = ["microbes", "unifrac", str(folder / "table.biom"), str(folder / "tree.nwk"), *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


@pytest.mark.parametrize("metric", ["unweighted", "weighted", "weighted_normalized", "generalized"])
def test_distances_are_written_as_ssu_writes_them_and_as_text(tmp_path: Path, metric: str) -> None:
    for name in ("d.h5", "d.tsv"):
        done = run(tmp_path, "-o", str(tmp_path / name), "--metric", metric)
        assert done.exit_code == 0, done.output
        assert f"{metric} UniFrac of 5 samples" in done.output
        assert "10 pairs" in done.output
    first, second = (read_distances(tmp_path / name) for name in ("d.h5", "d.tsv"))
    assert first.ids == second.ids == SAMPLES
    np.testing.assert_array_equal(first.values, second.values)
    with h5py.File(tmp_path / "d.h5") as file:
        assert [name.decode() for name in file["order"][()]] == list(SAMPLES)
        assert file["matrix"].dtype == np.float64


def test_samples_are_rarefied_first_where_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "-o", str(tmp_path / "d.h5"), "--rarefy", "9")
    assert done.exit_code == 0
    assert "2 samples with fewer than 9 reads" in done.output
    assert read_distances(tmp_path / "d.h5").ids == ("s1", "s3", "s4")


def test_bad_input_is_refused(tmp_path: Path) -> None:
    assert_refused(run(tmp_path, "-o", str(tmp_path / "d.h5"), "--rarefy", "99"), "no sample has 99 reads")
    folder = tmp_path / "other"
    folder.mkdir()
    write_biom(folder / "table.biom")
    (folder / "tree.nwk").write_text("(A:1,B:1);")
    command = ["microbes", "unifrac", str(folder / "table.biom"), str(folder / "tree.nwk"), "-o", str(folder / "d.h5")]
    assert_refused(CliRunner().invoke(main, command), "share no feature")
    assert not (folder / "d.h5").exists()
