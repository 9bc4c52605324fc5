"""What each measure of ``engine/lean.py`` gains: ``python -m benchmarks.lean`` prints microseconds of a step.

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
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from benchmarks.loops import train
from benchmarks.signal import gaussian_events, mlp
from tabstar_lit.engine import lean, module
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


MEASURES: Mapping[str, Callable[[Trainer], Undo]] = {
    "without_idle_hooks": idle_hooks,
    "NoProfiler": profiler,
    "LeanModule.__setattr__": without("__setattr__"),
    "LeanModule.transfer": without("_on_before_batch_transfer", "_apply_batch_transfer_handler"),
    "gradient_norm": gradient_norm,
    "lean_loop": signatures,
    "clear_gradients_first": late_clearing,
}
"""How each measure is taken back; what that returns brings it back again."""


class Alternate(Callback):
    """Time the steps in turns: one with all measures, and one without the measure whose turn it is."""

    def __init__(self) -> None:
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
        self.undo = list(MEASURES.values())[pair % len(MEASURES)](trainer) if second else lambda: None
        self.start = time.thread_time()

    def gains(self) -> dict[str, tuple[float, float]]:
        """Return, of each measure, the median of microseconds a step is longer without it, and of the ratio."""
        pairs = list(zip(self.seconds[::2], self.seconds[1::2], strict=True))
        return {
            name: (
                statistics.median(1e6 * (longer - lean) for lean, longer in pairs[place :: len(MEASURES)]),
                statistics.median(longer / lean for lean, longer in pairs[place :: len(MEASURES)]),
            )
            for place, name in enumerate(MEASURES)
        }


def main() -> None:
    """Print ``BENCH lean.<measure>_us=value`` and the ratio of the two ways for each measure."""
    torch.set_num_threads(1)
    alternate = Alternate()
    with tempfile.TemporaryDirectory() as folder:
        data = gaussian_events(Path(folder) / "gaussian.h5", N_EVENTS)
        steps = WARM_STEPS + 2 * TURN * TURNS * len(MEASURES)
        train(
            family,
            [
                *mlp(data, 1, 32, embeddings=False),
                f"dataset_config.dataloader_kwargs.batch_size={BATCH_SIZE}",
                f"model_config.training_config.max_steps={steps}",
                "model_config.training_config.max_epochs=1000",
                "model_config.training_config.gradient_clip_val=1.0",
            ],
            alternate,
        )
    for name, (microseconds, ratio) in alternate.gains().items():
        print(f"BENCH lean.{name}_us={microseconds:.1f} ratio={ratio:.3f}", flush=True)
    print(f"BENCH lean.step_us={1e6 * statistics.median(alternate.seconds[::2]):.1f}")


if __name__ == "__main__":
    main()
