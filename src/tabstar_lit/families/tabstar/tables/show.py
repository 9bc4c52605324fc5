"""What is in a corpus: its tables with kinds, strings, tokens, duplicates and the memory they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tabstar_lit.families.tabstar.tables.converter import column_kinds
from tabstar_lit.families.tabstar.tables.corpus import Corpus, Table

EXAMPLES = 3
"""Cells of a table that are shown."""

LONGEST = 100


def show(path: Path, _folder: Path | None) -> None:
    """Print what :func:`describe` says of the corpus at ``path``."""
    import click

    for line in describe(path):
        click.echo(line)


def describe(path: Path) -> Iterator[str]:
    """Yield lines about a corpus, table by table.

    Raises
    ------
    DataError
        It cannot be read.
    """
    corpus = Corpus.open(path)
    rows = strings = held = 0
    yield f"{path}: {len(corpus.tables)} tables, fingerprint {corpus.fingerprint[:12]}"
    for name in corpus.tables:
        table = corpus.load(name)
        yield ""
        yield from describe_table(table)
        rows, strings, held = rows + len(table), strings + len(table.vocabulary), held + memory(table)
    yield ""
    yield f"together: {rows} rows, {strings} strings, about {held / 1e6:.1f} MB in memory without tokens"


def describe_table(table: Table) -> Iterator[str]:
    """Yield lines about a table: size and target, kinds of its columns, rows that stand in it twice, and examples."""
    schema = table.schema
    target = schema["target"]["name"]
    kind = f"{len(table.classes)} classes" if table.classes else f"{table.target_mean:.4g} ± {table.target_std:.4g}"
    yield f"{table.name}: {table.task} of '{target}' ({kind})"
    held_out = int(table.is_validation.sum())
    yield (
        f"  {len(table)} rows ({held_out} held out), {len(table.feature_names)} features, "
        f"{len(table.vocabulary)} strings, {memory(table) / 1e6:.1f} MB; "
        f"{repeated_rows(table)} rows with the features of one above"
    )
    counts = Counter(kind.rsplit("(", 1)[1].rstrip(")") for kind in column_kinds(schema))
    yield "  columns: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    for line in column_kinds(schema):
        yield f"    {line}"
    for name, reason in schema["dropped"].items():
        yield f"    {name}: left out, it {reason}"
    if table.classes:
        sizes = np.bincount(table.targets.astype(np.int64), minlength=len(table.classes))
        yield "  classes: " + ", ".join(f"{name} {size}" for name, size in zip(table.classes, sizes, strict=True))
    for cell in np.unique(table.codes[0])[:EXAMPLES].tolist():
        yield "  reads: " + table.vocabulary[cell].replace("\n", " | ")[:LONGEST]


def repeated_rows(table: Table) -> int:
    """Return how many rows have the features of a row above them."""
    cells = np.concatenate([table.codes, table.numbers.view(np.int32)], axis=1)
    return len(table) - len(np.unique(cells, axis=0))


def memory(table: Table) -> int:
    """Return the bytes a table takes while it is trained on, without its tokens."""
    arrays = (table.codes, table.numbers, table.targets, table.row_ids)
    return sum(array.nbytes for array in arrays) + sum(len(text) for text in table.vocabulary)
