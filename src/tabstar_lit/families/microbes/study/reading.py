"""New samples for a trained network: a table with sequences, read as that of the training was. It needs no tree."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.conversion import steps
from tabstar_lit.families.microbes.study.study import Classes, Study, read_study
from tabstar_lit.families.microbes.tables.counts import CountTable, read_table
from tabstar_lit.families.microbes.tables.metadata import read_metadata
from tabstar_lit.families.microbes.tables.sequences import OtherLetters, sequences_of_fasta, sequences_of_ids

STUDIES = (".h5", ".hdf5")

log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How the table of a training was read: ``{depth, seed}`` of rarefaction or None, and the policy for letters."""

    rarefy: dict[str, Any] | None = None
    other_letters: OtherLetters = "refuse"


def read_samples(
    path: Path, settings: Settings, *, sequences: Path | None = None, metadata: Path | None = None
) -> Study:
    """Read a table, or a study file as it is.

    Samples with fewer reads than the training drew are read with all they have, which is said.

    Raises
    ------
    DataError
        A file cannot be read, or nobody knows the sequences.
    """
    if path.suffix.lower() in STUDIES:
        return read_study(path)
    table, classes = read_table(path), dict[str, Classes]()
    if metadata is not None:
        known = read_metadata(metadata)
        table, line = steps.with_metadata(table, known.sample_ids, known.source)
        if line:
            log.warning("%s", line)
        own = known.of(table.sample_ids)
        classes = {name: own.classes(name) for name in own.columns}
    table = _drawn(_filled(table), settings.rarefy)
    found = (
        sequences_of_ids(table.ids, table.source, settings.other_letters)
        if sequences is None
        else sequences_of_fasta(table.ids, sequences, settings.other_letters)
    )
    if not found:
        raise DataError(
            f"{table.source}: the ids are no sequences, such as '{table.ids[0]}', and the network reads sequences. "
            "Give a FASTA file of them with --sequences."
        )
    return Study(
        name=path.stem,
        sample_ids=table.sample_ids,
        asv_ids=table.ids,
        sequences=found,
        members=Ragged(table.counts.indices.astype(np.int32), table.counts.indptr.astype(np.int64)),
        counts=table.counts.data,
        classes=classes,
    )


def _filled(table: CountTable) -> CountTable:
    """Leave out samples without reads, about which nothing can be said, and features that none has."""
    kept = table.depths > 0
    if not kept.any():
        raise DataError(f"{table.source}: no sample has any reads.")
    if not kept.all():
        log.warning("%d samples without any reads are left out.", int((~kept).sum()))
    return table.take(samples=kept, features=np.bincount(table.counts.indices, minlength=len(table.ids)) > 0)


def _drawn(table: CountTable, rarefy: dict[str, Any] | None) -> CountTable:
    if rarefy is None:
        return table
    deep = table.depths >= rarefy["depth"]
    if not deep.all():
        log.warning(
            "%d of %d samples have fewer than the %d reads that samples were drawn to in training, and are read as "
            "they are: the fewer reads, the less sure is what is said of them.",
            int((~deep).sum()),
            len(deep),
            rarefy["depth"],
        )
    if not deep.any():
        return table
    drawn, _ = steps.rarefied(table.take(samples=deep), rarefy["depth"], rarefy["seed"])
    counts = table.counts.tolil()
    counts[np.flatnonzero(deep)] = drawn.counts
    counts = counts.tocsr()
    counts.eliminate_zeros()
    counts.sort_indices()
    return replace(table, counts=counts).take(features=np.bincount(counts.indices, minlength=len(table.ids)) > 0)
