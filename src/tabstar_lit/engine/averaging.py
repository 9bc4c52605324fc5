"""The mean of the best weights of a stage, where it is better than the best of them.

Weights that one training went through lie in one basin, and their mean is often better than each (stochastic weight
averaging, arXiv 1803.05407; model soups, arXiv 2203.05482). Here it is asked of the validation rows, and dropped where
it is not. Of adapters, both factors are averaged, as TabSTAR does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tabstar_lit.config.schema import TrainingConfig
from tabstar_lit.engine.callbacks.checkpoints import Checkpoints
from tabstar_lit.engine.devices.distributed import gather, is_main_process
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, AtomicCheckpointIO, read_checkpoint

AVERAGED = "_averaged"
"""How the name of the file ends."""

log = logging.getLogger(__name__)


class Averaged(NamedTuple):
    """The mean of the best weights.

    Attributes
    ----------
    path : Path
        Its checkpoint, from which no training can go on.
    epochs : tuple of int
        Whose weights it is the mean of, best first.
    """

    path: Path
    epochs: tuple[int, ...]

    def entry(self, training: TrainingConfig, score: float, best: float) -> dict[str, Any] | None:
        """Return its record as a checkpoint; None, and no file, where ``score`` is not better than the ``best``."""
        better = score < best if training.monitor_mode == "min" else score > best
        log.info(
            "The mean of the weights of epochs %s has %s %.4f, the best of them %.4f: %s.",
            ", ".join(map(str, self.epochs)), training.monitor, score, best, "taken" if better else "not taken",
        )  # fmt: skip
        if not better:
            if is_main_process():
                self.path.unlink()
            return None
        place = {"epoch": self.epochs[0], "step": None, "time": time.time(), "kind": "averaged"}
        return {**place, "monitor": training.monitor, "score": score, "path": self.path.name}


def average_best(checkpoints: Checkpoints) -> Averaged | None:
    """Write the mean of the best weights; None where it is not asked for, or there are not two of them.

    Of several processes the first writes, and the others wait until they can read.
    """
    best = checkpoints.best[: checkpoints.training.average_best or 0]
    if len(best) < 2:
        return None
    path = checkpoints.directory / f"{checkpoints.run_name}{AVERAGED}.ckpt"
    if is_main_process():
        AtomicCheckpointIO().save_checkpoint(mean_of([checkpoints.directory / own.name for own in best]), path)
    gather(None)
    return Averaged(path, tuple(own.epoch for own in best))


def mean_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Return what a checkpoint of the mean weights of others holds; whole numbers are those of the first.

    Raises
    ------
    CheckpointError
        A file cannot be read.
    """
    first = read_checkpoint(paths[0])
    sums: dict[str, Tensor] = {name: _double(weight) for name, weight in first["state_dict"].items()}
    for path in paths[1:]:
        for name, weight in read_checkpoint(path)["state_dict"].items():
            if weight.is_floating_point():
                sums[name] += weight
    mean = {
        name: (sums[name] / len(paths)).to(weight.dtype) if weight.is_floating_point() else weight
        for name, weight in first["state_dict"].items()
    }
    return {"state_dict": mean, CHECKPOINT_KEY: first[CHECKPOINT_KEY]}


def _double(weight: Tensor) -> Tensor:
    return weight.to(torch.float64) if weight.is_floating_point() else weight
