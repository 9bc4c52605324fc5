"""What shorter ways gain, of ``engine/loop.py``, the optimizer and ``engine/lean.py``: ``python -m benchmarks.lean``.

A small network trains through the engine, in turns of a few steps with all measures and a few without one. So both see
the same machine, whose clock changes by more than what is measured; and what is counted is the processor time of the
training thread. Run it when Lightning or torch moves: what gains nothing any more can go.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from benchmarks.loops import train
from benchmarks.signal import gaussian_events, mlp
from tabstar_lit.engine import lean, loop, module
from tabstar_lit.engine.loop import LeanEpochLoop, OneDevice
from tabstar_lit.families.hep.signal.family import family

N_EVENTS, BATCH_SIZE, WARM_STEPS = 40_000, 64, 400
TURN, TURNS = 20, 100
"""Steps of a turn, and turns of each measure with and without it: 2,000 steps of each."""

Undo = Callable[[], None]


def _restore(owner: object, kept: Mapping[str, Any]) -> Undo:
    def undo() -> None:
        for name, value in kept.items():
            setattr(owner, name, value)

    return undo


def long_way(trainer: Trainer) -> Undo:
    """Let Lightning's own loop go through the steps, as with several devices."""
    epoch_loop = cast(LeanEpochLoop, trainer.fit_loop.epoch_loop)
    epoch_loop.one_device = None

    def undo() -> None:
        epoch_loop.one_device = OneDevice(trainer)

    return undo


def idle_hooks(trainer: Trainer) -> Undo:
    """Let Lightning call the hooks that do nothing."""
    owners = [trainer.lightning_module, *trainer.callbacks]  # type: ignore[attr-defined]  # set by a connector
    hidden = [(owner, hook) for owner in owners for hook in lean.BATCH_HOOKS if hook in vars(owner)]
    for owner, hook in hidden:
        delattr(owner, hook)

    def undo() -> None:
        for owner, hook in hidden:
            setattr(owner, hook, None)

    return undo


def profiler(trainer: Trainer) -> Undo:
    """Let Lightning profile nothing in its own way."""
    kept, trainer.profiler = trainer.profiler, PassThroughProfiler()
    return _restore(trainer, {"profiler": kept})


def without(*names: str) -> Callable[[Trainer], Undo]:
    """Take methods from the lean module, so that Lightning's are called."""

    def change(trainer: Trainer) -> Undo:
        kept = {name: vars(lean.LeanModule)[name] for name in names}
        for name in names:
            delattr(lean.LeanModule, name)
        return _restore(lean.LeanModule, kept)

    return change


def gradient_norm(trainer: Trainer) -> Undo:
    """Take torch's norm of the gradients."""
    kept, module.gradient_norm = module.gradient_norm, torch.nn.utils.get_total_norm  # type: ignore[attr-defined]  # imported there, not exported
    return _restore(module, {"gradient_norm": kept})


def signatures(trainer: Trainer) -> Undo:
    """Let Lightning look up the signature of the training step."""
    loop = trainer.fit_loop.epoch_loop
    kept = {"_build_kwargs": vars(loop).pop("_build_kwargs")}
    return _restore(loop, kept)


def late_clearing(trainer: Trainer) -> Undo:
    """Let Lightning free gradients after the forward pass."""
    loop = trainer.fit_loop.epoch_loop.automatic_optimization
    kept = {"_make_closure": vars(loop).pop("_make_closure")}
    return _restore(loop, kept)


def torchs_steps(trainer: Trainer) -> Undo:
    """Let torch look up what its kernel is called with, and free gradients."""
    kind: Any = type(trainer.optimizers[0])
    kept = {"step": kind.step, "zero_grad": kind.zero_grad}
    kind.step, kind.zero_grad = torch.optim.AdamW.step, torch.optim.AdamW.zero_grad
    return _restore(kind, kept)


MEASURES: Mapping[str, Callable[[Trainer], Undo]] = {
    "without_idle_hooks": idle_hooks,
    "NoProfiler": profiler,
    "LeanModule.__setattr__": without("__setattr__"),
    "LeanModule.transfer": without("_on_before_batch_transfer", "_apply_batch_transfer_handler"),
    "gradient_norm": gradient_norm,
    "lean_loop": signatures,
    "clear_gradients_first": late_clearing,
}
"""How each measure is taken back; what that returns brings it back again. They are those of Lightning's own loop, which
several devices take."""

SHORT_WAY: Mapping[str, Callable[[Trainer], Undo]] = {"LeanEpochLoop": long_way, "FusedAdamW": torchs_steps}
"""What one device takes instead of that loop with these measures, and what updates its weights."""


class Alternate(Callback):
    """Time the steps in turns: one with all measures, and one without the measure whose turn it is.

    Parameters
    ----------
    measures : mapping of str to callable
        How each is taken back.
    """

    def __init__(self, measures: Mapping[str, Callable[[Trainer], Undo]]) -> None:
        self.measures = measures
        self.seconds: list[float] = []
        self.undo: Undo = lambda: None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a turn and begin the next one; an epoch ends in the middle of one, which then counts its end as well."""
        done = trainer.global_step - WARM_STEPS
        if done < 0 or done % TURN:
            return
        if done:
            self.seconds.append((time.thread_time() - self.start) / TURN)
            self.undo()
        pair, second = divmod(done // TURN, 2)
        self.undo = list(self.measures.values())[pair % len(self.measures)](trainer) if second else lambda: None
        self.start = time.thread_time()

    def gains(self) -> dict[str, tuple[float, float]]:
        """Return, of each measure, the median of microseconds a step is longer without it, and of the ratio."""
        pairs = list(zip(self.seconds[::2], self.seconds[1::2], strict=True))
        every = len(self.measures)
        return {
            name: (
                statistics.median(1e6 * (longer - lean) for lean, longer in pairs[place::every]),
                statistics.median(longer / lean for lean, longer in pairs[place::every]),
            )
            for place, name in enumerate(self.measures)
        }


def measured(measures: Mapping[str, Callable[[Trainer], Undo]], data: Path) -> Alternate:
    """Train on ``data`` for as many turns as ``measures`` need."""
    alternate = Alternate(measures)
    overrides = [
        *mlp(data, 1, 32, embeddings=False),
        f"dataset_config.dataloader_kwargs.batch_size={BATCH_SIZE}",
        f"model_config.training_config.max_steps={WARM_STEPS + 2 * TURN * TURNS * len(measures)}",
        "model_config.training_config.max_epochs=1000",
        "model_config.training_config.gradient_clip_val=1.0",
    ]
    train(family, overrides, alternate)
    return alternate


def main() -> None:
    """Print ``BENCH lean.<measure>_us=value`` and the ratio of the two ways for each measure."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = gaussian_events(Path(folder) / "gaussian.h5", N_EVENTS)
        short = measured(SHORT_WAY, data)
        with patch.object(loop, "takes_short_way", return_value=False):
            long = measured(MEASURES, data)
    for name, (microseconds, ratio) in (short.gains() | long.gains()).items():
        print(f"BENCH lean.{name}_us={microseconds:.1f} ratio={ratio:.3f}", flush=True)
    print(f"BENCH lean.step_us={1e6 * statistics.median(short.seconds[::2]):.1f}")


if __name__ == "__main__":
    main()
