"""Schedules: closed formulas, lengths filled in from the run, and exact resume at any step."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from tabstar_lit.config.schema import SchedulerConfig
from tabstar_lit.engine.optim.schedulers import (
    REFUSED,
    SCHEDULERS,
    EpochDecay,
    build_scheduler,
    check_scheduler,
    learning_rates,
)
from tabstar_lit.engine.optim.warmups import AttentionWarmup, CosineWarmup, LinearWarmup, SqrtExpWarmup
from tabstar_lit.errors import ConfigError

USABLE = [name for name, line in SCHEDULERS.lines().items() if not line.startswith("refused")]
STEPS = 20
PARAMETERS: dict[str, dict[str, Any]] = {
    "AttentionWarmup": {"d_model": 64, "n_warmup_steps": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 6},
    "CosineWarmup": {"n_warmup_steps": 5},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
    "ExponentialLR": {"gamma": 0.9},
    "LinearWarmup": {"warmup_fraction": 0.25},
    "MultiStepLR": {"milestones": [3, 12]},
    "SqrtExpWarmup": {"a": 0.1, "c": 0.1},
    "StepLR": {"step_size": 4},
    "cosine_annealing_with_warm_restart": {"T_0": 6},
    "cosine_annealing_with_warmup": {"warmup_steps": 3},
    "cyclic": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
    "multi_step": {"milestones": [3, 12]},
    "step": {"step_size": 4},
    "warmup_stable_decay": {"warmup_fraction": 0.2, "num_stable_steps": 6, "num_decay_steps": 10},
}


def config(name: str, interval: str = "step", **params: Any) -> SchedulerConfig:
    return SchedulerConfig.model_validate({"scheduler_name": name, "interval": interval, "scheduler_params": params})


def optimizer_of(*rates: float) -> Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def run(optimizer: Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    """Return every group's rate as each of ``steps`` optimizer steps uses it."""
    used = []
    for step in range(steps):
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(1.0 + step)
        else:
            scheduler.step()
    return used


def cosine(n: int, warmup: int, fall: int, high: float, low: float) -> float:
    if n < warmup:
        return low + (high - low) * n / warmup
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(n - warmup, fall) / fall))


def attention(n: int, d: int, warmup: int) -> float:
    return d**-0.5 * min(n**-0.5, n * warmup**-1.5)


FORMULAS: list[tuple[Callable[[Optimizer], LRScheduler], Callable[[int], float]]] = [
    (
        lambda o: LinearWarmup(o, 10, min_lr=0.01, max_lr=0.5),
        lambda n: 0.01 + 0.49 * n / 10 if n < 10 else 0.5,
    ),
    (
        lambda o: CosineWarmup(o, 10, 30, max_lr=0.5, min_lr=0.01),
        lambda n: cosine(n, 10, 30, 0.5, 0.01),
    ),
    (
        lambda o: CosineWarmup(o, 10, 30, max_lr=0.5, min_lr=0.01, freeze_step=20),
        lambda n: cosine(min(n, 20), 10, 30, 0.5, 0.01),
    ),
    (lambda o: CosineWarmup(o, 0, 30, max_lr=0.5, min_lr=0.01), lambda n: cosine(n, 0, 30, 0.5, 0.01)),
    (lambda o: AttentionWarmup(o, 512, 10), lambda n: attention(n, 512, 10)),
    (lambda o: AttentionWarmup(o, 512, 10, lr_mul=2.5), lambda n: 2.5 * attention(n, 512, 10)),
    (lambda o: AttentionWarmup(o, 512, 10, min_lr=0.01), lambda n: max(0.01, attention(n, 512, 10))),
    (lambda o: AttentionWarmup(o, 512, 10, freeze_step=7), lambda n: attention(min(n, 7), 512, 10)),
    (
        lambda o: SqrtExpWarmup(o, 0.2, 0.05),
        lambda n: max(1e-6, 0.2 * math.sqrt(0.05 * n) * math.exp(-0.05 * n)),
    ),
    (
        lambda o: SqrtExpWarmup(o, 0.2, 0.05, lr_mul=3.0, freeze_step=15),
        lambda n: 0.6 * math.sqrt(0.05 * min(n, 15)) * math.exp(-0.05 * min(n, 15)),
    ),
]


@pytest.mark.parametrize(("make", "formula"), FORMULAS)
def test_step_k_runs_at_the_formula_of_k_from_the_first_step_to_beyond_the_end(
    make: Callable[[Optimizer], LRScheduler], formula: Callable[[int], float]
) -> None:
    optimizer = optimizer_of(0.1)
    used = run(optimizer, make(optimizer), 60)
    assert [rates[0] for rates in used] == pytest.approx([formula(n) for n in range(1, 61)], rel=1e-12)


def test_peaks_are_where_and_what_the_formulas_say() -> None:
    def highest(make: Callable[[Optimizer], LRScheduler]) -> tuple[int, float]:
        optimizer = optimizer_of(0.1)
        used = [rates[0] for rates in run(optimizer, make(optimizer), 60)]
        return used.index(max(used)) + 1, max(used)

    assert highest(lambda o: AttentionWarmup(o, 512, 10)) == (10, pytest.approx((512 * 10) ** -0.5))
    assert highest(lambda o: SqrtExpWarmup(o, 0.2, 0.05)) == (10, pytest.approx(0.4289 * 0.2, rel=1e-4))
    assert highest(lambda o: CosineWarmup(o, 10, 30)) == (10, 0.1)
    assert highest(lambda o: LinearWarmup(o, 10)) == (10, 0.1)


@pytest.mark.parametrize(("make", "formula"), FORMULAS)
def test_groups_keep_their_ratio_to_the_largest(
    make: Callable[[Optimizer], LRScheduler], formula: Callable[[int], float]
) -> None:
    optimizer = optimizer_of(0.02, 0.1, 0.0)
    for n, rates in enumerate(run(optimizer, make(optimizer), 50), start=1):
        assert rates == pytest.approx([0.2 * formula(n), formula(n), 0.0], rel=1e-12)


def test_they_equal_torchs_schedules_where_the_formulas_coincide() -> None:
    ours, theirs = optimizer_of(0.1), optimizer_of(0.1)
    linear = lr_scheduler.LinearLR(theirs, start_factor=0.1, total_iters=9)  # its step 1 is our n = 1 of W = 10
    expected = run(theirs, linear, 30)
    assert run(ours, LinearWarmup(ours, 10, min_lr=0.0), 30) == [pytest.approx(lr) for lr in expected]

    ours, theirs = optimizer_of(0.1), optimizer_of(0.1)
    annealing = lr_scheduler.CosineAnnealingLR(theirs, T_max=30, eta_min=0.01)
    expected = run(theirs, annealing, 31)[1:]  # torch's first step is n = 0
    assert run(ours, CosineWarmup(ours, 0, 30, min_lr=0.01), 30) == [pytest.approx(lr) for lr in expected]


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("stop", [0, 1, 7, 19])
def test_every_listed_schedule_runs_and_resumes_exactly_from_plain_data(name: str, stop: int) -> None:
    def build() -> tuple[Optimizer, Any]:
        optimizer = optimizer_of(0.1)
        params = PARAMETERS.get(name, {})
        interval = "epoch" if name == "ReduceLROnPlateau" else "step"
        scheduler = build_scheduler(config(name, interval, **params), optimizer, total_steps=STEPS, steps_per_epoch=5)
        return optimizer, scheduler

    optimizer, scheduler = build()
    unbroken = run(optimizer, scheduler, STEPS)
    assert all(0 <= rate[0] < 3 for rate in unbroken)

    optimizer, scheduler = build()
    before = run(optimizer, scheduler, stop)
    buffer = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    optimizer, scheduler = build()
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    assert before + run(optimizer, scheduler, STEPS - stop) == unbroken


def test_no_schedule_of_the_libraries_is_left_out() -> None:
    torchs = {
        name
        for name, kind in vars(lr_scheduler).items()
        if isinstance(kind, type) and issubclass(kind, LRScheduler) and not name.startswith("_")
    }
    assert torchs - {"LRScheduler"} | set(pytorch_optimizer.get_supported_lr_schedulers()) <= set(SCHEDULERS.lines())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_refused_schedule_is_refused_with_its_reason(name: str) -> None:
    (problem,) = check_scheduler(config(name))
    assert problem.path == ("scheduler", "scheduler_name")
    assert REFUSED[name] in problem.message
    with pytest.raises(ConfigError, match="cannot be used"):
        build_scheduler(config(name), optimizer_of(0.1), total_steps=10, steps_per_epoch=5)


def test_lengths_are_filled_from_the_run() -> None:
    def build(name: str, interval: str = "step", **params: Any) -> Any:
        return build_scheduler(config(name, interval, **params), optimizer_of(0.1), total_steps=95, steps_per_epoch=10)

    assert build("CosineAnnealingLR").T_max == 95
    assert build("CosineAnnealingLR", "epoch").T_max == 10
    assert build("CosineAnnealingLR", T_max=7).T_max == 7
    assert build("OneCycleLR").total_steps == 95
    assert build("OneCycleLR", epochs=3, steps_per_epoch=4).total_steps == 12
    assert build("LinearLR").total_iters == 95
    assert build("PolynomialLR").total_iters == 95
    assert build("rex").total_steps == 95
    assert build("rex").max_lr == 0.1
    assert build("LinearWarmup", warmup_fraction=0.1).n_warmup_steps == 10
    assert build("LinearWarmup", "epoch", warmup_fraction=0.1).n_warmup_steps == 1
    assert build("LinearWarmup", n_warmup_steps=3).n_warmup_steps == 3
    cosine_warmup = build("CosineWarmup", warmup_fraction=0.2)
    assert (cosine_warmup.n_warmup_steps, cosine_warmup.T_max) == (19, 76)
    assert build("cosinewarmup", n_warmup_steps=5).T_max == 90
    assert build("LinearWarmup", warmup_fraction=0).lr_at(1) == 0.1


@pytest.mark.parametrize(
    ("params", "warned"),
    [
        ({"n_warmup_steps": 10_000}, True),
        ({"n_warmup_steps": 49}, False),
        ({"n_warmup_steps": 51}, True),
        ({"warmup_fraction": 0.5}, False),
        ({"warmup_fraction": 0.6}, True),
    ],
)
def test_a_warmup_of_more_than_half_the_run_is_told(
    params: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = SchedulerConfig(scheduler_name="CosineWarmup", scheduler_params=params)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    build_scheduler(config, optimizer, total_steps=100, steps_per_epoch=10)
    assert ("of 100 steps, more than half of the run" in caplog.text) is warned


@pytest.mark.parametrize(
    ("name", "interval", "warned"),
    [("rex", "epoch", True), ("rex", "step", False), ("StepLR", "epoch", False), ("chebyshev", "epoch", False)],
)
def test_a_schedule_by_epoch_that_starts_at_zero_is_told(
    name: str, interval: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"step_size": 3} if name == "StepLR" else {}
    build_scheduler(config(name, interval, **params), optimizer_of(0.1), total_steps=40, steps_per_epoch=10)
    told = f"{name} starts at a learning rate of 0, which with interval: epoch is that of the whole first epoch"
    assert (told in caplog.text) is warned


def test_without_a_schedule_there_is_none() -> None:
    assert build_scheduler(None, optimizer_of(0.1), total_steps=1, steps_per_epoch=1) is None
    assert check_scheduler(None) == []


def test_plateau_follows_the_mode_of_the_monitored_metric() -> None:
    def mode(**params: Any) -> str:
        return build_scheduler(
            config("ReduceLROnPlateau", "epoch", **params),
            optimizer_of(0.1, 0.2),
            total_steps=10,
            steps_per_epoch=5,
            monitor_mode="max",
        ).mode

    assert mode() == "max"
    assert mode(mode="min", min_lr=[0.01, 0.02]) == "min"


def test_one_cycle_respects_groups_and_stays_at_its_end() -> None:
    optimizer = optimizer_of(0.02, 0.1)
    scheduler = build_scheduler(config("OneCycleLR", max_lr=0.5), optimizer, total_steps=20, steps_per_epoch=5)
    used = run(optimizer, scheduler, 40)
    assert max(rates[0] for rates in used) == pytest.approx(0.1)
    assert max(rates[1] for rates in used) == pytest.approx(0.5)
    assert used[20] == used[39] == pytest.approx([0.1 / 25e4, 0.5 / 25e4])

    theirs = optimizer_of(0.1)
    expected = run(theirs, lr_scheduler.OneCycleLR(theirs, max_lr=0.5, total_steps=20), 20)
    ours = optimizer_of(0.1)
    scheduler = build_scheduler(config("OneCycleLR", max_lr=0.5), ours, total_steps=20, steps_per_epoch=5)
    assert run(ours, scheduler, 20) == expected


def test_a_rise_of_one_step_starts_at_the_top() -> None:
    nearly = optimizer_of(0.1)
    expected = run(nearly, lr_scheduler.OneCycleLR(nearly, 0.5, total_steps=5, pct_start=0.2 - 1e-12), 5)
    ours = optimizer_of(0.1)
    one_step = config("OneCycleLR", max_lr=0.5, pct_start=0.2)
    scheduler = build_scheduler(one_step, ours, total_steps=5, steps_per_epoch=5)
    np.testing.assert_allclose(run(ours, scheduler, 5), expected, rtol=1e-9)
    assert expected[0] == pytest.approx([0.5])


@pytest.mark.parametrize("name", ["rex", "cosine_annealing_with_warmup"])
def test_schedules_that_would_flatten_groups_refuse_them(name: str) -> None:
    with pytest.raises(ConfigError, match=r"one learning rate for all parameter groups.*CosineWarmup"):
        build_scheduler(config(name), optimizer_of(0.1, 0.2), total_steps=10, steps_per_epoch=5)


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("CosineWarmup", {"n_warmup_steps": 3, "T_maxx": 3}, "unknown parameter 'T_maxx' of CosineWarmup"),
        ("CosineWarmup", {}, "CosineWarmup needs n_warmup_steps"),
        ("CosineWarmup", {"warmup_fraction": 1.5}, "'warmup_fraction' is between 0 and 1, not 1.5"),
        ("CosineWarmup", {"warmup_fraction": 0.1, "n_warmup_steps": 3}, "both set the warm-up"),
        ("CosineWarmup", {"n_warmup_steps": -1}, "n_warmup_steps is at least 0, not -1"),
        ("CosineWarmup", {"n_warmup_steps": 1, "T_max": 0}, "T_max is at least 1, not 0"),
        ("LinearWarmup", {"n_warmup_steps": 1, "min_lr": 2.0}, "min_lr is between 0 and max_lr"),
        ("AttentionWarmup", {"d_model": 0, "n_warmup_steps": 1}, "are at least 1, not 0 and 1"),
        ("SqrtExpWarmup", {"a": 1, "c": 0}, "c is above 0, not 0"),
        ("StepLR", {"step_size": "often"}, "'step_size' of StepLR is a number, not 'often'"),
        ("ReduceLROnPlateau", {"factor": 1.5}, "Factor should be < 1.0"),
        ("CosineAnnealingLR", {"warmup_fraction": 0.1}, "unknown parameter 'warmup_fraction'"),
        ("CyclicLR", {"base_lr": 0.1}, "needs max_lr"),
    ],
)
def test_wrong_parameters_are_problems_of_the_configuration(name: str, params: dict[str, Any], text: str) -> None:
    (problem,) = check_scheduler(config(name, "epoch", **params))
    assert problem.path[:2] == ("scheduler", "scheduler_params")
    assert text in problem.message


def test_what_only_the_real_optimizer_shows_is_a_configuration_error_too() -> None:
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))], lr=0.1)  # no momentum to cycle
    with pytest.raises(ConfigError, match=r"scheduler_params: CyclicLR refuses .*momentum"):
        build_scheduler(config("CyclicLR", base_lr=0.1, max_lr=0.2), optimizer, total_steps=10, steps_per_epoch=5)


def test_an_unknown_name_offers_the_usable_ones() -> None:
    (problem,) = check_scheduler(config("CosineWarmpu"))
    assert "CosineWarmup" in problem.allowed
    assert "LambdaLR" not in problem.allowed


# -- reduce_lr_on_epoch -----------------------------------------------------------------------------------------------


class Recorder(torch.optim.SGD):
    """SGD that notes the learning rates its steps use."""

    used: list[list[float]]

    def step(self, closure: Any = None) -> None:
        self.used.append([group["lr"] for group in self.param_groups])


def recorded(*rates: float) -> Recorder:
    optimizer = Recorder([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])
    optimizer.used = []
    return optimizer


@pytest.mark.parametrize(
    ("name", "params"),
    [
        (None, {}),
        ("CosineWarmup", {"n_warmup_steps": 3}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("OneCycleLR", {}),
    ],
)
def test_the_factor_multiplies_whatever_a_schedule_sets(name: str | None, params: dict[str, Any]) -> None:
    def rates(factor: float | None) -> list[list[float]]:
        optimizer = recorded(0.02, 0.1)
        decay = EpochDecay(optimizer, factor) if factor else None
        schedule = config(name, **params) if name else None
        scheduler = build_scheduler(schedule, optimizer, total_steps=12, steps_per_epoch=4)
        for step in range(1, 13):
            assert learning_rates(optimizer) == pytest.approx(
                [g["lr"] * (factor or 1) ** ((step - 1) // 4) for g in optimizer.param_groups]
            )
            optimizer.step()
            if scheduler:
                scheduler.step()
            if decay and step % 4 == 0:
                decay.step()
        return optimizer.used

    plain = rates(None)
    for step, (with_decay, without) in enumerate(zip(rates(0.5), plain, strict=True)):
        assert with_decay == pytest.approx([lr * 0.5 ** (step // 4) for lr in without], rel=1e-12)


def test_the_factor_resumes_and_survives_a_failed_step() -> None:
    optimizer = recorded(0.1)
    decay = EpochDecay(optimizer, 0.5)
    decay.step()
    decay.step()
    fresh = recorded(0.1)
    EpochDecay(fresh, 0.5).load_state_dict(decay.state_dict())
    del fresh.used  # the next step fails inside the optimizer
    with pytest.raises(AttributeError):
        fresh.step()
    assert fresh.param_groups[0]["lr"] == 0.1
    fresh.used = []
    fresh.step()
    fresh.step()
    assert fresh.used == [[0.025], [0.025]]


def test_the_factor_acts_once_where_a_step_calls_the_step_of_its_base_class() -> None:
    class Derived(Recorder):
        def step(self, closure: Any = None) -> None:
            super().step(closure)
            super().step(closure)

    optimizer = Derived([nn.Parameter(torch.zeros(1))], lr=0.1)
    optimizer.used = []
    EpochDecay(optimizer, 0.5).step()
    optimizer.step()
    assert optimizer.used == [[0.05], [0.05]]


def test_a_rate_that_the_optimizer_finds_itself_is_kept() -> None:
    class Finder(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            self.param_groups[0]["lr"] = 0.3

    optimizer = Finder([nn.Parameter(torch.zeros(1))], lr=0.1)
    decay = EpochDecay(optimizer, 0.5)
    decay.step()
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.6
    assert learning_rates(optimizer) == [0.3]
