"""What the training module makes of a configuration and of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from experts_networks import TINY, VOCABULARY, token_batch

from tabstar_lit.engine.optim.optimizers import build_optimizer
from tabstar_lit.engine.optim.parameter_groups import parameter_groups
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.experts.architecture import SIZES, ExpertsModel, Role
from tabstar_lit.families.experts.module import ExpertsModule

ROLES: tuple[Role, ...] = ("transformer", "state_space", "diffuser", "mixture")


def config(role: Role | None, **training: Any) -> ExpertsModel:
    return ExpertsModel.model_validate(
        {"name": "tests", "role": role, "architecture_config": {"size": "nano", **TINY}, "training_config": training}
    )


def module(role: Role | None, **training: Any) -> ExpertsModule:
    torch.manual_seed(0)
    return ExpertsModule(
        config(role, **training), vocabulary=VOCABULARY, context_length=40, payload={"family": "experts"}
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_step_returns_the_mean_over_targets_and_in_evaluation_the_sums_of_rows(role: Role) -> None:
    made, batch = module(role), token_batch()
    output = made.compute(batch)
    assert (output.size, output.source) == (105, "mixed")
    assert output.loss.requires_grad
    assert "nats" not in output.columns
    made.eval()
    output = made.compute(batch)
    assert output.columns["tokens"].tolist() == [35, 35, 35]
    nll = output.terms.get("nll", output.loss)
    torch.testing.assert_close(output.columns["nats"].sum() / 105, nll.detach().double())
    assert set(output.terms) <= set(config(role).loss_terms())


@pytest.mark.parametrize("role", ROLES)
def test_size_sets_rate_and_batch(role: Role) -> None:
    preset, model = SIZES["nano"], config(role)
    share = {"diffuser": 1 / 3, "mixture": 1 / 3}.get(role, 1.0)
    assert model.learning_rate == pytest.approx(preset.learning_rate * share)
    assert model.batch_size == {"diffuser": 32, "mixture": 8}.get(role, 16)
    optimizer = module(role).config.training_config.optimizer
    assert optimizer.optimizer_params["lr"] == model.learning_rate


def test_a_rate_that_is_given_stays() -> None:
    given = {"optimizer_name": "AdamW", "optimizer_params": {"lr": 0.5}}
    assert module("transformer", optimizer=given).config.training_config.optimizer.optimizer_params == {"lr": 0.5}
    other = {"optimizer_name": "prodigy", "optimizer_params": {}}
    assert not module("transformer", optimizer=other).config.training_config.optimizer.optimizer_params


@pytest.mark.parametrize("role", ROLES)
def test_norms_embeddings_rates_and_skips_are_not_decayed(role: Role) -> None:
    made = module(role, optimizer={"optimizer_name": "AdamW", "optimizer_params": {"weight_decay": 0.1}})
    groups = parameter_groups(made.network, made.config.training_config)
    spared = {id(p) for group in groups if group.get("weight_decay") == 0 for p in group["params"]}
    names = {name for name, p in made.network.named_parameters() if id(p) in spared}
    expected = {
        name
        for name, p in made.network.named_parameters()
        if p.requires_grad
        and ("norm" in name or "bias" in name or name.endswith(("embedding.weight", "log_rates", "skip")))
    }
    assert names == expected


@pytest.mark.parametrize("decay", ["norms_and_biases", "none"])
@pytest.mark.parametrize("role", ROLES)
def test_muon_takes_matrices_of_layers_alone(role: Role, decay: str) -> None:
    made = module(role, optimizer={"optimizer_name": "muon"}, parameter_groups={"exclude_from_decay": decay})
    training = made.config.training_config
    optimizer = build_optimizer(training.optimizer, parameter_groups(made.network, training))
    names = {id(p): name for name, p in made.network.named_parameters()}
    matrices = {names[id(p)] for group in optimizer.param_groups if group["use_muon"] for p in group["params"]}
    assert matrices
    assert not [name for name in matrices if name.endswith(("embedding.weight", "log_rates"))]
    rest = {names[id(p)] for group in optimizer.param_groups if not group["use_muon"] for p in group["params"]}
    assert {name for name, p in made.network.named_parameters() if p.requires_grad} == matrices | rest
    made.compute(token_batch()).loss.backward()
    optimizer.step()
    assert all(p.isfinite().all() for p in made.network.parameters())


def test_a_configuration_may_ask_for_decay_of_everything() -> None:
    made = module("state_space", parameter_groups={"exclude_from_decay": "none"})
    assert not made.config.training_config.parameter_groups.groups


@pytest.mark.parametrize("role", ROLES)
def test_a_checkpoint_keeps_what_the_network_is_built_from(role: Role) -> None:
    from pathlib import Path

    from tabstar_lit.families.experts.networks.build import network_from

    made = module(role)
    again = network_from(made.payload, Path("kept.ckpt"))
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in made.network.named_parameters()}
    again.load_state_dict(made.network.state_dict())
    tokens = token_batch().tokens
    assert torch.equal(again.eval()(tokens), made.network.eval()(tokens))


def test_a_stage_without_a_role_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model_config\.role"):
        module(None)


@pytest.mark.parametrize(
    ("architecture", "place"),
    [
        ({"width": 30, "heads": 4}, ("heads",)),
        ({"width": 18, "heads": 6}, ("heads",)),
        ({"diffuser": {"noise_step": 100}}, ("diffuser", "noise_step")),
    ],
)
def test_sizes_that_do_not_fit_are_refused(architecture: dict[str, Any], place: tuple[str, ...]) -> None:
    from tabstar_lit.families.experts.architecture import ExpertsArchitecture

    (problem,) = ExpertsArchitecture.model_validate(architecture).problems()
    assert problem.path == place


@pytest.mark.parametrize(
    ("role", "stages", "read"),
    [
        ("transformer", ("transformer",), set()),
        ("state_space", ("state_space",), set()),
        ("state_space", ("transformer", "state_space"), {"transformer_checkpoint"}),
        ("diffuser", ("diffuser",), {"transformer_checkpoint"}),
        ("mixture", ("mixture",), {"transformer_checkpoint", "state_space_checkpoint", "diffuser_checkpoint"}),
    ],
)
def test_roles_build_on_earlier_ones(role: Role, stages: tuple[str, ...], read: set[str]) -> None:
    assert set(config(role).reads(stages)) == read


def test_a_state_space_may_have_an_embedding_of_its_own_or_that_of_a_file() -> None:
    own = config("state_space").model_copy(update={"transformer_checkpoint": None})
    assert own.reads(("transformer", "state_space")) == {"transformer_checkpoint": None}
    assert not list(own.problems())
    file = config("state_space").model_copy(update={"transformer_checkpoint": "some.ckpt"})
    assert file.reads(("state_space",)) == {"transformer_checkpoint": "some.ckpt"}


def test_a_mixture_of_nothing_is_refused() -> None:
    model = config("mixture").model_copy(update={"diffuser_checkpoint": None})
    (problem,) = model.problems()
    assert problem.path == ("diffuser_checkpoint",)
