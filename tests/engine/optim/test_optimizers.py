"""Every optimizer of torch and pytorch_optimizer either trains, saves and resumes exactly, or is refused."""

from __future__ import annotations

import io
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import nn

from tabstar_lit.config.schema import OptimizerConfig, TrainingConfig
from tabstar_lit.engine.optim.optimizers import (
    MUON_FAMILY,
    OPTIMIZERS,
    REFUSED,
    base_lr,
    build_optimizer,
    check_optimizer,
    has_weight_decay,
)
from tabstar_lit.engine.optim.parameter_groups import parameter_groups
from tabstar_lit.errors import ConfigError

USABLE = [name for name, line in OPTIMIZERS.lines().items() if not line.startswith("refused")]
FEATURES = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
TARGETS = FEATURES @ torch.randn(4, 4, generator=torch.Generator().manual_seed(2))

# Defaults made for large models or a warm-up need another rate on 64 rows and 20 steps.
PARAMETERS: dict[str, dict[str, Any]] = {
    "dadaptadam": {"lr": 0.01},
    "ranger": {"lr": 0.05},
    "ranger21": {"lr": 0.05, "num_iterations": 60},
}

# Steps before the save and again after it; the first steps of ranger go up on a problem as small as this.
DEFAULT_HALF = 10
HALF = {"ranger": 25}


def config(name: str, **params: Any) -> OptimizerConfig:
    return OptimizerConfig(optimizer_name=name, optimizer_params=params)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 4))


def build(name: str, net: nn.Module) -> torch.optim.Optimizer:
    optimizer = config(name, **PARAMETERS.get(name, {}))
    return build_optimizer(optimizer, parameter_groups(net, TrainingConfig(optimizer=optimizer)))


def loss_of(net: nn.Module) -> torch.Tensor:
    return nn.functional.mse_loss(net(FEATURES), TARGETS)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    @torch.enable_grad()
    def closure() -> torch.Tensor:  # as Lightning passes it: zero, forward, backward, once
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.filterwarnings("ignore")
def test_every_listed_optimizer_lowers_a_loss_and_resumes_exactly(name: str) -> None:
    half = HALF.get(name, DEFAULT_HALF)
    net = network()
    optimizer = build(name, net)
    assert all(isinstance(group["lr"], float | int) for group in optimizer.param_groups)
    before = loss_of(net).item()
    torch.manual_seed(3)
    train(net, optimizer, half)
    buffer = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    generators = torch.get_rng_state(), np.random.get_state()  # kron draws from numpy's
    train(net, optimizer, half)
    assert loss_of(net).item() < before

    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    resumed = network()
    optimizer = build(name, resumed)
    resumed.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(generators[0])
    np.random.set_state(generators[1])
    train(resumed, optimizer, half)
    for ours, theirs in zip(net.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_every_refused_optimizer_is_refused_with_its_reason(name: str) -> None:
    (problem,) = check_optimizer(config(name))
    assert problem.path == ("optimizer", "optimizer_name")
    assert problem.message == f"the optimizer '{name}' cannot be used: {REFUSED[name]}"
    with pytest.raises(ConfigError, match=r"training_config\.optimizer\.optimizer_name: .*cannot be used"):
        build_optimizer(config(name), [])
    assert OPTIMIZERS.lines()[name] == f"refused: {REFUSED[name]}"


def test_no_optimizer_of_the_libraries_is_left_out() -> None:
    listed = {name.lower() for name in OPTIMIZERS.lines()}
    own = {name.lower() for name, kind in vars(torch.optim).items() if isinstance(kind, type)} - {"optimizer"}
    assert own | set(pytorch_optimizer.get_supported_optimizers()) <= listed


@pytest.mark.parametrize("name", ["adashift", "conda", "scalableshampoo", "scion"])
@pytest.mark.filterwarnings("ignore")
def test_optimizers_refused_for_their_state_really_cannot_be_saved_as_plain_data(name: str) -> None:
    net = network()
    optimizer = pytorch_optimizer.load_optimizer(name)(net.parameters())
    train(net, optimizer, 3)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(buffer, weights_only=True)


def test_exact_spelling_wins_and_case_does_not_matter_otherwise() -> None:
    net = network()
    groups = [{"params": list(net.parameters())}]
    assert type(build_optimizer(config("Adamax"), groups)) is torch.optim.Adamax
    assert type(build_optimizer(config("adamax"), groups)) is pytorch_optimizer.AdaMax
    assert isinstance(build_optimizer(config("ADAMW"), groups), torch.optim.AdamW)
    assert isinstance(build_optimizer(config("adamw"), groups), torch.optim.AdamW)
    assert type(build_optimizer(config("AdaBelief"), groups)) is pytorch_optimizer.AdaBelief


def test_an_unknown_name_offers_the_usable_ones() -> None:
    (problem,) = check_optimizer(config("AdmaW"))
    assert "AdamW" in problem.allowed
    assert "LBFGS" not in problem.allowed
    with pytest.raises(ConfigError, match=r"unknown optimizer 'AdmaW'"):
        build_optimizer(config("AdmaW"), [])


@pytest.mark.parametrize(
    ("params", "place", "text"),
    [
        ({"learning_rate": 1e-3}, "learning_rate", "unknown parameter 'learning_rate' of AdamW"),
        ({"lr": "fast"}, "lr", "'lr' of AdamW is a number, not 'fast'"),
        ({"lr": True}, "lr", "is a number, not True"),
        ({"betas": 0.9}, "betas", "is a list of 2 numbers, not 0.9"),
        ({"betas": [0.9, "x"]}, "betas", "is a number, not 'x'"),
        ({"amsgrad": "yes"}, "amsgrad", "is true or false, not 'yes'"),
        ({"params": []}, "params", "unknown parameter 'params'"),
    ],
)
def test_wrong_parameters_are_located(params: dict[str, Any], place: str, text: str) -> None:
    (problem,) = check_optimizer(config("AdamW", **params))
    assert problem.path == ("optimizer", "optimizer_params", place)
    assert text in problem.message


def test_all_problems_are_reported_at_once_and_values_out_of_range_too() -> None:
    assert len(check_optimizer(config("AdamW", lrr=1, beta=2, lr="x"))) == 3
    (problem,) = check_optimizer(config("AdamW", lr=-1.0))
    assert "Invalid learning rate" in problem.message
    (problem,) = check_optimizer(config("lion", lr=-1.0))
    assert problem.path == ("optimizer", "optimizer_params")
    (problem,) = check_optimizer(config("ranger21"))
    assert "needs num_iterations" in problem.message


def test_numbers_written_as_text_and_lists_are_converted() -> None:
    optimizer = build_optimizer(
        config("AdamW", lr="3e-4", betas=["0.8", 0.99]), [{"params": [nn.Parameter(torch.zeros(1))]}]
    )
    assert optimizer.defaults["lr"] == 3e-4
    assert optimizer.defaults["betas"] == (0.8, 0.99)


def test_magma_takes_the_parameters_of_the_adamw_inside_it() -> None:
    assert base_lr(config("magma", lr=0.01)) == 0.01
    assert check_optimizer(config("magma", lr=0.01, tau=1.5)) == []
    assert len(check_optimizer(config("magma", speed=1))) == 1


@pytest.mark.parametrize("name", sorted(MUON_FAMILY))
def test_muon_orthogonalizes_matrices_and_gives_the_rest_to_adamw(name: str) -> None:
    net = network()
    training = TrainingConfig.model_validate(
        {
            "optimizer": {"optimizer_name": name, "optimizer_params": {"lr": 0.02, "adamw_lr": 0.001}},
            "parameter_groups": {"groups": [{"pattern": "3", "lr_scale": 0.5}]},
        }
    )
    optimizer = build_optimizer(training.optimizer, parameter_groups(net, training))
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"3": 0.01, "3/no_decay/adamw": 0.0005, "default": 0.02, "default/no_decay/adamw": 0.001}
    for group in optimizer.param_groups:
        assert all((p.ndim == 2) == group["use_muon"] for p in group["params"])


def test_base_lr_and_weight_decay() -> None:
    assert base_lr(config("AdamW")) == 1e-3
    assert base_lr(config("AdamW", lr="2e-5")) == 2e-5
    assert base_lr(config("sara")) is None
    assert base_lr(config("nonsense")) is None
    assert base_lr(config("sam")) is None
    assert has_weight_decay(config("AdamW"))
    assert not has_weight_decay(config("Rprop"))


def fused(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [group.get("fused") for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("name", "params"),
    [("AdamW", {"lr": 0.01}), ("adam", {"amsgrad": True}), ("SGD", {"momentum": 0.9, "nesterov": True})],
)
def test_fused_kernels_are_chosen_and_compute_what_torchs_own_choice_does(name: str, params: dict[str, Any]) -> None:
    networks = [network(), network()]
    ours = build_optimizer(config(name, **params), [{"params": list(networks[0].parameters())}])
    theirs = type(ours)(networks[1].parameters(), **params)
    assert (fused(ours), fused(theirs)) == ([True], [None])
    for net, optimizer in zip(networks, (ours, theirs), strict=True):
        train(net, optimizer, 50)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chosen", [{"fused": False}, {"foreach": True}, {"foreach": False}, {"differentiable": True}])
def test_what_is_configured_is_not_replaced_by_a_fused_kernel(chosen: dict[str, bool]) -> None:
    optimizer = build_optimizer(config("AdamW", **chosen), [{"params": list(network().parameters())}])
    assert not any(fused(optimizer))


def test_weights_without_a_fused_kernel_are_updated_without_it() -> None:
    for odd in (torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.complex64)):
        optimizer = build_optimizer(config("AdamW"), [{"params": [*network().parameters(), nn.Parameter(odd)]}])
        assert fused(optimizer) == [None]
    assert fused(build_optimizer(config("Adagrad"), [{"params": list(network().parameters())}])) == [None]


def test_scaled_losses_and_fused_kernels_exclude_each_other() -> None:
    groups = [{"params": list(network().parameters())}]
    assert fused(build_optimizer(config("AdamW"), groups, loss_scaling=True)) == [None]
    with pytest.raises(ConfigError, match=r"optimizer_params\.fused: with precision 16-mixed"):
        build_optimizer(config("AdamW", fused=True), groups, loss_scaling=True)


class Regression(pl.LightningModule):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.network, self.optimizer_name = network(), name

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return loss_of(self.network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build(self.optimizer_name, self.network)


@pytest.mark.parametrize("name", ["emonavi", "muon"])
@pytest.mark.filterwarnings("ignore")
def test_they_work_under_lightning_with_clipping_and_accumulation(name: str) -> None:
    module = Regression(name)
    before = loss_of(module.network).item()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        gradient_clip_val=1.0,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(24, 1)))
    assert trainer.global_step == 12
    assert loss_of(module.network).item() < before
