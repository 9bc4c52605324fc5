"""What becomes of a table on its way to a study: each step returns what it leaves, and a line about what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from scipy import sparse

from tabstar_lit.data.plans import source_rng
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.counts import CountTable
from tabstar_lit.families.microbes.tables.tree import Tree

Step = tuple[CountTable, str | None]
EXAMPLES = 3


def with_metadata(table: CountTable, sample_ids: Sequence[str], source: str) -> Step:
    """Keep the samples that metadata know of.

    Raises
    ------
    DataError
        None is.
    """
    known = set(sample_ids)
    kept = np.array([name in known for name in table.sample_ids], dtype=bool)
    if not kept.any():
        raise DataError(
            f"{table.source} and {source} share no sample: the table has {_examples(table.sample_ids)}, the metadata "
            f"have {_examples(sample_ids)}. The first column of the metadata is the sample id as in the table."
        )
    if kept.all():
        return table, None
    gone = [name for name, own in zip(table.sample_ids, kept, strict=True) if not own]
    return table.take(samples=kept), f"{len(gone)} samples without metadata are left out: {_examples(gone)}"


def on_tree(table: CountTable, tree: Tree, policy: Literal["drop", "keep", "refuse"]) -> Step:
    """Treat features that are no tips as the policy says, and say how much of the table has a tip.

    Raises
    ------
    DataError
        No feature has one, or the policy is to refuse and some have none.
    """
    tips = set(tree.tips)
    has = np.array([name in tips for name in table.ids], dtype=bool)
    if not has.any():
        raise DataError(
            f"{table.source} and {tree.source} share no feature: the table has {_examples(table.ids)}, the tips are "
            f"{_examples(tree.tips)}. Give the tree of this table."
        )
    if has.all():
        return table, f"all {len(has)} features have a tip; the tree has {len(tips)}"
    reads = np.asarray(table.counts.sum(axis=0)).ravel()
    share = float(reads[has].sum()) / max(1, int(reads.sum()))
    overlap = (
        f"{int(has.sum())} of {len(has)} features have a tip ({100 * has.mean():.1f} %, {100 * share:.1f} % of reads)"
    )
    if policy == "refuse":
        raise DataError(
            f"{tree.source}: {overlap}; without is {_examples([table.ids[i] for i in np.flatnonzero(~has)])}. Insert "
            "them into the tree, or set without_tip: drop or keep."
        )
    fate = "left out" if policy == "drop" else "read, but do not count in UniFrac"
    return (table.take(features=has) if policy == "drop" else table), f"{overlap}; the others are {fate}"


def deep_enough(table: CountTable, min_reads: int, what: str) -> Step:
    """Keep the samples with enough reads.

    Raises
    ------
    DataError
        None has.
    """
    depths = table.depths
    kept = depths >= min_reads
    if not kept.any():
        raise DataError(
            f"{table.source}: no sample has {min_reads} reads, as {what} asks for: they have {depths.min()} to "
            f"{depths.max()}, half of them at least {int(np.median(depths))}. Lower {what}."
        )
    if kept.all():
        return table, None
    gone = [f"{table.sample_ids[i]} ({depths[i]})" for i in np.flatnonzero(~kept)]
    return table.take(
        samples=kept
    ), f"{len(gone)} samples with fewer than {min_reads} reads are left out: {_examples(gone)}"


def rarefied(table: CountTable, depth: int, seed: int) -> Step:
    """Draw equally many reads of each sample, without replacement: a function of its reads, its id and the seed alone.

    Raises
    ------
    DataError
        No sample is deep enough.
    """
    table, line = deep_enough(table, depth, "rarefy.depth")
    drawn = table.counts.copy()
    for row, name in enumerate(table.sample_ids):
        own = slice(drawn.indptr[row], drawn.indptr[row + 1])
        # The order of features must not matter, so that a table and a part of its columns give the same draw.
        order = np.argsort([table.ids[i] for i in drawn.indices[own]])
        reads = source_rng(seed, name).multivariate_hypergeometric(drawn.data[own][order], depth)
        drawn.data[own.start + order] = reads
    drawn.eliminate_zeros()
    return replace(table, counts=drawn), line


def prevalent(table: CountTable, min_samples: int) -> Step:
    """Keep the features that enough samples have, then the samples that still have one.

    Raises
    ------
    DataError
        No feature is.
    """
    in_samples = np.bincount(table.counts.indices, minlength=len(table.ids))
    kept = in_samples >= min_samples
    if not kept.any():
        raise DataError(
            f"{table.source}: no feature is in {min_samples} samples, as min_samples asks for; the most common one is "
            f"in {int(in_samples.max(initial=0))}. Lower it."
        )
    table = table.take(features=kept)
    filled = table.depths > 0
    unseen, rare, emptied = int((in_samples == 0).sum()), int(((in_samples > 0) & ~kept).sum()), int((~filled).sum())
    gone = {
        f"{unseen} features that no sample is left of": unseen,
        f"{rare} features that fewer than {min_samples} samples have": rare,
        f"{emptied} samples that had no other features": emptied,
    }
    said = " and ".join(what for what, number in gone.items() if number)
    return (table if filled.all() else table.take(samples=filled)), f"{said} are left out" if said else None


def branch_table(table: CountTable, tree: Tree) -> tuple[sparse.csr_matrix, tuple[str, ...]]:
    """Return the part of a table that has tips: counts ``[N, T]`` and their ids."""
    tips = set(tree.tips)
    has = np.array([name in tips for name in table.ids], dtype=bool)
    own = table.take(features=has)
    return own.counts, own.ids


def _examples(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" if len(name) < 60 else f"'{name[:57]}...'" for name in names[:EXAMPLES])
    return f"{shown}{', ...' if len(names) > EXAMPLES else ''}"
