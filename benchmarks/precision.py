"""What half precision does to a training: the losses of the same steps, family by family, on a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.loops import train
from tabstar_lit.families import get_family
from tabstar_lit.families.hep.events.toys import ensure_toy
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin

CURVE_STEPS = 200
SMOOTHED = 20
"""Steps of a running mean: single batches differ by more than precisions do."""

SMALL: dict[str, tuple[str, ...]] = {
    "tabstar": ("dataset_config={corpus: CORPUS, tables: [iris, breast_cancer], rows_per_dataset: 120}",),
    "signal": ("dataset_config.files=TOY",),
    "fakes": ("stages=[numerator]",),
    "microbes": (),
    "antibody": (),
    "experts": (),
}
"""Small trainings on what each family brings or generates; ``CORPUS`` and ``TOY`` stand for files. TabSTAR reads
strings with a trained encoder: to an untrained one all are so alike that half precision rounds off what differs."""

DIGIT = 2**-8
"""The last digit of a number in bfloat16, over the number."""


class Losses(Callback):
    """Keep the loss of every step, on the device.

    Parameters
    ----------
    rounding : int or None
        Round the weights at the start, once, to the digits of bfloat16, up or down by chance: a seed; None: leave them.
    """

    def __init__(self, rounding: int | None = None) -> None:
        self.kept: list[Tensor] = []
        self.rounding = rounding

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Round, where that is asked for."""
        if self.rounding is None:
            return
        generator = torch.Generator().manual_seed(self.rounding)
        with torch.no_grad():
            for weight in module.parameters():
                chance = torch.rand(weight.shape, generator=generator).to(weight.device) - 0.5
                weight.copy_((weight * (1 + DIGIT * chance)).bfloat16())

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep it."""
        self.kept.append(outputs["mean"])

    def values(self) -> Tensor:
        """Return them."""
        return torch.stack(self.kept).double().cpu()


def losses(
    family_name: str,
    precision: str,
    folder: Path,
    more: Sequence[str] = (),
    *,
    steps: int,
    rounding: int | None = None,
) -> Tensor:
    """Return the losses of the first steps of a small training: ``[steps]``.

    Parameters
    ----------
    family_name : str
        Of :data:`SMALL`.
    precision : str
        As ``experiment_config.precision``.
    folder : Path
        Where its data are, or are made.
    more : sequence of str
        Further settings.
    steps : int
        How many.
    rounding : int or None
        As of :class:`Losses`: the least that half precision does, which tells how far a training magnifies it.
    """
    files = {"CORPUS": str(ensure_builtin(folder / "builtin.h5")), "TOY": str(ensure_toy(folder / "toy.h5"))}
    kept = Losses(rounding)
    settings = [
        *(_filled(setting, files) for setting in SMALL[family_name]),
        "experiment_config.tracker=none",
        "experiment_config.check_eval_n_epoch=100000",
        f"experiment_config.precision={precision}",
        f"model_config.training_config.max_steps={steps}",
        "model_config.training_config.max_epochs=100000",
        *more,
    ]
    train(get_family(family_name), settings, kept, warm=False)
    return kept.values()


def _filled(setting: str, files: dict[str, str]) -> str:
    for word, path in files.items():
        setting = setting.replace(word, path)
    return setting


def largest_difference(exact: Tensor, rough: Tensor) -> float:
    """Return the largest difference of running means of two curves, relative to where the first one begins.

    Parameters
    ----------
    exact, rough : Tensor
        ``[steps]`` losses.
    """
    means = [curve.unfold(0, min(SMOOTHED, len(curve)), 1).mean(1) for curve in (exact, rough)]
    return float((means[0] - means[1]).abs().max() / means[0][0].abs())
