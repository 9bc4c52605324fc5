"""Pretraining and prediction against the package ``tabstar`` on one thread: the same rows, strings and sizes.

Seconds are those of the process, which what else runs on the machine does not change. Each figure is a geometric mean
over five tables; frozen layers' output of each string is known already, as it is from the second epoch on. Before any
is taken, both networks must give the same loss. The package asks for older versions of others than the tests of this
program: it is installed by itself.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.device_loops import step_of
from benchmarks.gpu import Options
from benchmarks.gpu_tabstar import overrides
from benchmarks.loops import experiment
from benchmarks.official_network import StringBatch, official_loss, official_network, string_batches
from benchmarks.tabstar import bare_loss
from tabstar_lit.data.plans import RowBatch, cut
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.engine.stages import Parts, build_parts
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.deployment.serving import TableServer
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.table_plan import windows
from tabstar_lit.families.tabstar.tables.builtin import SOURCES
from tabstar_lit.families.tabstar.tables.converter import FileSource, Source, convert
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.nn.tabstar_config import OFFLINE_ENCODER, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

BATCH_SIZE, WINDOW, PREDICTED = 32, 4, 128
"""Rows of a step, steps of a window, rows that the package predicts at a time, as it does by default."""

TOLERANCE = 1e-5
REPEATS = 2
CLIP = 1.0
PREDICTED_BATCHES = 2
"""Batches of a table whose prediction by the package is timed; each has strings of its own, and costs alike."""


def sources() -> list[Source]:
    """Return the five tables: four that scikit-learn carries, and the one that the package does."""
    import tabstar

    path = Path(tabstar.__file__).parent / "resources" / "imdb.csv"
    entry = TableEntry(name="imdb", file=path.name, target="Genre_is_Drama", task="classification")
    return [*(source for source in SOURCES if source.entry.name != "iris"), FileSource(entry, path)]


class Table:
    """One table as a corpus, with the published network in a folder.

    Parameters
    ----------
    folder : Path
        Where they are put.
    source : Source
        The table.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder, self.source = folder, source
        convert([source], folder / "corpus.h5")
        tokenizer = load_tokenizer(TextEncoderConfig(name=OFFLINE_ENCODER))
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        self.settings = overrides(Options("cpu", tiny=False, data=folder, profile=False), folder, BATCH_SIZE)

    def build(self, name: str) -> Parts:
        """Return network and data as a training builds them, with the batches of a window in an epoch."""
        more = f"dataset_config.rows_per_dataset={WINDOW * BATCH_SIZE}"
        return build_parts(family, *experiment(family, self.folder, name, [*self.settings, more]), seed=0)

    def official(self) -> Any:
        """Return the network of the package."""
        return official_network(self.folder / "encoder", "cpu")

    def as_strings(self, data: TabstarData, keys: list[RowBatch]) -> list[StringBatch]:
        """Return batches as the package takes them."""
        return string_batches(data, self.folder / "corpus.h5", keys)


def half_precision() -> torch.autocast:
    """Return a context in which a processor computes matrix products in bfloat16."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def cpu_seconds(run: Callable[[], object]) -> float:
    """Return the median of the processor seconds of ``run``, after a first one that is not counted."""
    run()
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def training_seconds(table: Table) -> dict[str, float]:
    """Return the seconds a batch takes by way of training: the package's, and ours."""
    data = cast(TabstarData, table.build("rows").data)
    keys = data.train_plan().batches(0)
    network = table.official()
    theirs = step_of(network, lambda batch: official_loss(network, batch), "cpu", CLIP)
    (first,) = table.as_strings(data, keys[:1])
    found = {"official": cpu_seconds(lambda: theirs(first))}
    for name, precision in (("float32", nullcontext), ("bf16", half_precision)):
        found |= own_seconds(table, name, precision)
    return found


def own_seconds(table: Table, name: str, precision: Callable[[], AbstractContextManager[Any]]) -> dict[str, float]:
    """Return the seconds a batch takes here, alone and in a window."""
    parts = table.build(name)
    module, data = parts.module.train(), cast(TabstarData, parts.data)
    keys, dataset = data.train_plan().batches(0), data.train_dataset()
    step = step_of(module, lambda batch: bare_loss(module, batch), "cpu", CLIP, precision)
    alone, joined = dataset[keys[0]], [dataset[key] for key in windows(keys[:WINDOW], WINDOW)]
    in_window = window_step(module, precision)
    return {
        name: cpu_seconds(lambda: step(alone)),
        f"{name}_window": cpu_seconds(lambda: in_window(joined)) / len(joined),
    }


def window_step(module: Any, precision: Callable[[], Any]) -> Callable[[list[TableBatch]], None]:
    """Return a step over the batches of a window, as one writes it by hand."""
    trained = [p for p in module.network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    def step(batches: list[TableBatch]) -> None:
        optimizer.zero_grad()
        for batch in batches:
            with precision():
                loss = bare_loss(module, batch) / len(batches)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()

    return step


def prediction_ratio(table: Table) -> float:
    """Return rows a second from cells to outputs here over rows a second from strings to outputs in the package."""
    parts = table.build("predicting")
    data, network = cast(TabstarData, parts.data), cast(TabStarNetwork, parts.module.network.eval())
    network.text_encoder.requires_grad_(False)
    network.text_lookup = None
    name, frame = table.source.entry.name, table.source.read().frame

    def predict(rows: int) -> None:
        tokenizer = JsonTokenizer(network.text_encoder.tokenizer, 512)
        TableServer(network, tokenizer, name, data.schemas[name]).outputs(frame[:rows], 256)

    official = table.official().eval()
    keys = [RowBatch(0, rows) for rows in cut(np.arange(len(frame)), PREDICTED)][:PREDICTED_BATCHES]
    batches = table.as_strings(data, keys)
    predict(2)
    _predicted(official, batches[:1], rows=2)
    own = _once(lambda: predict(len(frame))) / len(frame)
    return _once(lambda: _predicted(official, batches)) / sum(len(batch.targets) for batch in batches) / own


def _once(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.no_grad()
def _predicted(network: Any, batches: list[StringBatch], rows: int | None = None) -> None:
    for batch in batches:
        network(x_txt=batch.strings[:rows], x_num=batch.numbers[:rows], d_output=batch.n_targets)


def require_equal(table: Table) -> None:
    """Compare both networks, with the same weights, on the first batches of a table.

    Raises
    ------
    RuntimeError
        Their losses differ: times of networks that compute something else say nothing.
    """
    parts, official = table.build("same"), table.official().eval()
    module, data = parts.module.eval(), cast(TabstarData, parts.data)
    module.network.load_state_dict(official.state_dict())
    keys = data.train_plan().batches(0)[:2]
    with torch.no_grad():
        for key, batch in zip(keys, table.as_strings(data, keys), strict=True):
            own, theirs = bare_loss(module, data.train_dataset()[key]), official_loss(official, batch)
            if abs(own - theirs) > TOLERANCE:
                raise RuntimeError(f"{table.source.entry.name}: our loss is {own:.8g}, the package's {theirs:.8g}")


def ratios_of(source: Source) -> dict[str, float]:
    """Return how many times as fast as the package each way of training is on one table, and prediction."""
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), source)
        require_equal(table)
        seconds, predicted = training_seconds(table), prediction_ratio(table)
    theirs = seconds.pop("official")
    steps = {f"step_vs_official_{way}": theirs / own for way, own in seconds.items()}
    return steps | {"predict_vs_official": predicted}


def figures(chosen: Sequence[str] = ()) -> dict[str, float]:
    """Return the geometric means over all tables, or these, by name; those of each are told as they come."""
    if importlib.util.find_spec("tabstar") is None:
        print("# tabstar_official: the package tabstar is not installed", flush=True)
        return {}
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {}
    for source in sources():
        name = source.entry.name
        for way, ratio in ratios_of(source).items() if not chosen or name in chosen else ():
            print(f"# {name}: {way} {ratio:.3g}", flush=True)
            found.setdefault(way, []).append(ratio)
    return {f"tabstar.{way}": statistics.geometric_mean(ratios) for way, ratios in found.items()}


if __name__ == "__main__":
    import sys

    for figure, value in figures(sys.argv[1:]).items():
        print(f"BENCH {figure}={value:.4g}", flush=True)
