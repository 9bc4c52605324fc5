"""Operations of a step are those that torch counts in a real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hand_made_samples import a_batch, small, some_facts
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.families.microbes.build import build_module
from tabstar_lit.families.microbes.flops import StepFlops
from tabstar_lit.families.microbes.module import MicrobesModule
from tabstar_lit.families.microbes.study.batch import PAD, SampleBatch
from tabstar_lit.families.microbes.training_config import MicrobesModel

N_SAMPLES, N_ASVS = 6, 9
WIDE = {"embedding_dim": 64, "dropout": 0.1, "asv_layers": 2}


def a_module(role: str, **architecture: Any) -> MicrobesModule:
    torch.manual_seed(0)
    own = small(**WIDE, **architecture)
    plain = {"name": "test", "role": role, "freeze_base": False, "architecture_config": own}
    return build_module(MicrobesModel.model_validate(plain, strict=False), some_facts()).train()


def without_padding() -> SampleBatch:
    """Return samples of which each has all ASVs, all of one length."""
    batch = a_batch(N_SAMPLES, n_asvs=N_ASVS)
    every = torch.arange(N_ASVS).expand(N_SAMPLES, -1)
    sequences = torch.where(batch.sequences == PAD, 1, batch.sequences)
    return replace(batch, sequences=sequences, asvs=every, counts=torch.full(every.shape, 3.0))


@pytest.mark.parametrize("role", ["encoder", "predictor"])
@pytest.mark.parametrize("per_token", [1, 3])
def test_the_count_is_torchs(role: str, per_token: int) -> None:
    module, batch = a_module(role, bases_per_token=per_token), without_padding()
    with FlopCounterMode(display=False) as counter:
        module.compute(batch).loss.backward()
    assert counter.get_total_flops() == pytest.approx(
        float(StepFlops(module.network).of(batch, letters=True)), rel=0.02
    )


def test_padding_is_left_out_and_so_is_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = a_module("predictor"), without_padding()
    padded = replace(
        batch,
        sequences=torch.nn.functional.pad(batch.sequences, (0, 5), value=PAD),
        asvs=torch.nn.functional.pad(batch.asvs, (0, 4), value=-1),
    )
    counted = StepFlops(module.network)
    assert counted.of(padded, letters=True) == counted.of(batch, letters=True) > counted.of(batch)
    assert StepFlops(module.network, frozen=True).of(batch) < counted.of(batch)
    assert module.compute(batch).flops is None
    monkeypatch.setattr("tabstar_lit.families.microbes.module.may_have_peak", lambda tensor: True)
    assert module.compute(batch).flops == counted.of(batch, letters=True)
    assert module.eval().compute(batch).flops is None
