"""A plain training step reads nothing back from the device, whatever the family, and bad steps are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.loops import train
from host_reads import PlainSteps
from torch import Tensor
from torch.optim import SGD, AdamW

from tabstar_lit.config.schema import NonFinite
from tabstar_lit.engine.finite import Checked, FiniteGuard, takes_found_inf
from tabstar_lit.errors import NonFiniteError
from tabstar_lit.families import get_family
from tabstar_lit.families.hep.events.toys import ensure_toy

SHORT = ("experiment_config.tracker=none", "model_config.training_config.max_epochs=1")
CASES = {
    "tabstar": ("tabstar", "dataset_config.rows_per_dataset=32"),
    "trained text": (
        "tabstar",
        "dataset_config.rows_per_dataset=32",
        "model_config=tabstar/tiny",
        "model_config.architecture_config.text_encoder={name: random, unfreeze_layers: 1}",
    ),
    "signal": ("signal", "dataset_config.files=TOY"),
    "weighted signal": (
        "signal",
        "dataset_config.files=TOY",
        "dataset_config.use_mc_weights=true",
        "model_config=signal/particle_transformer",
    ),
    "fakes": ("fakes", "stages=[numerator]"),
    "microbes": ("microbes",),
    "experts": ("experts",),
}


@pytest.mark.parametrize("case", CASES)
def test_a_plain_step_reads_nothing_back(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(tmp_path))
    name, *overrides = CASES[case]
    toy = ensure_toy(tmp_path / "toy.h5") if "signal" in case else None
    steps = PlainSteps(1, 4)
    train(get_family(name), [*(o.replace("TOY", str(toy)) for o in overrides), *SHORT], steps)
    assert steps.steps == 3
    assert not steps.reads.counts


def guard_of(policy: str, budget: int = 10) -> FiniteGuard:
    return FiniteGuard(NonFinite(policy=policy, budget=budget))  # type: ignore[arg-type]  # any text, for pydantic


def checked(step: int, loss: float, norm: float = 1.0) -> Checked:
    return Checked(step, 0, ("left",), (torch.tensor(loss),), torch.tensor(norm))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_run_that_stops_changes_nothing_from_the_bad_step_on(bad: float) -> None:
    guard = guard_of("stop")
    found = [float(guard.check(checked(step, bad if step == 3 else 1.0))) for step in range(1, 6)]
    assert found == [0, 0, 1, 1, 1]
    with pytest.raises(NonFiniteError, match="optimizer step 3, epoch 0, source 'left'"):
        guard.read()


def test_steps_within_the_budget_are_left_out_alone_and_those_beyond_it_end_the_run() -> None:
    guard = guard_of("skip", budget=2)
    norms = [1.0, float("inf"), 1.0, float("nan"), 1.0, float("nan"), 1.0]
    found = [float(guard.check(checked(step, 1.0, norm))) for step, norm in enumerate(norms, start=1)]
    assert found == [0, 1, 0, 1, 0, 1, 1]
    with pytest.raises(NonFiniteError, match=r"gradient norm nan at optimizer step 6.*budget of 2"):
        guard.read()


def test_the_count_of_skipped_steps_goes_on_after_a_resume() -> None:
    guard = guard_of("skip", budget=2)
    guard.restore(2)
    assert [float(guard.check(checked(1, float("nan")))), float(guard.check(checked(2, 1.0)))] == [1, 1]


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_found_inf_leaves_weights_and_state_as_they_are(kind: Any) -> None:
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = kind([weight], lr=0.1, fused=True)
    assert takes_found_inf(optimizer)

    def step(gradient: Tensor, found: float) -> None:
        weight.grad, optimizer.found_inf = gradient, torch.tensor(found)
        optimizer.step()

    step(torch.randn(5, 3), 0.0)
    before = [weight.detach().clone(), *(value.clone() for value in optimizer.state[weight].values())]
    step(torch.full((5, 3), float("nan")), 1.0)
    after = [weight.detach(), *optimizer.state[weight].values()]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    step(torch.randn(5, 3), 0.0)
    assert not torch.equal(before[0], weight.detach())


def test_an_optimizer_that_cannot_be_told_is_not_told() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    assert not takes_found_inf(AdamW(weights, fused=False))
    assert not takes_found_inf(SGD(weights, lr=0.1, momentum=0.9, fused=True))
    assert not takes_found_inf(torch.optim.RMSprop(weights))
