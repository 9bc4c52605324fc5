"""Speed of the signal family: its loader by itself, and training through the engine against a bare loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.loops import beside_lightning, compare, compare_lightning
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.config import EventLoaderOptions, EventsDataset
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.events.file import ColumnInfo, EventChunk, EventSchema, EventWriter
from tabstar_lit.families.hep.events.toys import ensure_toy
from tabstar_lit.families.hep.signal.family import family

N_FEATURES, BATCH_SIZE, REPEATS = 20, 1024, 5
N_TRAINED, N_SERVED = 200_000, 200_000
"""Events of a training, seven tenths of which are trained on, and of the loader by itself."""

ONLY_TRAINING = (
    "model_config.training_config.scheduler=null",
    "model_config.training_config.gradient_clip_val=null",
    "model_config.training_config.loss=bce",
)
"""What a hand-written loop would not do either."""

UNWEIGHTED = (
    "dataset_config.use_mc_weights=false",
    "dataset_config.use_class_weights=false",
    "dataset_config.norm_class_weights=false",
)


def gaussian_events(path: Path, n_events: int) -> Path:
    """Write two classes of Gaussian events that lie half a standard deviation apart in every feature."""
    rng = np.random.default_rng(0)
    labels = (np.arange(n_events) % 2).astype(np.int16)
    names = [f"x{i}" for i in range(N_FEATURES)]
    columns = {name: rng.normal(0.5 * labels, 1.0).astype(np.float32) for name in names}
    schema = EventSchema(classes=("background", "signal"), columns={name: ColumnInfo(name) for name in names})
    with EventWriter(path, schema) as writer:
        writer.append(EventChunk(columns, labels, np.ones(n_events), np.arange(n_events, dtype=np.uint64)))
    return path


def mlp(data: Path, layers: int, width: int, *, embeddings: bool) -> list[str]:
    """Return the overrides that train an MLP of these sizes, with default embeddings or none."""
    network = (
        f"{{n_layers: {layers}, n_hidden: {width}, embedding_dim: null, dropout: 0.0, post_embeddings: {{act: null}}, "
        "ensemble: {members: 1}, "
        f"embeddings: {{reduction: mean}}, disable_embeddings: {str(not embeddings).lower()}}}"
    )
    return [
        "model_config=signal/mlp",
        f"model_config.architecture_config={network}",
        "dataset_config=signal/higgsml",
        f"dataset_config.files={data}",
        f"dataset_config.dataloader_kwargs.batch_size={BATCH_SIZE}",
        *UNWEIGHTED,
        *ONLY_TRAINING,
    ]


def bare_loss(module: TrainingModule, batch: EventBatch) -> Tensor:
    """Return the loss of a batch as a hand-written loop computes it."""
    return binary_cross_entropy_with_logits(module.network(batch.features).squeeze(1), batch.targets.float())


class Shuffled(Sequence[EventBatch]):
    """The flat events of some batches as tensors in memory, in another order each epoch, as in a hand-written loop.

    Parameters
    ----------
    batches : sequence of EventBatch
        Numbers and targets of their events are served.
    weighted : bool, default False
        And their weights in the loss.
    """

    def __init__(self, batches: Sequence[EventBatch], *, weighted: bool = False) -> None:
        self.like, self.sizes = batches[0], [len(batch.targets) for batch in batches]
        self.numerical = torch.cat([batch.features.numerical for batch in batches])
        self.targets = torch.cat([batch.targets for batch in batches])
        self.weights = torch.cat([batch.loss_weights for batch in batches]) if weighted else None

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.sizes)

    def __getitem__(self, number: int) -> EventBatch:  # type: ignore[override]  # no slices
        """Index the events of a batch; the first one begins an epoch."""
        if number == 0:
            self.order = torch.split(torch.randperm(len(self.targets)), self.sizes)
        rows = self.order[number]
        features = self.like.features._replace(numerical=self.numerical.index_select(0, rows))
        batch = self.like._replace(features=features, targets=self.targets.index_select(0, rows))
        return batch if self.weights is None else batch._replace(loss_weights=self.weights.index_select(0, rows))


def loader_rows_per_s(data: Path) -> float:
    """Return how many cached rows of shuffled batches one core serves per second (median of 5 epochs)."""
    loader_options = EventLoaderOptions(batch_size=BATCH_SIZE)
    events = EventData(EventsDataset(name="gaussian", files=str(data), dataloader_kwargs=loader_options), seed=0)
    speeds = []
    for epoch in range(REPEATS + 1):
        loader = events.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # the engine's own sampler
        start = time.perf_counter()
        rows = sum(len(batch.targets) for batch in loader)
        speeds.append(rows / (time.perf_counter() - start))
    return statistics.median(speeds[1:])


def figures() -> dict[str, float]:
    """Return the figures of this family by name."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data, toy = gaussian_events(Path(folder) / "gaussian.h5", N_TRAINED), ensure_toy(Path(folder) / "toy.h5")
        plain = mlp(data, 4, 256, embeddings=False)
        large = compare(family, plain, bare_loss, in_memory=Shuffled)
        fused = compare(family, plain, bare_loss, in_memory=Shuffled, fused=True)
        floor = compare_lightning(family, plain, bare_loss)
        embeddings = mlp(data, 4, 256, embeddings=True)
        embedded = compare(family, embeddings, bare_loss, bare_overrides=plain, in_memory=Shuffled)
        small = compare(family, mlp(data, 1, 32, embeddings=False), bare_loss, in_memory=Shuffled)
        objects = compare(
            family,
            [f"dataset_config.files={toy}", *UNWEIGHTED, *ONLY_TRAINING, "dataset_config.split.test=0.6"],
            bare_loss,
        )
        rows_per_s = loader_rows_per_s(gaussian_events(Path(folder) / "served.h5", N_SERVED))
    return {
        "signal.mlp_vs_bare": large.ratio,
        "signal.mlp_step_ms": large.step_ms,
        "signal.mlp_extra_ms_per_step": large.extra_ms,
        **beside_lightning("signal.mlp", fused, floor),
        "signal.mlp_embeddings_vs_bare": embedded.ratio,
        "signal.mlp_small_vs_bare": small.ratio,
        "signal.mlp_small_extra_ms_per_step": small.extra_ms,
        "signal.mlp_small_step_ms": small.step_ms,
        "signal.set_transformer_vs_bare": objects.ratio,
        "signal.loader_rows_per_s": rows_per_s,
    }
