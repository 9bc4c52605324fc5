"""How much a study can be disturbed: taxa lost, counts lost, counts that should not be there (arXiv 2606.24995).

Each disturbance changes the samples a model is asked about, never those it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.data.plans import source_rng
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.families.microbes.study.study import Study

TAXA_LOST, COUNTS_LOST, COUNTS_ADDED = 0.10, 0.10, 0.01


def taxa_dropped(study: Study, seed: int) -> Study:
    """Lose a tenth of all ASVs, in every sample the same."""
    rng = source_rng(seed, "taxa dropped")
    lost = rng.permutation(len(study.asv_ids))[: round(TAXA_LOST * len(study.asv_ids))]
    return _kept(study, ~np.isin(study.members.flat, lost))


def zeros_added(study: Study, seed: int) -> Study:
    """Lose a tenth of all counts, in every sample others."""
    rng = source_rng(seed, "zeros added")
    return _kept(study, rng.random(len(study.counts)) >= COUNTS_LOST)


def counts_added(study: Study, seed: int) -> Study:
    """Give every sample a hundredth of the ASVs that it does not have, with counts like those it has."""
    rng = source_rng(seed, "counts added")
    members, counts = list[Int64](), list[Int64]()
    for row, own in enumerate(study.members[i] for i in range(len(study))):
        absent = np.setdiff1d(np.arange(len(study.asv_ids)), own)
        added = rng.choice(absent, size=round(COUNTS_ADDED * len(absent)), replace=False)
        reads = study.counts[study.members.offsets[row] : study.members.offsets[row + 1]]
        together = np.concatenate([own, added])
        order = np.argsort(together, kind="stable")
        members.append(together[order])
        counts.append(np.concatenate([reads, rng.choice(reads, size=len(added))])[order])
    return replace(study, members=Ragged.of(members, np.int32), counts=np.concatenate(counts))


DISTURBANCES: dict[str, Callable[[Study, int], Study]] = {
    f"{100 * TAXA_LOST:g} % of taxa dropped": taxa_dropped,
    f"{100 * COUNTS_LOST:g} % zeros added": zeros_added,
    f"{100 * COUNTS_ADDED:g} % spurious non-zeros": counts_added,
}
"""By what stands in a report."""


def _kept(study: Study, kept: Bool) -> Study:
    """Keep some members; a sample would never lose its last one, without which nothing can be said of it."""
    rows = np.repeat(np.arange(len(study)), study.members.lengths)
    left = np.bincount(rows[kept], minlength=len(study))
    first = study.members.offsets[:-1][left == 0]
    kept = kept.copy()
    kept[first] = True
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(study)))])
    return replace(study, members=Ragged(study.members.flat[kept], offsets), counts=study.counts[kept])
