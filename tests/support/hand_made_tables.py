"""Small tables and corpora made by hand, so that every string and number in them is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tabstar_lit.families.tabstar.tables.corpus import Table, write_corpus


def make_table(name: str, n_rows: int, *, n_classes: int = 3, n_features: int = 4, seed: int = 0) -> Table:
    """Return a table with one text column and ``n_features - 1`` numeric ones; one class means regression."""
    rng = np.random.default_rng(seed)
    task = "regression" if n_classes == 1 else "classification"
    heads = [f"Target Feature: {name}\nFeature Value: {'c' * (i + 1)}" for i in range(n_classes)]
    cells = [
        f"Predictive Feature: f{column}\nFeature Value: {value * 10 ** (value % 4)} to {value + 1}"
        for column in range(n_features)
        for value in range(6)
    ]
    codes = n_classes + 6 * np.arange(n_features) + rng.integers(0, 6, (n_rows, n_features))
    numbers = rng.normal(size=(n_rows, n_features)).clip(-3, 3).astype(np.float32)
    numbers[:, 0] = 0
    targets = rng.normal(size=n_rows) if n_classes == 1 else np.arange(n_rows) % n_classes
    kinds = ["text"] + ["numeric"] * (n_features - 1)
    names = [f"f{i}" for i in range(n_features)]
    classes = [] if n_classes == 1 else [h.rsplit(" ", 1)[1] for h in heads]
    return Table(
        name=name,
        task=task,
        vocabulary=(*heads, *cells),
        codes=codes.astype(np.int32),
        numbers=numbers,
        targets=targets.astype(np.float32),
        target_codes=np.arange(n_classes, dtype=np.int32),
        classes=tuple(classes),
        feature_names=tuple(names),
        is_validation=np.arange(n_rows) % 10 == 9,
        row_ids=np.arange(n_rows, dtype=np.uint64),
        target_mean=0.0,
        target_std=1.0,
        schema={
            "task": task,
            "fingerprint": name,
            "target": {"name": name, "classes": classes, "mean": 0.0, "std": 1.0},
            "columns": [{"name": n, "kind": k} for n, k in zip(names, kinds, strict=True)],
        },
    )


def make_corpus(path: Path, *tables: Table) -> Path:
    """Write ``tables`` to ``path`` and return it."""
    write_corpus(path, tables, order=[table.name for table in tables])
    return path
