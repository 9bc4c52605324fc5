"""Speed of the fakes family: training an ensemble through the engine against a bare loop."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.loops import beside_lightning, compare, compare_lightning
from benchmarks.signal import Shuffled
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.toy.config import FakesToy
from tabstar_lit.families.hep.fakes.toy.events import toy_fakes
from tabstar_lit.losses.density_ratio import ratio_loss
from tabstar_lit.losses.ratio_risk import RatioRisk

N_TRAINED = 200_000
"""Events of a toy, seven tenths of which are trained on; the numerator sees those of the tight region."""

ONLY_TRAINING = (
    "stages=[numerator]",
    "experiment_config.check_metrics_n_epoch=null",
    "model_config.training_config.monitor=train_loss",
    "model_config.training_config.scheduler=null",
    "model_config.training_config.gradient_clip_val=null",
)
"""What a hand-written loop would not do either."""

WEIGHTED = partial(Shuffled, weighted=True)
"""Events in memory with the weights of each head."""

RISK = RatioRisk(ratio_loss("bce"))


def bare_loss(module: TrainingModule, batch: EventBatch) -> Tensor:
    """Return the risk of a batch as a hand-written loop computes it, but for its constant scale."""
    targets = module.get_buffer("sides")[batch.targets]
    return RISK(module.network(batch.features), targets, batch.loss_weights)


def figures() -> dict[str, float]:
    """Return the figures of this family by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        toy = Path(folder) / "toy.h5"
        toy_fakes(toy, FakesToy(n_events=N_TRAINED))
        trained = [f"dataset_config.files={toy}", *ONLY_TRAINING]
        step = compare(family, trained, bare_loss, in_memory=WEIGHTED)
        fused = compare(family, trained, bare_loss, in_memory=WEIGHTED, fused=True)
        floor = compare_lightning(family, trained, bare_loss)
    return {
        "fakes.loop_vs_bare": step.ratio,
        **beside_lightning("fakes.loop", fused, floor),
        "fakes.loop_extra_ms_per_step": step.extra_ms,
        "fakes.loop_step_ms": step.step_ms,
    }
