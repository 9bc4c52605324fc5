"""Pretraining and prediction against the package ``tabstar`` on one thread: the same rows, strings and sizes.

Seconds are those of the process, which what else runs on the machine does not change. Each figure is a geometric mean
over five tables; frozen layers' output of each string is known already, as it is from the second epoch on.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

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


class Tables:
    """The five tables as a corpus, with the sizes of the published network in a folder.

    Parameters
    ----------
    folder : Path
        Where they are put.
    chosen : Sequence of str
        Names of the tables in use; all by default.
    """

    def __init__(self, folder: Path, chosen: Sequence[str] = ()) -> None:
        self.folder = folder
        self.sources = {s.entry.name: s for s in sources() if not chosen or s.entry.name in chosen}
        convert(list(self.sources.values()), folder / "corpus.h5")
        tokenizer = load_tokenizer(TextEncoderConfig(name=OFFLINE_ENCODER))
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        self.settings = overrides(Options("cpu", tiny=False, data=folder, profile=False), folder, BATCH_SIZE)

    def build(self, name: str) -> Parts:
        """Return network and data as a training builds them."""
        more = f"dataset_config.rows_per_dataset={WINDOW * BATCH_SIZE}"
        return build_parts(family, *experiment(family, self.folder, name, [*self.settings, more]), seed=0)

    def batches_of(self, data: TabstarData) -> list[list[RowBatch]]:
        """Return a window's batches of each table, in the order of the tables."""
        keys = data.train_plan().batches(0)
        return [[key for key in keys if key.source == source][:WINDOW] for source in range(len(self.sources))]


def half_precision() -> torch.autocast:
    """Return a context in which a processor computes matrix products in bfloat16."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def cpu_seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median of the processor seconds of ``run``, after a first one that is not counted."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def training_seconds(tables: Tables) -> dict[str, list[float]]:
    """Return the seconds a batch takes, by way of training and by table."""
    data = cast(TabstarData, tables.build("rows").data)
    groups = tables.batches_of(data)
    found = {"official": _official_seconds(tables, data, [group[0] for group in groups])}
    for name, precision in (("float32", nullcontext), ("bf16", half_precision)):
        parts = tables.build(name)
        module, dataset = parts.module.train(), cast(TabstarData, parts.data).train_dataset()
        step = step_of(module, lambda batch, m=module: bare_loss(m, batch), "cpu", CLIP, precision)  # type: ignore[misc]  # of this turn
        found[name] = [cpu_seconds(lambda b=dataset[group[0]], s=step: s(b)) for group in groups]  # type: ignore[misc]  # as above
        own = [[dataset[key] for key in windows(group, WINDOW)] for group in groups]
        run = window_step(module, precision)
        found[f"{name}_window"] = [cpu_seconds(lambda b=batches, r=run: r(b)) / len(batches) for batches in own]  # type: ignore[misc]  # as above
    return found


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


def _official_seconds(tables: Tables, data: TabstarData, keys: list[RowBatch]) -> list[float]:
    network = official_network(tables.folder / "encoder", "cpu")
    step = step_of(network, lambda batch: official_loss(network, batch), "cpu", CLIP)
    batches = string_batches(data, tables.folder / "corpus.h5", keys)
    return [cpu_seconds(lambda b=batch: step(b)) for batch in batches]  # type: ignore[misc]  # of this turn


def prediction_ratios(tables: Tables) -> list[float]:
    """Return, by table, rows a second from cells to outputs here over rows a second from strings to outputs there."""
    parts = tables.build("predicting")
    data, network = cast(TabstarData, parts.data), cast(TabStarNetwork, parts.module.network.eval())
    network.text_encoder.requires_grad_(False)
    network.text_lookup = None
    official = official_network(tables.folder / "encoder", "cpu").eval()
    tokenizer = JsonTokenizer(network.text_encoder.tokenizer, 512)
    ratios = []
    for source, name in enumerate(data.names):
        frame = tables.sources[name].read().frame
        server = TableServer(network, tokenizer, name, data.schemas[name])
        own = _once(lambda server=server, frame=frame: server.outputs(frame, 256)) / len(frame)  # type: ignore[misc]  # of this turn
        keys = [RowBatch(source, rows) for rows in cut(torch.arange(len(frame)).numpy(), PREDICTED)][:PREDICTED_BATCHES]
        batches = string_batches(data, tables.folder / "corpus.h5", keys)
        theirs = _once(lambda batches=batches: [_predicted(official, batch) for batch in batches])  # type: ignore[misc]  # as above
        ratios.append(theirs / sum(len(batch.targets) for batch in batches) / own)
    return ratios


def _once(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.no_grad()
def _predicted(network: Any, batch: StringBatch) -> None:
    network(x_txt=batch.strings, x_num=batch.numbers, d_output=batch.n_targets)


def figures(chosen: Sequence[str] = ()) -> dict[str, float]:
    """Return the figures by name, of these tables."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        tables = Tables(Path(name), chosen)
        seconds = training_seconds(tables)
        predicted = prediction_ratios(tables)
    found = {}
    for way in list(seconds)[1:]:
        ratios = [theirs / own for theirs, own in zip(seconds["official"], seconds[way], strict=True)]
        found |= {f"tabstar.step_vs_official_{way}_{t}": r for t, r in zip(tables.sources, ratios, strict=True)}
        found[f"tabstar.step_vs_official_{way}"] = statistics.geometric_mean(ratios)
    found |= {f"tabstar.predict_vs_official_{t}": r for t, r in zip(tables.sources, predicted, strict=True)}
    return found | {"tabstar.predict_vs_official": statistics.geometric_mean(predicted)}


if __name__ == "__main__":
    import sys

    for figure, value in figures(sys.argv[1:]).items():
        print(f"BENCH {figure}={value:.4g}", flush=True)
