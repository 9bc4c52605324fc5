"""AdamW in one call: the bits of torch's own, whatever happens to its weights, its groups and its state."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from tabstar_lit.engine.optim.fused import FusedAdam, FusedAdamW

Kind = type[FusedAdam]
THEIRS: dict[Kind, type[Adam]] = {FusedAdam: Adam, FusedAdamW: AdamW}
SHAPES = ((3, 4), (4,), (4, 4), (2, 3, 5), ())
STEPS = 6

Pair = tuple[Optimizer, Optimizer]
Do = Callable[[int, Pair], None]


def weights(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": parameters[:2], "weight_decay": 0.1},
        {"params": parameters[2:], "lr": 0.05, "betas": (0.8, 0.9)},
    ]


def pair(kind: Kind, dtype: torch.dtype = torch.float32, **options: Any) -> Pair:
    ours, theirs = (one(groups(weights(dtype)), fused=True, **options) for one in (kind, THEIRS[kind]))
    return ours, theirs


def parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def alike_after(optimizers: Pair, do: Do = lambda step, pair: None, *, first: int = 0, steps: int = STEPS) -> bool:
    """Take steps with gradients that ``do`` may change; tell whether weights and state are the same to the bit."""
    for step in range(first, first + steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
            generator = torch.Generator().manual_seed(step)
            for p in parameters(optimizer):
                p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        do(step, optimizers)
        for optimizer in optimizers:
            optimizer.step()
    ours, theirs = map(bits, optimizers)
    return ours == theirs


def bits(optimizer: Optimizer) -> dict[str, Any]:
    """Return groups, weights and state, each tensor as its type, shape and bytes."""
    saved = optimizer.state_dict()
    tensors = {("weights", number): weight.detach() for number, weight in enumerate(parameters(optimizer))}
    tensors |= {(number, name): value for number, state in saved["state"].items() for name, value in state.items()}
    plain = {key: (t.dtype, t.shape, t.reshape(-1).view(torch.uint8).tolist()) for key, t in tensors.items()}
    return {"groups": saved["param_groups"], "tensors": plain}


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"maximize": True, "weight_decay": 0.2}], ids=str)
def test_steps_have_the_bits_of_torchs(kind: Kind, dtype: torch.dtype, options: dict[str, Any]) -> None:
    optimizers = pair(kind, dtype, **options)
    before = [p.clone() for p in parameters(optimizers[0])]

    assert alike_after(optimizers)

    assert not any(map(torch.equal, before, parameters(optimizers[0])))


def test_a_step_that_is_not_finite_changes_nothing_and_is_not_counted() -> None:
    def some_are_not(step: int, both: Pair) -> None:
        for optimizer in both:
            vars(optimizer)["found_inf"] = torch.tensor(float(step in (0, 3)))

    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), some_are_not)

    assert [float(state["step"]) for state in ours.state.values()] == [STEPS - 2] * len(SHAPES)


def test_weights_without_a_gradient_stay_as_they_are() -> None:
    def some_have_none(step: int, both: Pair) -> None:
        for optimizer in both:
            chosen = parameters(optimizer)
            for number in {0: (0, 2), 2: (0,), 3: (1, 4), 4: range(len(SHAPES))}.get(step, ()):
                chosen[number].grad = None

    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), some_have_none)

    assert [float(ours.state[p]["step"]) for p in parameters(ours)] == [3, 4, 4, 5, 4]


def test_rates_may_change_from_step_to_step() -> None:
    ours, theirs = pair(FusedAdamW)
    schedules = [CosineAnnealingLR(one, STEPS) for one in (ours, theirs)]

    for step in range(STEPS):
        assert alike_after((ours, theirs), first=step, steps=1)
        for schedule in schedules:
            schedule.step()

    assert ours.param_groups[0]["lr"] < 1e-4


def test_a_rate_in_a_tensor_goes_torchs_way() -> None:
    assert alike_after(pair(FusedAdamW, lr=torch.tensor(0.01)))


def test_a_group_may_hold_two_types() -> None:
    both = []
    for kind in (FusedAdamW, AdamW):
        single, double = weights()[:2], weights(torch.float64)[2:4]
        both.append(kind([*single, *double], lr=0.01, fused=True))

    assert alike_after((both[0], both[1]))


def test_a_group_may_be_added() -> None:
    def add(step: int, both: Pair) -> None:
        if step == 2:
            for optimizer in both:
                late = nn.Parameter(torch.ones(3))
                late.grad = torch.ones(3)
                optimizer.add_param_group({"params": [late]})

    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), add)

    assert float(ours.state[parameters(ours)[-1]]["step"]) == STEPS - 2


@pytest.mark.parametrize("turned", [False, True])
def test_state_is_exchanged_with_torchs(turned: bool) -> None:
    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), steps=3)
    saved = io.BytesIO()
    torch.save(theirs.state_dict() if turned else ours.state_dict(), saved)

    for optimizer in (ours, theirs):
        saved.seek(0)
        optimizer.load_state_dict(torch.load(saved, weights_only=True))
    assert alike_after((ours, theirs), first=3)

    assert all(float(state["step"]) == 3 + STEPS for state in ours.state.values())


def test_a_saved_state_does_not_move_with_later_steps() -> None:
    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), steps=3)
    kept = copy.deepcopy(ours.state_dict())

    assert alike_after((ours, theirs), first=3)

    assert all(float(state["step"]) == 3 for state in kept["state"].values())


def test_state_that_was_replaced_is_the_one_that_counts() -> None:
    """Lightning moves the state of an optimizer by putting other tensors in the place of its own."""

    def replace(step: int, both: Pair) -> None:
        if step == 3:
            for optimizer in both:
                for state in optimizer.state.values():
                    state.update({name: value.clone() for name, value in state.items()})

    assert alike_after(pair(FusedAdamW), replace)


def test_copies_go_on_by_themselves() -> None:
    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), steps=2)
    other = copy.deepcopy(ours)

    assert alike_after((other, theirs), first=2)

    assert all(float(state["step"]) == 2 for state in ours.state.values())


def test_hooks_of_a_step_are_called() -> None:
    ours, theirs = pair(FusedAdamW)
    called: list[str] = []
    ours.register_step_pre_hook(lambda *_: called.append("before"))
    ours.register_step_post_hook(lambda *_: called.append("after"))

    assert alike_after((ours, theirs), steps=2)

    assert called == ["before", "after"] * 2


def test_a_closure_computes_gradients_first() -> None:
    (weight,), rows = weights()[:1], torch.ones(5, 3)
    optimizer = FusedAdamW([weight], lr=0.1, fused=True)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (rows @ weight).square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
        return value.detach()

    first = optimizer.step(loss)

    assert loss() < first


def test_gradients_are_cleared_or_filled_with_zeros() -> None:
    ours, theirs = pair(FusedAdamW)
    assert alike_after((ours, theirs), steps=1)

    ours.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in parameters(ours))
    ours.zero_grad()
    assert all(p.grad is None for p in parameters(ours))


def test_sparse_gradients_are_refused_as_torch_does() -> None:
    weight = nn.Parameter(torch.ones(3, 2))
    weight.grad = torch.ones(3, 2).to_sparse()

    with pytest.raises(RuntimeError, match="sparse"):
        FusedAdamW([weight], fused=True).step()


@pytest.mark.parametrize("fused", [None, False])
def test_without_a_kernel_for_all_at_once_it_is_torchs(fused: bool | None) -> None:
    ours, theirs = FusedAdamW(groups(weights()), fused=fused), AdamW(groups(weights()), fused=fused)

    assert alike_after((ours, theirs))
