"""Speed of the experts family: its loader by itself, and training through the engine against a bare loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.loops import compare
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.families.experts.family import family
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch
from tabstar_lit.families.experts.text.builtin import ensure_builtin
from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.data import TextData
from tabstar_lit.families.experts.text.dataset_config import TextDataset

REPEATS = 5
TRAINING = (
    "stages=[transformer]",
    "dataset_config.batch_size=8",
    "dataset_config.rows_per_epoch=64",
    "dataset_config.max_samples=50",
    "model_config.training_config.scheduler=null",
)
"""A transformer of the default size, and epochs of 8 steps of 8 rows of 256 tokens."""


def bare_loss(module: TrainingModule, batch: TokenBatch) -> Tensor:
    """Return the loss of a batch as a hand-written loop computes it."""
    network = module.network
    logits: Tensor = network.logits(network(batch.tokens, batch.documents))
    return cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET)


def loader_tokens_per_s(corpus: Path) -> float:
    """Return how many tokens of packed, mixed batches one core serves per second (median of 5 epochs)."""
    data = TextData(TextDataset(name="builtin"), TextCorpus.open(corpus), batch_size=32, seed=0)
    speeds = []
    for epoch in range(REPEATS + 1):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # the engine's own sampler
        start = time.perf_counter()
        tokens = sum(batch.n_targets for batch in loader)
        speeds.append(tokens / (time.perf_counter() - start))
    return statistics.median(speeds[1:])


def figures() -> dict[str, float]:
    """Return the speed of the loader, and of training as a share of a bare loop's."""
    with tempfile.TemporaryDirectory() as folder:
        served = loader_tokens_per_s(ensure_builtin(Path(folder, "builtin.h5"), "bytes"))
    trained = compare(family, TRAINING, bare_loss)
    return {
        "experts.loader_tokens_per_s": served,
        "experts.tokens_vs_bare": trained.ratio,
        "experts.bare_step_ms": trained.step_ms,
    }
