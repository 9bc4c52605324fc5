"""Table, tree, sequences and metadata to a study file; unchanged inputs are not read again."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Float64, Int32
from tabstar_lit.data.conversion import bring_up_to_date, fingerprint
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.source_files import file_identity
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.conversion import steps
from tabstar_lit.families.microbes.conversion.config import Conversion, StudyConfig, TaxonomySpec
from tabstar_lit.families.microbes.study.study import Study, read_fingerprint, read_study, write_study
from tabstar_lit.families.microbes.tables.counts import CountTable, read_table
from tabstar_lit.families.microbes.tables.matrices import read_distances
from tabstar_lit.families.microbes.tables.metadata import JOINT, Metadata, read_metadata
from tabstar_lit.families.microbes.tables.payload import read_payload
from tabstar_lit.families.microbes.tables.sequences import sequences_of_fasta, sequences_of_ids
from tabstar_lit.families.microbes.tables.tree import read_tree
from tabstar_lit.families.microbes.unifrac.branches import Branches
from tabstar_lit.families.microbes.unifrac.distances import unifrac

CONVERTER_VERSION = 1
"""Raise when the same input gives other output: files made before are converted again."""

STUDY = "study"
"""The only part of a study file."""

CHECKED_SAMPLES = 48
LEAST_CORRELATION = 0.5
"""Distances of others that agree less than this with the table's own are of other samples, or in another order."""


@dataclass(frozen=True)
class Report:
    """Outcome of a conversion.

    Attributes
    ----------
    study : Study
        What is in the file.
    written : bool
        False when it was up to date and not touched.
    lines : tuple of str
        What was left out, and what should be known.
    """

    study: Study
    written: bool
    lines: tuple[str, ...]


@dataclass
class _Target:
    """A study file, and what it is made from."""

    conversion: Conversion
    progress: Progress

    def open(self, path: Path) -> tuple[Study, str]:
        return read_study(path), read_fingerprint(path)

    def fingerprints(self, opened: tuple[Study, str]) -> Mapping[str, str]:
        return {STUDY: opened[1]}

    def write(self, path: Path, changed: Sequence[str], old: tuple[Study, str] | None) -> None:
        write_study(path, make_study(self.conversion, progress=self.progress), fingerprint=self.wanted)

    @property
    def wanted(self) -> str:
        own = self.conversion
        files = {"/".join(place): file_identity(own.path(name)) for place, name in own.config.files()}
        settings = own.config.model_dump(mode="json")
        return fingerprint({"version": CONVERTER_VERSION, "settings": settings, "files": files})


def convert_study(conversion: Conversion, output: Path, *, progress: Progress = no_progress) -> Report:
    """Make a study file, unless it exists and was made from the same files by the same configuration.

    Parameters
    ----------
    conversion : Conversion
        From :func:`tabstar_lit.families.microbes.conversion.config.read_conversion`.
    output : Path
        The study file.
    progress : callable
        For a bar over distances.

    Raises
    ------
    DataError
        A file cannot be read or used, or something else lies at ``output``.
    """
    target = _Target(conversion, progress)
    outcome = bring_up_to_date(target, output, {STUDY: target.wanted})
    study = outcome.opened[0]
    return Report(study, outcome.written, tuple(study.made_from["left_out"]))


def make_study(conversion: Conversion, *, progress: Progress = no_progress) -> Study:
    """Read all files of a study and put them together.

    Raises
    ------
    DataError
        A file cannot be read or used.
    """
    config, lines = conversion.config, _Lines()
    table = read_table(conversion.path(config.table))
    metadata = None
    if config.metadata is not None:
        metadata = read_metadata(conversion.path(config.metadata), config.missing)
        table = lines.take(steps.with_metadata(table, metadata.sample_ids, metadata.source))
    tree = None if config.tree is None else read_tree(conversion.path(config.tree)).require_lengths()
    if tree is not None:
        table = lines.take(steps.on_tree(table, tree, config.without_tip))
    table = lines.take(steps.deep_enough(table, config.min_reads, "min_reads"))
    if config.rarefy is not None:
        table = lines.take(steps.rarefied(table, config.rarefy.depth, config.rarefy.seed))
    table = lines.take(steps.prevalent(table, config.min_samples))
    sequences = _sequences(conversion, table, lines)
    branches = None if tree is None else Branches.of(*steps.branch_table(table, tree), tree)
    columns = {} if metadata is None else _columns(config, metadata.of(table.sample_ids), lines)
    taxa = () if config.taxonomy is None else _taxa(conversion, config.taxonomy, table, lines)
    distances = _distances(conversion, table, branches, progress)
    return Study(
        name=config.name,
        sample_ids=table.sample_ids,
        asv_ids=table.ids,
        sequences=sequences,
        members=Ragged(table.counts.indices.astype(np.int32), table.counts.indptr.astype(np.int64)),
        counts=table.counts.data,
        **columns,
        distances=None if distances is None else distances.astype(np.float32),
        faith_pd=None if branches is None else branches.faith_pd(),
        asv_taxa=taxa[0] if taxa else None,
        taxa=taxa[1] if taxa else (),
        made_from=_made_from(config, lines),
    )


@dataclass
class _Lines:
    """What should be known of a conversion, in order."""

    said: list[str] = field(default_factory=list)

    def take(self, step: steps.Step) -> CountTable:
        """Write down what a step says, and return the table it leaves."""
        self.say(step[1])
        return step[0]

    def say(self, line: str | None) -> None:
        if line:
            self.said.append(line)


def _sequences(conversion: Conversion, table: CountTable, lines: _Lines) -> tuple[str, ...]:
    config = conversion.config
    if config.sequences is not None:
        return sequences_of_fasta(table.ids, conversion.path(config.sequences), config.other_letters)
    found = sequences_of_ids(table.ids, table.source, config.other_letters)
    if not found:
        lines.say(
            f"the ids are no sequences, such as '{table.ids[0]}', and no FASTA file is named: distances can be "
            "computed, but no network can be trained"
        )
    return found


def _columns(config: StudyConfig, metadata: Metadata, lines: _Lines) -> dict[str, Any]:
    """Return numbers, classes and the group of a study."""
    for name in config.columns:
        metadata.require(name, f"columns.{name}")
    for name in config.group:
        metadata.require(name, "group")
    names = [name for name in metadata.columns if name in config.columns or not config.only_columns]
    kinds = {name: config.columns.get(name) or metadata.kind(name) for name in names}
    if config.group:
        metadata = metadata.joined(config.group)
        kinds[JOINT.join(config.group)] = "class"
    empty = [name for name in kinds if not any(metadata.columns[name])]
    for name in empty:
        if name in config.columns or name == JOINT.join(config.group):
            raise DataError(f"{metadata.source}: column '{name}' has no value in any sample of the table.")
        del kinds[name]
    if empty:
        lines.say(f"{len(empty)} columns of the metadata without any value are left out")
    return {
        "numbers": {name: metadata.numbers(name) for name, kind in kinds.items() if kind == "number"},
        "classes": {name: metadata.classes(name) for name, kind in kinds.items() if kind == "class"},
        "group": JOINT.join(config.group) or None,
    }


def _distances(
    conversion: Conversion, table: CountTable, branches: Branches | None, progress: Progress
) -> Float64 | None:
    config = conversion.config
    if config.distances is None:
        own = config.unifrac
        return None if branches is None else unifrac(branches, own.metric, alpha=own.alpha, progress=progress)
    ids = config.distances.ids
    matrix = read_distances(conversion.path(config.distances.file), None if ids is None else conversion.path(ids))
    values = matrix.of(table.sample_ids)
    if branches is not None:
        _require_agreement(values, branches, config, matrix.source)
    return values


def _require_agreement(values: Float64, branches: Branches, config: StudyConfig, source: str) -> None:
    """Refuse distances of others that are not of these samples in this order."""
    some = np.unique(np.linspace(0, branches.n_samples - 1, CHECKED_SAMPLES).astype(np.int64))
    part = Branches(branches.counts[some], branches.lengths, branches.first, branches.end)
    own = unifrac(part, config.unifrac.metric, alpha=config.unifrac.alpha)
    pairs = np.triu_indices(len(some), 1)
    given, computed = values[np.ix_(some, some)][pairs], own[pairs]
    if len(given) < 3 or np.ptp(given) == 0 or np.ptp(computed) == 0:
        return
    if (correlation := float(np.corrcoef(given, computed)[0, 1])) < LEAST_CORRELATION:
        raise DataError(
            f"{source}: of {len(given)} pairs of samples these distances have a correlation of {correlation:.2f} with "
            f"the {config.unifrac.metric} UniFrac of the table and tree. They are of other samples, another metric, "
            "or in another order than their ids say. Give the matching ids, or leave 'distances' out to have them "
            "computed."
        )


def _taxa(
    conversion: Conversion, spec: TaxonomySpec, table: CountTable, lines: _Lines
) -> tuple[Int32, tuple[str, ...]]:
    """Return the number of the taxon of each feature ``[F]``, -1 where unknown, and the names of taxa."""
    payload = read_payload(conversion.path(spec.file), members=("taxonomy.tsv",))
    rows = list(csv.reader(io.StringIO(payload.text()), delimiter="\t"))
    if not rows or [name.lower() for name in rows[0][:2]] != ["feature id", "taxon"]:
        raise DataError(f"{payload.source}: expected a table whose first columns are 'Feature ID' and 'Taxon'.")
    known = {row[0]: _at_level(row[1], spec.level) for row in rows[1:] if len(row) >= 2}
    found = [known.get(name, "") for name in table.ids]
    names = sorted({name for name in found if name})
    if not names:
        raise DataError(f"{payload.source}: no feature of the table has a taxon at level {spec.level}.")
    numbers = {name: number for number, name in enumerate(names)} | {"": -1}
    unknown = found.count("")
    lines.say(f"{unknown} of {len(found)} features have no taxon at level {spec.level}" if unknown else None)
    return np.array([numbers[name] for name in found], dtype=np.int32), tuple(names)


def _at_level(taxon: str, level: int) -> str:
    """Return a taxon down to a level, empty where it is not known so far: `k__Bacteria; p__Firmicutes` at level 2."""
    ranks = [rank.strip() for rank in taxon.split(";")][:level]
    return "; ".join(ranks) if len(ranks) == level and not ranks[-1].endswith("__") and ranks[-1] else ""


def _made_from(config: StudyConfig, lines: _Lines) -> dict[str, Any]:
    return {
        "left_out": lines.said,
        "unifrac": config.unifrac.metric if config.tree is not None else None,
        "alpha": config.unifrac.alpha,
        "distances_of_others": config.distances is not None,
        "rarefy": None if config.rarefy is None else config.rarefy.model_dump(mode="json"),
        "min_samples": config.min_samples,
        "min_reads": config.min_reads,
        "other_letters": config.other_letters,
        "settings": config.model_dump(mode="json"),
    }
