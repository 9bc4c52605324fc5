"""Networks of collision events on a device: through the engine, by hand, and weaver's on the same jets."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.device_loops import EpochClock, bare_step, on_device, profile, recorded_step, seconds_of, step_of
from benchmarks.gpu import Figures, Options
from benchmarks.gpu_tabstar import RECORDED, engine_options
from benchmarks.loops import experiment, train
from benchmarks.signal import ONLY_TRAINING, UNWEIGHTED, bare_loss, gaussian_events
from benchmarks.signal import mlp as mlp_overrides
from tabstar_lit.engine.stages import Parts, build_parts
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.events.toys import ensure_toy
from tabstar_lit.families.hep.signal.family import family

EPOCHS = 4
"""Of a training through the engine; the first three warm up."""

PARTICLE_TRANSFORMER = (
    "model_config=signal/particle_transformer",
    "model_config.architecture_config.embedding_dim=128",
    "model_config.architecture_config.heads=8",
    "model_config.architecture_config.dim_head=16",
    "model_config.architecture_config.particle_blocks=8",
    "model_config.architecture_config.class_blocks=2",
    "model_config.architecture_config.ff_hidden_mult=4",
    "model_config.architecture_config.particle_attention.embedding_layers=3",
    "model_config.architecture_config.particle_attention.embedding_dim=64",
    "model_config.architecture_config.flat_embeddings=null",
)
"""The published sizes."""

BUCKETS = "dataset_config.dataset_kwargs.bucket_batches"
WITHOUT_PAIRS = "model_config.architecture_config.particle_attention=null"


def mlp(options: Options) -> Figures:
    """Yield the figures of a network of four layers of 256, in small and large batches."""
    with tempfile.TemporaryDirectory() as name:
        data = gaussian_events(Path(name) / "gaussian.h5", options.pick(200_000, 4_000))
        for size in (options.pick(1024, 64), options.pick(8192, 256)):
            chosen = [
                *mlp_overrides(data, 4, 256, embeddings=False),
                f"dataset_config.dataloader_kwargs.batch_size={size}",
                "dataset_config.dataset_kwargs.drop_last=true",
                *engine_options(options),
                "experiment_config.precision=32-true",
            ]
            parts = build_parts(family, *experiment(family, Path(name), f"bare{size}", chosen), seed=0)
            events = Shuffled(list(parts.data.train_dataloader()), options.device)
            step = bare_step(parts, bare_loss, options.device)
            plain = seconds_of(lambda events=events, step=step: [step(b) for b in events.epoch()], options.device)  # type: ignore[misc]  # of this turn
            if options.profile:
                profile(f"mlp {size}", lambda step=step, events=events: step(events.some()), options.device)  # type: ignore[misc]  # as above
            n_events = size * events.n_batches
            yield f"mlp_plain_events_per_s_b{size}", n_events / plain
            engine = engine_seconds(options, chosen)
            yield f"mlp_engine_unrecorded_vs_plain_b{size}", plain / engine
            engine = engine_seconds(options, [*chosen, RECORDED])
            yield f"mlp_engine_events_per_s_b{size}", n_events / engine
            yield f"mlp_engine_vs_plain_b{size}", plain / engine


class Shuffled:
    """Flat events as tensors on the device, in another order each epoch, as in a hand-written loop."""

    def __init__(self, batches: Sequence[EventBatch], device: str) -> None:
        self.like, self.size, self.n_batches = on_device(batches[:1], device)[0], len(batches[0].targets), len(batches)
        self.numerical = torch.cat([batch.features.numerical for batch in batches]).to(device)
        self.targets = torch.cat([batch.targets for batch in batches]).to(device)

    def epoch(self) -> Any:
        """Yield the batches of an epoch."""
        for rows in torch.randperm(len(self.targets), device=self.targets.device).split(self.size):
            yield self._batch(rows)

    def some(self) -> EventBatch:
        """Return the first batch."""
        return self._batch(torch.arange(self.size, device=self.targets.device))

    def _batch(self, rows: Tensor) -> EventBatch:
        features = self.like.features._replace(numerical=self.numerical[rows])
        return self.like._replace(features=features, targets=self.targets[rows])


def engine_seconds(options: Options, chosen: Sequence[str]) -> float:
    """Return the seconds of the training steps of an epoch through the engine."""
    clock = EpochClock(options.device)
    epochs = options.pick(EPOCHS, 2)
    train(family, [*chosen, f"model_config.training_config.max_epochs={epochs}"], clock, warm=False)
    return statistics.median(clock.seconds[epochs // 2 :])


def jets(options: Options, folder: Path, network: Sequence[str]) -> list[str]:
    """Return the overrides that train a network on jets of up to 64 constituents."""
    file = options.data / "jets.h5"
    there = file.exists() and not options.tiny
    source = [
        "dataset_config=signal/jets",
        f"dataset_config.files={file}",
        "dataset_config.max_objects.constituents=64",
    ]
    toy = [f"dataset_config.files={ensure_toy(folder / 'toy.h5')}"]
    return [
        *network,
        *(source if there else toy),
        f"dataset_config.dataloader_kwargs.batch_size={options.pick(512, 64)}",
        "dataset_config.dataset_kwargs.drop_last=true",
        *UNWEIGHTED,
        *ONLY_TRAINING,
        *engine_options(options),
    ]


def particle_transformer(options: Options) -> Figures:
    """Yield jets a second of Particle Transformer: the network by hand, the engine, and weaver's network."""
    small = PARTICLE_TRANSFORMER[:1] if options.tiny else PARTICLE_TRANSFORMER
    with tempfile.TemporaryDirectory() as name:
        chosen = jets(options, Path(name), small)
        parts, batches = built(options, Path(name), chosen)
        n_jets, size = sum(len(batch.targets) for batch in batches), len(batches[0].targets)
        plain = timed(parts, batches, options)
        yield "part_plain_jets_per_s", n_jets / plain
        if options.profile:
            step = bare_step(parts, bare_loss, options.device)
            profile("part", lambda: [step(batch) for batch in batches[:2]], options.device)
        other = weaver(options, batches)
        if other is not None:
            yield "part_weaver_jets_per_s", n_jets / other
            yield "part_plain_vs_weaver", other / plain
        parts.module.compile_network(backend(options))
        fast = timed(parts, batches, options, recorded=True)
        yield "part_jets_per_s", n_jets / fast
        if other is not None:
            yield "part_vs_weaver", other / fast
        engine, trained = engine_seconds(options, [*chosen, *made_fast(options)]), size * parts.data.batches_per_epoch()
        yield "part_engine_jets_per_s", trained / engine
        yield "part_engine_vs_network", trained / n_jets * fast / engine
        if options.profile:
            step = recorded_step(parts, options.device)
            profile("part compiled", lambda: [step(batch) for batch in batches[:2]], options.device)
            bucketed = engine_seconds(options, [*chosen, *made_fast(options), f"{BUCKETS}={options.pick(16, 2)}"])
            yield "part_bucketed_vs_engine", engine / bucketed


def plain_transformer(options: Options) -> Figures:
    """Yield jets a second of the same network without pairs."""
    small = (*(PARTICLE_TRANSFORMER[:1] if options.tiny else PARTICLE_TRANSFORMER), WITHOUT_PAIRS)
    with tempfile.TemporaryDirectory() as name:
        chosen = jets(options, Path(name), small)
        parts, batches = built(options, Path(name), chosen)
        n_jets = sum(len(batch.targets) for batch in batches)
        yield "plain_transformer_eager_jets_per_s", n_jets / timed(parts, batches, options)
        yield "plain_transformer_recorded_jets_per_s", n_jets / timed(parts, batches, options, recorded=True)
        parts.module.compile_network(backend(options))
        yield "plain_transformer_jets_per_s", n_jets / timed(parts, batches, options, recorded=True)


def made_fast(options: Options) -> list[str]:
    """Return what makes a network fast: compiled, where that is not a try, and recorded."""
    return [RECORDED, *([] if options.tiny else ["model_config.training_config.compile=true"])]


def backend(options: Options) -> str:
    """Return what compiles: for a try, nothing that takes minutes."""
    return "aot_eager" if options.tiny else "inductor"


def built(options: Options, folder: Path, chosen: Sequence[str]) -> tuple[Parts, list[EventBatch]]:
    """Return what the family builds, and its training batches on the device."""
    parts = build_parts(family, *experiment(family, folder, "bare", chosen), seed=0)
    batches = list(parts.data.train_dataloader())
    return parts, on_device(batches[: options.pick(len(batches), 2)], options.device)


def timed(parts: Parts, batches: Sequence[EventBatch], options: Options, *, recorded: bool = False) -> float:
    """Return the seconds of an epoch by hand."""
    step = recorded_step(parts, options.device) if recorded else bare_step(parts, bare_loss, options.device)
    return seconds_of(lambda: [step(batch) for batch in batches], options.device, warm=2)


def weaver(options: Options, batches: Sequence[EventBatch]) -> float | None:
    """Return the seconds of weaver-core's network on the same jets; None where that is not installed."""
    try:
        from weaver.nn.model.ParticleTransformer import ParticleTransformer
    except ImportError as error:
        print(f"# weaver-core: {error}", flush=True)
        return None
    inputs = [_as_weavers(batch) for batch in batches]
    options_of = {"embed_dims": (128, 512, 128), "pair_embed_dims": (64, 64, 64), "num_heads": 8, "num_layers": 8}
    network: nn.Module = ParticleTransformer(
        inputs[0][0].shape[1], num_classes=1, pair_input_dim=4, num_cls_layers=2, trim=False, **options_of
    ).to(options.device)

    def loss(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        features, momenta, mask, targets = batch
        return binary_cross_entropy_with_logits(network(features, momenta, mask).squeeze(1), targets)

    step: Callable[[Any], None] = step_of(network.train(), loss, options.device, None)
    return seconds_of(lambda: [step(batch) for batch in inputs], options.device)


def _as_weavers(batch: EventBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return features ``[B, F, P]``, momenta ``[B, 4, P]`` (px, py, pz, E), mask ``[B, 1, P]`` and targets."""
    (objects,) = batch.features.objects.values()
    pt, eta, phi, energy = objects.momenta.unbind(-1)
    momenta = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh(), energy], dim=1)
    mask = objects.mask[:, None]
    return objects.numerical.transpose(1, 2).contiguous(), momenta * mask, mask, batch.targets.float()
