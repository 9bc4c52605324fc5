"""TabSTAR's pretraining step on a device, and the official network's on the same rows."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from benchmarks.device_loops import EpochClock, bare_step, on_device, profile, recorded_step, seconds_of, step_of
from benchmarks.gpu import Figures, Options
from benchmarks.loops import experiment, train
from benchmarks.official_network import official_loss, official_network, string_batches
from benchmarks.tabstar import bare_loss
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.stages import build_parts
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.flops import StepFlops
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin

E5_SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
PUBLISHED = (
    "{d_model: 384, number_hidden: 768, ffn_hidden: 1536, interaction_layers: 6, interaction_heads: 6, dropout: 0.1}"
)
BATCHES_PER_TABLE, WINDOW = 2, 4
RECORDED = "model_config.training_config.cuda_graphs=true"


def encoder_folder(options: Options, folder: Path) -> str:
    """Make an encoder of e5-small's shape with random weights, and return its folder; a small one to try the code."""
    if options.tiny or not (options.data / "tokenizer.json").exists():
        return "random"
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    BertModel(BertConfig(**E5_SMALL)).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(options.data / "tokenizer.json"),
        pad_token="[PAD]",  # noqa: S106  # a piece, not a password
        model_max_length=512,
    ).save_pretrained(folder)
    return str(folder)


def overrides(options: Options, folder: Path, batch_size: int) -> list[str]:
    """Return the published network on the corpus, one table a batch."""
    corpus = options.data / "corpus.h5"
    network = "model_config=tabstar/tiny" if options.tiny else f"model_config.architecture_config={PUBLISHED}"
    reading = "" if options.tiny else ", pooling: cls, max_tokens: 512"
    layers = f"unfreeze_layers: {options.pick(6, 1)}"
    encoder = encoder_folder(options, folder / "encoder")
    return [
        network,
        f"model_config.architecture_config.text_encoder={{name: {encoder}, {layers}{reading}}}",
        f"dataset_config.corpus={corpus if corpus.exists() else ensure_builtin(folder / 'builtin.h5')}",
        f"dataset_config.batch_size={batch_size}",
        f"dataset_config.rows_per_dataset={batch_size * options.pick(BATCHES_PER_TABLE, 1)}",
        "dataset_config.val_rows_per_dataset=1",
        *engine_options(options),
    ]


def engine_options(options: Options) -> list[str]:
    """Return what every run on the device has."""
    return [
        f"experiment_config.accelerator={'gpu' if options.device == 'cuda' else 'cpu'}",
        f"experiment_config.precision={'bf16-mixed' if options.device == 'cuda' else '32-true'}",
        "experiment_config.tracker=none",
        "experiment_config.check_eval_n_epoch=1000",
        "model_config.training_config.scheduler=null",
    ]


def batches_of_32(options: Options) -> Figures:
    """Yield the figures of batches of 32 rows."""
    yield from _figures(options, options.pick(32, 8))


def batches_of_128(options: Options) -> Figures:
    """Yield the figures of batches of 128 rows."""
    yield from _figures(options, options.pick(128, 16))


def _figures(options: Options, size: int) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        chosen = overrides(options, Path(name), size)
        parts = build_parts(family, *experiment(family, Path(name), "bare", chosen), seed=0)
        batches: list[TableBatch] = on_device(list(parts.data.train_dataloader()), options.device)
        rows, tokens = sum(map(len, batches)), sum(sum(batch.lengths) for batch in batches)
        step = bare_step(parts, bare_loss, options.device)
        bare = seconds_of(lambda: [step(batch) for batch in batches], options.device, repeats=1)
        yield f"tabstar_unrecorded_rows_per_s_b{size}", rows / bare
        step = recorded_step(parts, options.device)
        recorded = seconds_of(lambda: [step(batch) for batch in batches], options.device, warm=3)
        yield f"tabstar_rows_per_s_b{size}", rows / recorded
        yield f"tabstar_ms_per_step_b{size}", 1000 * recorded / len(batches)
        yield f"tabstar_unique_tokens_per_row_b{size}", tokens / rows
        yield f"tabstar_tflops_b{size}", sum(map(flops_of(parts.module), batches)) / recorded / 1e12
        if options.profile:
            profile(f"tabstar b{size}", lambda: [step(batch) for batch in batches[:12]], options.device)
        clock = EpochClock(options.device)
        epochs = f"model_config.training_config.max_epochs={options.pick(5, 2)}"
        train(family, [*chosen, epochs, RECORDED], clock, warm=False)
        engine = statistics.median(clock.seconds[-2:])
        yield f"tabstar_engine_rows_per_s_b{size}", rows / engine
        yield f"tabstar_engine_vs_bare_b{size}", bare / engine
        yield f"tabstar_engine_vs_recorded_b{size}", recorded / engine


def flops_of(module: TrainingModule) -> Callable[[TableBatch], float]:
    """Return what counts the operations of a step, those of frozen layers left out, which are remembered."""
    steps = StepFlops(cast(TabStarNetwork, module.network))
    return lambda batch: steps.of(batch, remembered=True)


def windows(options: Options) -> Figures:
    """Yield rows a second where four batches make a step, each with strings of its own, and as one window."""
    size = options.pick(32, 8)
    with tempfile.TemporaryDirectory() as name:
        chosen = [
            *overrides(options, Path(name), size),
            f"model_config.training_config.accumulate_grad_batches={WINDOW}",
            f"dataset_config.rows_per_dataset={size * WINDOW}",
            f"model_config.training_config.max_epochs={options.pick(4, 2)}",
        ]
        seconds = []
        for length in (1, WINDOW):
            clock = EpochClock(options.device)
            train(family, [*chosen, f"dataset_config.window={length}"], clock, warm=False)
            seconds.append(statistics.median(clock.seconds[-2:]))
        yield f"tabstar_window_vs_accumulated_b{size}", seconds[0] / seconds[1]


def compiled(options: Options) -> Figures:
    """Yield the speed of compiled parts in batches of 128, and how often they were compiled after a first epoch."""
    size = options.pick(128, 16)
    with tempfile.TemporaryDirectory() as name:
        chosen = overrides(options, Path(name), size)
        parts = build_parts(family, *experiment(family, Path(name), "bare", chosen), seed=0)
        batches: list[TableBatch] = on_device(list(parts.data.train_dataloader()), options.device)
        parts.module.compile_network("aot_eager" if options.tiny else "inductor")
        step = bare_step(parts, bare_loss, options.device)
        for batch in batches:
            step(batch)
        before = compilations()
        seconds = seconds_of(lambda: [step(batch) for batch in batches], options.device)
        yield f"tabstar_compiled_rows_per_s_b{size}", sum(map(len, batches)) / seconds
        yield "tabstar_compilations_after_warm_up", compilations() - before


def compilations() -> int:
    """Return how many graphs torch has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def official(options: Options) -> Figures:
    """Yield rows a second of the official package's network, in batches of 32 of every table.

    Where there is the package: its versions of others are older than the ones that this program is tested with.
    """
    if importlib.util.find_spec("tabstar") is None:
        print("# official: the package tabstar is not installed", flush=True)
        return
    size = options.pick(32, 4)
    with tempfile.TemporaryDirectory() as name:
        chosen = overrides(options, Path(name), size)
        if "name: random" in chosen[1]:
            print("# official: no tokenizer.json in the folder of data", flush=True)
            return
        network = official_network(Path(name) / "encoder", options.device)
        data = cast(TabstarData, build_parts(family, *experiment(family, Path(name), "rows", chosen), seed=0).data)
        keys = first_of_each(data)
        batches = string_batches(data, Path(chosen[2].partition("=")[2]), keys)
        step = step_of(network, lambda batch: official_loss(network, batch), options.device, 1.0)

        def epoch() -> None:
            for batch in batches:
                step(batch)

        seconds = seconds_of(epoch, options.device, warm=1, repeats=1)
        yield "tabstar_official_rows_per_s_b32", sum(len(batch.targets) for batch in batches) / seconds
        own = build_parts(family, *experiment(family, Path(name), "same", chosen), seed=0)
        same = on_device([own.data.train_dataset()[key] for key in keys], options.device)
        own_step = recorded_step(own, options.device)
        own_seconds = seconds_of(lambda: [own_step(batch) for batch in same], options.device, warm=3)
        yield "tabstar_vs_official_b32", seconds / own_seconds


def first_of_each(data: TabstarData) -> list[RowBatch]:
    """Return the first whole batch of every table."""
    keys: dict[int, RowBatch] = {}
    for key in data.train_plan().batches(0):
        if key.source not in keys or len(keys[key.source].rows) < len(key.rows):
            keys[key.source] = key
    return list(keys.values())
