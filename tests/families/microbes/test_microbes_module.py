"""Steps of encoders and predictors: terms, totals, frozen encoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hand_made_samples import a_batch, in_batches, small, some_facts

from tabstar_lit.families.microbes.build import build_module
from tabstar_lit.families.microbes.module import MicrobesModule
from tabstar_lit.families.microbes.training_config import MicrobesModel


def a_model(role: str = "encoder", **changes: Any) -> MicrobesModel:
    architecture, training = small(**changes.pop("architecture", {})), changes.pop("training", {})
    plain = {"name": "test", "role": role, "training_config": training, **changes}
    return MicrobesModel.model_validate({**plain, "architecture_config": architecture}, strict=False)


def a_module(role: str = "encoder", kind: str = "regression", **changes: Any) -> MicrobesModule:
    torch.manual_seed(0)
    return build_module(a_model(role, **changes), some_facts(kind))


@pytest.mark.parametrize("encoder_type", ["unifrac", "faith_pd", "taxonomy", "combined"])
def test_an_encoder_learns_its_own_task_and_nucleotides(encoder_type: str) -> None:
    module = a_module(architecture={"encoder_type": encoder_type}).train()
    output = module.compute(a_batch(taxonomy=True))
    own = ("unifrac", "faith_pd", "taxonomy") if encoder_type == "combined" else (encoder_type,)
    assert set(output.terms) == {*own, "nucleotide"} == set(module.config.loss_terms())
    torch.testing.assert_close(output.loss, torch.stack(list(output.terms.values())).sum())
    output.loss.backward()
    idle = [name for name, parameter in module.network.named_parameters() if parameter.grad is None]
    assert not idle


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_has_no_terms_and_no_gradient(kind: str, frozen: bool) -> None:
    module = a_module("predictor", kind, freeze_base=frozen).train()
    output = module.compute(a_batch(kind=kind))
    own = {"target", "count"} if frozen else {"target", "count", "unifrac", "nucleotide"}
    assert set(output.terms) == own == set(module.config.loss_terms())
    output.loss.backward()
    assert any(parameter.grad is not None for parameter in module.network.base.parameters()) is not frozen
    assert module.network.base.training is not frozen


def test_factors_of_zero_take_a_term_out() -> None:
    module = a_module(training={"loss_weights": {"nucleotide": 0.0, "unifrac": 2.0}}).train()
    output = module.compute(a_batch())
    assert set(output.terms) == {"unifrac"}
    torch.testing.assert_close(output.loss, 2 * output.terms["unifrac"])


def test_validation_hides_the_same_bases_each_time_and_shows_all_to_unifrac() -> None:
    module, batch = a_module().eval(), a_batch()
    one, two = module.compute(batch), module.compute(batch)
    assert torch.equal(one.terms["nucleotide"], two.terms["nucleotide"])
    clean = module.network(batch).embedding
    assert torch.equal(one.columns["embedding"], clean)


def test_states_of_a_frozen_encoder_are_kept_whatever_the_batches_are() -> None:
    everything = a_batch(7)
    model = a_model("predictor")
    torch.manual_seed(0)
    kept = build_module(model, some_facts(), samples=lambda: in_batches(everything, 3)).train()
    torch.manual_seed(0)
    asked = build_module(model, some_facts()).train()
    for batch in in_batches(everything, 2):
        torch.testing.assert_close(kept.compute(batch).loss, asked.compute(batch).loss, rtol=0, atol=1e-6)


def test_columns_hold_predictions_on_the_targets_own_scale() -> None:
    module, batch = a_module("predictor").eval(), a_batch()
    output = module.compute(batch)
    transformed = module.network(batch).target
    scale = module.scales["target"]
    torch.testing.assert_close(output.columns["predicted"], transformed * scale.scale + scale.shift)
    torch.testing.assert_close(output.columns["true"], batch.targets, equal_nan=True)
