"""UniFrac and Faith's PD of QIIME 1's tutorial, whose answers travel with scikit-bio, out of files as they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import skbio.diversity

from tabstar_lit.families.microbes.tables.counts import read_table
from tabstar_lit.families.microbes.tables.matrices import read_distances
from tabstar_lit.families.microbes.tables.tree import read_tree
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import Metric, unifrac

DIVERSITY = Path(skbio.diversity.__file__).parent
BETA = DIVERSITY / "beta/tests/data/qiime-191-tt"
ALPHA = DIVERSITY / "alpha/tests/data/qiime-191-tt"


def on_tree(folder: Path) -> tuple[Branches, tuple[str, ...]]:
    table = read_table(folder / "otu-table.tsv")
    return Branches.of(table.counts, table.ids, read_tree(folder / "tree.nwk")), table.sample_ids


@pytest.mark.parametrize("metric", ["unweighted", "weighted", "weighted_normalized"])
def test_distances_are_those_of_qiime(metric: Metric, tmp_path: Path) -> None:
    branches, samples = on_tree(BETA)
    text = (BETA / f"{metric}_unifrac_dm.txt").read_text()
    (tmp_path / "dm.tsv").write_text(text)
    expected = read_distances(tmp_path / "dm.tsv").of(samples)
    np.testing.assert_allclose(unifrac(branches, metric), expected, atol=1e-10)


def test_diversity_is_that_of_qiime() -> None:
    branches, samples = on_tree(ALPHA)
    with (ALPHA / "faith-pd.txt").open() as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if len(row) == 2 and row[0]]
    expected = {name: float(value) for name, value in rows if name in samples}
    assert set(expected) == set(samples)
    np.testing.assert_allclose(branches.faith_pd(), [expected[name] for name in samples], atol=1e-5)
