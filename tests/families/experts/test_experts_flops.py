"""Operations of a step are those that torch counts in a real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from experts_networks import VOCABULARY, architecture, token_batch
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.families.experts.architecture import ExpertsModel, ExpertsTraining, Role
from tabstar_lit.families.experts.flops import batch_flops, step_cost
from tabstar_lit.families.experts.module import ExpertsModule
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.objectives import OBJECTIVES
from tabstar_lit.families.experts.text.batch import TokenBatch
from tabstar_lit.nn.flops import Cost

ROWS, LENGTH = 3, 40
SIZES = {"width": 64, "heads": 2, "dropout": 0.1}
NETWORKS: dict[str, tuple[Role, dict[str, Any], float]] = {
    "transformer": ("transformer", {}, 0.001),
    "state space": ("state_space", {}, 0.08),
    "continuous diffuser": ("diffuser", {}, 0.002),
    "diffuser in blocks": ("diffuser", {"diffuser": {"attention": "block"}}, 0.002),
    "masked diffuser": ("diffuser", {"diffuser": {"kind": "masked"}}, 0.08),
    "mixture": ("mixture", {}, 0.06),
    "mixture of latents": ("mixture", {"mixture": {"kv_latent_dim": 16}}, 0.06),
    "mixture with memory": ("mixture", {"mixture": {"use_vector_store": True, "max_vectors": 500}}, 0.06),
    "mixture with 3 passes": ("mixture", {"diffuser": {"denoising_steps": 3}}, 0.06),
    "mixture in blocks": ("mixture", {"diffuser": {"attention": "block", "block": 3}}, 0.22),
}
"""Role, options, and how far the count may be from torch's, which also counts what no gradient is asked of."""


def whole(batch: TokenBatch) -> TokenBatch:
    """Return a batch of which every token counts."""
    return replace(batch, targets=batch.targets.clamp(min=0), n_targets=batch.targets.numel())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_count_is_torchs(name: str) -> None:
    role, options, bound = NETWORKS[name]
    torch.manual_seed(0)
    network = build(role, architecture(**SIZES, **options), VOCABULARY).train()
    batch = whole(token_batch(ROWS))
    with FlopCounterMode(display=False) as counter:
        OBJECTIVES[role](network, batch, ExpertsTraining()).loss.backward()
    own = step_cost(network).of(ROWS * LENGTH, ROWS * LENGTH**2, ROWS)  # torch counts pairs that are not looked at
    assert counter.get_total_flops() == pytest.approx(own, rel=bound)


def test_padding_and_other_documents_are_left_out() -> None:
    cost = Cost(token=1.0, pair=1000.0, row=0.5)
    assert batch_flops(cost, token_batch(ROWS)) == ROWS * (35 + 1000 * 35 * 36 // 2 + 0.5)
    packed = token_batch(ROWS, packed=True)
    assert batch_flops(cost, packed) == ROWS * (35 + 1000 * (15 * 16 // 2 + 20 * 21 // 2) + 0.5)


def test_a_step_reports_them_where_a_peak_may_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExpertsModel.model_validate(
        {"name": "t", "role": "transformer", "architecture_config": {"size": "nano", **SIZES}}
    )
    module = ExpertsModule(config, vocabulary=VOCABULARY, context_length=LENGTH, payload={"family": "experts"})
    batch = token_batch(ROWS)
    assert module.compute(batch).flops is None
    monkeypatch.setattr("tabstar_lit.families.experts.module.may_have_peak", lambda tensor: True)
    expected = batch_flops(step_cost(module.network), batch)
    assert module.compute(batch).flops == expected
    assert module.eval().compute(batch).flops is None
