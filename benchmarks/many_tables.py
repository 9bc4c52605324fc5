"""A corpus of many tables: how long it takes to open, how much memory, how fast its batches come.

``python -m benchmarks.many_tables FOLDER`` makes 400 tables of 5,000 rows and 30 columns, where the folder has none.
Opening is measured in a process of its own, once the strings' tokens are known.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.tabstar import numeric_table
from tabstar_lit.families.tabstar.config import TabstarDataset
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.tables.corpus import Table, write_corpus
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

TABLES, ROWS, BATCH_SIZE, BATCHES = 400, 5_000, 32, 5_000
GB = 1e6
"""Kilobytes, in which the system counts."""


class Opened(NamedTuple):
    """What a process has measured: processor seconds, GB at most, rows a processor second."""

    seconds: float
    gigabytes: float
    rows_per_s: float


def tables(count: int, rows: int) -> Iterator[Table]:
    """Yield tables of 30 numbers under names of their own."""
    whole = numeric_table(rows)
    columns = [{"name": name, "kind": "number"} for name in whole.feature_names]
    target: dict[str, Any] = {"name": "y", "text": "y", "classes": [], "mean": 0.0, "std": 1.0}
    for number in range(count):
        texts = tuple(text.replace("measurement", f"table {number} measurement") for text in whole.vocabulary)
        held_out = np.random.default_rng(number).random(rows) < 0.1
        schema = {"task": "regression", "target": target, "columns": columns, "dates": {}, "dropped": {}}
        schema |= {"fingerprint": str(number), "converter_version": 3}
        yield replace(whole, name=f"t{number:03}", vocabulary=texts, is_validation=held_out, schema=schema)


def make_corpus(folder: Path, count: int = TABLES, rows: int = ROWS) -> Path:
    """Write the corpus, unless it is there."""
    path = folder / f"{count}x{rows}.h5"
    if not path.exists():
        write_corpus(path, tables(count, rows), order=[f"t{number:03}" for number in range(count)])
    return path


def opened(corpus: str, batches: int) -> Opened:
    """Open a corpus as a training does, and read batches in the order of a training."""
    tokenizer = load_tokenizer(TextEncoderConfig(name="random"))
    start = time.process_time()
    config = TabstarDataset(name="many", corpus=corpus, batch_size=BATCH_SIZE)
    data = TabstarData(config, tokenizer=tokenizer, max_tokens=128, seed=0)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB
    start = time.process_time()
    rows = sum(len(batch) for batch in islice(data.train_dataloader(), batches))
    return Opened(seconds, peak, rows / (time.process_time() - start))


def figures(folder: Path | None = None, count: int = TABLES, rows: int = ROWS) -> dict[str, float]:
    """Return the figures by name; the corpus is made in ``folder``, or for the time being."""
    with tempfile.TemporaryDirectory() as temporary:
        corpus = str(make_corpus(folder or Path(temporary), count, rows))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            pool.submit(opened, corpus, 1).result()
            found = pool.submit(opened, corpus, BATCHES).result()
    return {
        "tabstar.many_tables_open_cpu_s": found.seconds,
        "tabstar.many_tables_peak_gb": found.gigabytes,
        "tabstar.many_tables_rows_per_cpu_s": found.rows_per_s,
    }


if __name__ == "__main__":
    for name, value in figures(Path(sys.argv[1])).items():
        print(f"BENCH {name}={value:.4g}")
