"""Events of like multiplicity share a batch that is padded to its own longest one; what networks say stays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_events import dataset, make_chunk, write_events
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.families.hep.architecture.jagged import ParticleTransformerArchitecture
from tabstar_lit.families.hep.batch import Features
from tabstar_lit.families.hep.data import EventData
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer
from tabstar_lit.families.hep.preparation.trimming import SIZES, Multiplicities


@given(st.lists(st.integers(0, 30), min_size=1, max_size=90), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
def test_rows_change_places_within_a_pool_only(counts: list[int], size: int, batches: int, seed: int) -> None:
    known = Multiplicities({"jets": np.array(counts)}, {"jets": 20})
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(counts))
    grouped = known.grouped(rows, size, batches, rng)
    whole, pool = len(rows) - len(rows) % size, size * batches
    assert (grouped[whole:] == rows[whole:]).all()
    kept = np.minimum(counts, 20)
    for start in range(0, whole, pool):
        own = grouped[start : min(start + pool, whole)]
        assert sorted(own) == sorted(rows[start : min(start + pool, whole)])
        spans = sorted((kept[part].min(), kept[part].max()) for part in own.reshape(-1, size))
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_slots_hold_the_longest_event_in_few_sizes() -> None:
    known = Multiplicities({"jets": np.array([0, 3, 9, 40]), "muons": np.array([0, 1, 2, 3])}, {"jets": 20, "muons": 2})
    assert known.slots(np.array([0, 1])) == {"jets": 3, "muons": 1}
    assert known.slots(np.array([1, 2])) == {"jets": 9, "muons": 2}
    assert known.slots(np.array([3])) == {"jets": 20, "muons": 2}
    many = Multiplicities({"jets": np.arange(130)}, {"jets": 128})
    assert len({many.slots(np.array([row]))["jets"] for row in range(130)}) == SIZES


@pytest.fixture(scope="module", params=["memory", "stream"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[EventData, EventData]:
    """Return the same events in trimmed and in whole batches."""
    path = write_events(tmp_path_factory.mktemp("trimming") / "events.h5", make_chunk(400, seed=3))
    options: dict[str, Any] = {
        "features": ["*", "jets.*"],
        "cache": request.param,
        "dataloader_kwargs": {"batch_size": 16},
    }
    trimmed, whole = (
        EventData(dataset(path, **options, dataset_kwargs={"bucket_batches": batches}), seed=0, momenta=True)
        for batches in (8, None)
    )
    return trimmed, whole


def test_an_epoch_has_the_same_events_and_a_batch_its_own_length(data: tuple[EventData, EventData]) -> None:
    trimmed, whole = data
    rows = [np.concatenate([key.rows for key in own.train_plan().batches(0)]) for own in data]
    assert sorted(rows[0]) == sorted(rows[1])
    for key in trimmed.train_plan().batches(1)[:6]:
        short, long = trimmed.train_dataset()[key], whole.train_dataset()[key]
        jets, padded = short.features.objects["jets"], long.features.objects["jets"]
        slots = jets.mask.shape[1]
        assert slots == max(1, int(padded.mask.sum(1).max()))
        assert torch.equal(short.rows, long.rows)
        for one, other in zip(jets, padded, strict=True):
            assert torch.equal(one, other[:, :slots])
        assert not padded.mask[:, slots:].any()


def test_a_network_says_and_learns_the_same(data: tuple[EventData, EventData]) -> None:
    trimmed, whole = data
    torch.manual_seed(0)
    config = ParticleTransformerArchitecture(
        model="ParticleTransformer", embedding_dim=16, heads=2, particle_blocks=1, class_blocks=1
    )
    network = ParticleTransformer(config, whole.inputs, 1).double().eval()  # without dropout
    keys = trimmed.train_plan().batches(0)
    assert len({trimmed.train_dataset()[key].features.objects["jets"].mask.shape for key in keys}) > 1
    for key in keys[:3]:
        found = []
        for own in data:
            network.zero_grad()
            logits = network(_double(own.train_dataset()[key].features))
            logits.square().sum().backward()
            found.append([logits.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
        assert max(float((a - b).abs().max()) for a, b in zip(*found, strict=True)) < 1e-10
        assert max(float(gradient.abs().max()) for gradient in found[0][1:]) > 1e-4


def _double(features: Features) -> Features:
    objects = {
        name: own._replace(numerical=own.numerical.double(), momenta=own.momenta.double())
        for name, own in features.objects.items()
    }
    return Features(features.numerical.double(), features.categorical, objects)
