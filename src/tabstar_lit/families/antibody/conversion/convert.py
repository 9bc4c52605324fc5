"""Sources to pairs file: read, recognise, number, merge and cluster; unchanged inputs are not read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.data.conversion import bring_up_to_date, fingerprint
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.source_files import file_identity
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.conversion.chains import Antibody, recognise
from tabstar_lit.families.antibody.conversion.clusters import cluster_antigens
from tabstar_lit.families.antibody.conversion.config import Conversion, FixedSequence, PairConversion
from tabstar_lit.families.antibody.conversion.merging import Merged, merge
from tabstar_lit.families.antibody.conversion.rows import PairRow, SourceRows, read_source
from tabstar_lit.families.antibody.numbering.domains import CHUNK, Domain, with_germline
from tabstar_lit.families.antibody.numbering.programs import finder
from tabstar_lit.families.antibody.pairs.file import Pairs, read_pairs, write_pairs

CONVERTER_VERSION = 1
"""Raise when the same input gives other output: files made before are converted again."""

PAIRS = "pairs"
"""The only part of a pairs file."""


@dataclass
class SourceReport:
    """What became of the rows of a source.

    Attributes
    ----------
    file : str
        Its name.
    rows : int
        Rows that were read, after ``where``.
    pairs : int
        Rows that are pairs.
    forms : dict of str to int
        What antibodies are made of.
    left_out : dict of str to str
        Reason -> how many rows, and the first of them.
    notes : dict of str to int
        What else was met.
    """

    file: str
    rows: int
    pairs: int = 0
    forms: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Outcome of a conversion: the pairs, and whether the file was written."""

    pairs: Pairs
    written: bool


def convert_pairs(conversion: Conversion, output: Path, *, progress: Progress = no_progress) -> Report:
    """Make a pairs file, unless it exists and was made from the same files by the same configuration.

    Raises
    ------
    ConfigError, DataError
        Sources cannot be used, or ``output`` exists and is no pairs file. Nothing is written then.
    """
    target = _PairsFile(conversion, progress)
    if output.resolve() in {path.resolve() for path in target.files}:
        raise DataError(f"{output}: is one of the sources; choose another output")
    outcome = bring_up_to_date(target, output, {PAIRS: target.wanted})
    return Report(outcome.opened, outcome.written)


class _PairsFile:
    """The pairs file as the target of a conversion; it is made as a whole."""

    def __init__(self, conversion: Conversion, progress: Progress) -> None:
        self._conversion, self._progress = conversion, progress
        self.files = list(_files(conversion))
        self._identities = [file_identity(path) for path in self.files]
        self._find, self._program = finder(conversion.config.numbering)
        parts = {"version": CONVERTER_VERSION, "program": self._program, "files": self._identities}
        self.wanted = fingerprint(parts | {"config": conversion.config.model_dump(mode="json")})

    def open(self, path: Path) -> Pairs:
        return read_pairs(path)

    def fingerprints(self, opened: Pairs) -> dict[str, str]:
        return {PAIRS: str(opened.about.get("conversion", ""))}

    def write(self, path: Path, changed: Sequence[str], old: Pairs | None) -> None:
        config = self._conversion.config
        sources = [read_source(self._conversion, number) for number in range(len(config.sources))]
        domains = self._numbered(sorted({text for own in sources for row in own.rows for text in row.chains}))
        reports, pairs = [], []
        for own in sources:
            report, found = _recognised(own, domains, config)
            reports.append(report)
            pairs += found
        if not pairs:
            told = "; ".join(f"{report.file}: {report.left_out}" for report in reports)
            raise DataError(f"no row of the sources is a pair of an antigen and an antibody. {told}")
        merged = merge(pairs)
        about = {
            "conversion": self.wanted,
            "numbering": self._program,
            "sources": [vars(report) for report in reports],
            "files": self._identities,
            "merged": merged.merged,
            "clusters": config.clusters.model_dump(mode="json"),
        }
        write_pairs(path, _as_pairs(merged, config, about))

    def _numbered(self, sequences: list[str]) -> dict[str, list[Domain]]:
        """Return the domains of each sequence, with germline; each domain that several have is compared once."""
        found: dict[str, list[Domain]] = {}
        known: dict[tuple[str, str], Domain] = {}
        with self._progress(len(sequences)) as done:
            for start in range(0, len(sequences), CHUNK):
                part = sequences[start : start + CHUNK]
                for text, domains in zip(part, self._find(part), strict=True):
                    found[text] = [_placed(known, domain) for domain in domains]
                done(len(part))
        return found


def _placed(known: dict[tuple[str, str], Domain], domain: Domain) -> Domain:
    key = (domain.chain, domain.letters)
    if key not in known:
        known[key] = with_germline(domain)
    own = known[key]
    return own if own.start == domain.start else own.moved(domain.start)


def _files(conversion: Conversion) -> Iterable[Path]:
    """Return every file that is read: of sources and of fixed sequences."""
    for source in conversion.config.sources:
        yield conversion.folder / source.file
        fixed = [place for place in (*source.antibody, *source.antigen) if isinstance(place, FixedSequence)]
        yield from dict.fromkeys(conversion.folder / place.fasta for place in fixed)


def _recognised(
    source: SourceRows, domains: dict[str, list[Domain]], config: PairConversion
) -> tuple[SourceReport, list[tuple[PairRow, Antibody]]]:
    """Return the pairs of a source, and what became of its other rows."""
    report = SourceReport(source.path.name, source.read, notes=dict(source.notes))
    reasons, pairs = list(source.refused), []
    for row in source.rows:
        try:
            pairs.append((row, recognise(row.chains, domains, whole=config.domains == "whole")))
        except ValueError as error:
            reasons.append((row.number, str(error)))
    if reasons and config.bad_rows == "refuse":
        number, reason = min(reasons)
        raise DataError(
            f"{source.path}: row {number}: {reason}. Correct it, or set bad_rows: skip to leave such rows out."
        )
    firsts = dict(sorted(((reason, number) for number, reason in reasons), reverse=True))
    counts = Counter(reason for _, reason in reasons)
    report.left_out = {reason: f"{count}, the first is row {firsts[reason]}" for reason, count in counts.most_common()}
    report.pairs = len(pairs)
    report.forms = dict(Counter(antibody.form for _, antibody in pairs).most_common())
    linkers = Counter(antibody.linker for _, antibody in pairs if antibody.linker)
    report.notes |= {f"linker {linker} cut out": count for linker, count in linkers.most_common(3)}
    return report, pairs


def _as_pairs(merged: Merged, config: PairConversion, about: dict[str, Any]) -> Pairs:
    numbers = {text: number for number, text in enumerate(dict.fromkeys(row.antigen for row in merged.rows))}
    antigen = np.array([numbers[row.antigen] for row in merged.rows], dtype=np.int64)
    names = {row.antigen: row.antigen_name for row in reversed(merged.rows) if row.antigen_name}
    shared = _sharing(antigen, [own.text for own in merged.antibodies]) if config.clusters.join_antibodies else None
    return Pairs(
        antigens=tuple(numbers),
        antigen_names=tuple(names.get(text, "") for text in numbers),
        clusters=cluster_antigens(list(numbers), config.clusters, shared),
        antigen=antigen,
        antibodies=tuple(own.text for own in merged.antibodies),
        pkd=merged.pkd,
        censored=merged.censored,
        regions=Ragged.of((own.regions for own in merged.antibodies), np.int8),
        germline=Ragged.of((own.germline for own in merged.antibodies), np.int8),
        about=about,
    )


def _sharing(antigen: Int64, antibodies: Sequence[str]) -> Int64:
    """Return pairs of antigens ``[E, 2]`` that one antibody binds."""
    bound: dict[str, list[int]] = {}
    for number, text in zip(antigen.tolist(), antibodies, strict=True):
        bound.setdefault(text, []).append(number)
    edges = [pair for own in bound.values() for pair in pairwise(own)]
    return np.array(edges, dtype=np.int64).reshape(-1, 2)
