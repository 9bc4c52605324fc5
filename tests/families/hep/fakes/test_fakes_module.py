"""What a step of a density-ratio model computes: risk by head, penalties, and log-ratios whatever the loss."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.fakes.config import FakesModel
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble, displaced
from tabstar_lit.families.hep.fakes.module import FakesModule
from tabstar_lit.families.hep.preparation.agreement import ADOPTED
from tabstar_lit.losses.density_ratio import RATIO_LOSSES, ratio_loss

EVENTS, HEADS = 60, 3
SIDES = (1, 0, -1, -1)


class Outputs(nn.Module):
    """Take the numbers for outputs, one of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: Features) -> Tensor:
        return self.scale * features.numerical


def module(mean_weight: float = 1.0, ensemble: Ensemble = PLAIN, **training: Any) -> FakesModule:
    options = {"name": "model", "role": "ratio", "architecture_config": {"model": "MLP"}, "training_config": training}
    config = FakesModel.model_validate_json(json.dumps(options))
    preprocessing = {key: [key] for key in ADOPTED}
    payload = {"preprocessing": preprocessing, "role": "ratio", "loss": "bce"}
    return FakesModule(
        Outputs(), config, payload, role="ratio", sides=SIDES, mean_weight=mean_weight, ensemble=ensemble
    )


def batch(low: float = -0.5) -> EventBatch:
    random = torch.Generator().manual_seed(4)
    numbers = torch.randn(EVENTS, HEADS, generator=random)
    weights = torch.rand(EVENTS, HEADS, generator=random) * (2 - low) + low
    features = Features(numbers, torch.empty(EVENTS, 0, dtype=torch.long), {})
    extras = torch.randn(EVENTS, 2, generator=random)
    return EventBatch(features, torch.arange(EVENTS) % 2, weights, weights.mean(1), extras, torch.arange(EVENTS))


def cross_entropy(events: EventBatch, weights: Tensor) -> Tensor:
    targets = (events.targets == 0).float().unsqueeze(1).expand(-1, HEADS)
    return functional.binary_cross_entropy_with_logits(events.features.numerical, targets, weights)


def test_the_loss_is_the_weighted_risk_of_each_head_over_the_mean_weight_of_all_events() -> None:
    events = batch(low=0.0)
    step = module(mean_weight=2.0).compute(events)
    torch.testing.assert_close(step.loss, cross_entropy(events, events.loss_weights) / 2.0)
    assert step.size == EVENTS


def test_targets_weights_and_variables_are_handed_on() -> None:
    events = batch()
    step = module().compute(events)
    assert step.source == "ratio"
    assert step.columns["targets"].tolist() == [1, 0] * (EVENTS // 2)
    assert step.columns["weights"] is events.event_weights
    assert step.columns["variables"] is events.spectators
    assert not step.columns["log_ratios"].requires_grad


def test_an_uncertainty_around_events_is_handed_on_outside_of_training() -> None:
    events = batch()
    assert "std" not in module(ensemble=PLAIN).eval().compute(events).columns
    own = module(ensemble=Ensemble(radius=0.3))
    assert "std" not in own.compute(events).columns
    numbers = events.features.numerical
    squares = [logs.std(1).square() for logs in (numbers, *displaced(numbers, 0.3))]
    torch.testing.assert_close(own.eval().compute(events).columns["std"], torch.stack(squares).mean(0).sqrt())


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_predictions_are_log_ratios_whatever_the_loss(name: str) -> None:
    events = batch()
    step = module(loss=name).compute(events)
    expected = ratio_loss(name).log_ratio(events.features.numerical)
    torch.testing.assert_close(step.columns["log_ratios"], expected)
    step.loss.backward()


@pytest.mark.parametrize(
    ("policy", "weights"),
    [
        ("plain", lambda weights: weights),
        ("absolute", lambda weights: weights.abs()),
        ("zero", lambda weights: weights.clamp(min=0)),
    ],
)
def test_negative_weights_follow_the_policy(policy: str, weights: Any) -> None:
    events = batch(low=-1.5)
    step = module(negative_weights=policy).compute(events)
    torch.testing.assert_close(step.loss, cross_entropy(events, weights(events.loss_weights)))


def test_only_the_corrected_risk_is_bounded_below() -> None:
    """Events of negative weight that a network has singled out: the plain risk rewards that without end."""
    far = torch.full((EVENTS, HEADS), -50.0)
    events = batch()
    events = events._replace(
        features=events.features._replace(numerical=torch.where(events.targets[:, None] == 0, far, -far)),
        loss_weights=-torch.ones(EVENTS, HEADS),
    )
    assert module(negative_weights="plain").compute(events).loss < -40
    assert module(negative_weights="correction").compute(events).loss >= 0
    assert module().compute(events).loss > 0  # the default turns round what is beyond the bounds of the ratio


def test_the_bound_of_ratios_is_that_of_the_configuration() -> None:
    events = batch()
    events = events._replace(features=events.features._replace(numerical=100 * events.features.numerical))
    for options, bound in (({}, 1000.0), ({"max_ratio": 50.0}, 50.0)):
        found = module(**options).compute(events).columns["log_ratios"]
        assert found.abs().max().item() == pytest.approx(math.log(bound))
    free = module(negative_weights="plain").compute(events).columns["log_ratios"]
    torch.testing.assert_close(free, events.features.numerical)


def test_outputs_of_a_checkpoint_are_read_as_it_was_trained_to() -> None:
    """A checkpoint of before has no bound, and one of another loss another link."""
    events, model = batch(), module()
    events = events._replace(features=events.features._replace(numerical=100 * events.features.numerical))
    own = {"preprocessing": model.payload["preprocessing"], "role": "ratio"}
    model.adopt(own | {"loss": "bce"})
    torch.testing.assert_close(model.compute(events).columns["log_ratios"], events.features.numerical)
    model.adopt(own | {"loss": "kliep", "max_ratio": 20.0})
    found = model.compute(events).columns["log_ratios"]
    expected = ratio_loss("kliep").log_ratio(events.features.numerical).clamp(-math.log(20), math.log(20))
    torch.testing.assert_close(found, expected)


def test_shrinkage_adds_the_mean_squared_log_ratio() -> None:
    events = batch()
    added = module(loss="mse", w_lambda=0.3).compute(events).loss - module(loss="mse").compute(events).loss
    assert added.item() == pytest.approx(0.3 * ratio_loss("mse").log_ratio(events.features.numerical).square().mean())


@pytest.mark.parametrize("form", ["normalised", "original"])
def test_the_penalty_on_few_effective_events_is_added_in_either_form(form: str) -> None:
    events = batch()
    added = module(ess_lambda=2.0, ess_form=form).compute(events).loss - module().compute(events).loss
    ratios = np.exp(events.features.numerical.double().numpy())
    size = ratios.sum(0) ** 2 / (ratios**2).sum(0)
    expected = 1 - size / EVENTS if form == "normalised" else 1 / size
    assert added.item() == pytest.approx(2.0 * expected.mean(), rel=1e-4)


def test_risk_and_penalties_are_told_apart_without_their_factors() -> None:
    events = batch()
    own = module(w_lambda=0.3, ess_lambda=2.0)
    step, plain = own.compute(events), module().compute(events)
    terms = step.terms
    assert own.config.loss_terms() == tuple(terms) == ("risk", "shrinkage", "ess_penalty")
    torch.testing.assert_close(terms["risk"], plain.loss)
    torch.testing.assert_close(step.loss, terms["risk"] + 0.3 * terms["shrinkage"] + 2.0 * terms["ess_penalty"])
    assert (dict(plain.terms), module().config.loss_terms()) == ({}, ())
    assert module(ess_lambda=0.0, w_lambda=1.0).config.loss_terms() == ("risk", "shrinkage")


def test_checkpoints_of_another_role_or_other_data_are_refused() -> None:
    own = module()
    state: dict[str, Any] = {"state_dict": own.state_dict()}
    own.on_save_checkpoint(state)
    own.on_load_checkpoint(state)
    own.adopt(state[CHECKPOINT_KEY]["payload"])
    with pytest.raises(CheckpointError, match=r"of the role numerator, .* stages=\[numerator\]"):
        own.adopt(own.payload | {"role": "numerator"})
    other = own.payload["preprocessing"] | {"inputs": ["others"]}
    with pytest.raises(CheckpointError, match="other features"):
        own.on_load_checkpoint(
            state | {CHECKPOINT_KEY: state[CHECKPOINT_KEY] | {"payload": own.payload | {"preprocessing": other}}}
        )
