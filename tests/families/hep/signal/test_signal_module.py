"""What a step of a signal classifier hands on, and the checkpoints it refuses to evaluate or to go on with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import dcor
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.networks.calibrated import Calibrated
from tabstar_lit.families.hep.preparation.agreement import ADOPTED
from tabstar_lit.families.hep.signal.config import SignalModel
from tabstar_lit.families.hep.signal.losses import SignalLoss, build_loss
from tabstar_lit.families.hep.signal.module import SignalModule
from tabstar_lit.families.hep.signal.training_config import DiscoConfig

EVENTS = 40


class Outputs(nn.Module):
    """Take the first ``K`` numbers for logits, for each of ``M`` members shifted by its own amount."""

    def __init__(self, outputs: int, members: int = 0) -> None:
        super().__init__()
        self.outputs = outputs
        self.shifts = nn.Parameter(torch.arange(members or 1).double())
        self.members = members

    def forward(self, features: Features) -> Tensor:
        logits = features.numerical[:, : self.outputs]
        return logits[:, None] + self.shifts[:, None] if self.members else logits + self.shifts


def preprocessing() -> dict[str, Any]:
    return {key: {"of": key, "order": [1, 2]} for key in ADOPTED}


def module(
    outputs: int = 1, *, members: int = 0, disco: DiscoConfig | None = None, **changed: Any
) -> tuple[SignalModule, Outputs]:
    options = {"name": "model", "architecture_config": {"model": "MLP"}}
    network = Outputs(outputs, members)
    loss = SignalLoss(build_loss("ce" if outputs > 1 else "bce", n_classes=max(2, outputs)), disco)
    config = SignalModel.model_validate_json(json.dumps(options))
    settings: dict[str, Any] = {"signal": 1, "weighted": True} | changed
    return SignalModule(network, loss, config, {"preprocessing": preprocessing()}, **settings), network


def batch(classes: int = 2, spectators: int = 2) -> EventBatch:
    random = torch.Generator().manual_seed(3)
    numbers = torch.randn(EVENTS, 3, generator=random, dtype=torch.float64)
    targets = torch.arange(EVENTS) % classes
    loss_weights = torch.rand(EVENTS, generator=random) + 0.5
    event_weights = torch.where(torch.arange(EVENTS) % 4 == 0, -0.5, 2.0)
    extras = torch.randn(EVENTS, spectators, generator=random)
    codes = torch.zeros(EVENTS, 0, dtype=torch.long)
    return EventBatch(Features(numbers, codes, {}), targets, loss_weights, event_weights, extras, torch.arange(EVENTS))


@pytest.mark.parametrize("signal", [0, 1])
def test_the_single_logit_is_trained_to_be_the_log_odds_of_the_signal_class(signal: int) -> None:
    own, events = module(signal=signal)[0], batch()
    step = own.compute(events)
    expected = functional.binary_cross_entropy_with_logits(
        events.features.numerical[:, 0], (events.targets == signal).double(), weight=events.loss_weights.double()
    )
    torch.testing.assert_close(step.loss, expected * EVENTS / events.loss_weights.double().sum())
    # The tracker wants class numbers, not signal or not.
    assert step.columns["targets"].tolist() == events.targets.tolist()


def test_the_loss_has_its_own_weights_and_the_tracker_the_physical_ones() -> None:
    events = batch(classes=3)
    weighted, unweighted = module(3)[0].compute(events), module(3, weighted=False)[0].compute(events)
    losses = functional.cross_entropy(events.features.numerical, events.targets, reduction="none")
    shares = events.loss_weights.double()
    torch.testing.assert_close(weighted.loss, (losses * shares).sum() / shares.sum())
    torch.testing.assert_close(unweighted.loss, losses.mean())
    assert weighted.size == pytest.approx(events.loss_weights.sum().item())
    assert unweighted.size == EVENTS
    for step in (weighted, unweighted):
        assert torch.equal(step.columns["weights"], events.event_weights)


def test_logits_are_cut_off_from_the_graph_and_the_loss_is_not() -> None:
    own, network = module()
    step = own.compute(batch())
    assert not step.columns["logits"].requires_grad
    step.loss.backward()
    assert network.shifts.grad is not None


def test_members_of_an_ensemble_are_judged_one_by_one_and_predict_together() -> None:
    events = batch()
    step = module(members=3)[0].compute(events)
    logits = events.features.numerical[:, :1]
    alone = module()[0]
    singly = [
        alone.compute(events._replace(features=events.features._replace(numerical=logits + shift))).loss
        for shift in (0.0, 1.0, 2.0)
    ]
    torch.testing.assert_close(step.loss, torch.stack(singly).mean())
    assert step.loss > alone.compute(events._replace(features=events.features._replace(numerical=logits + 1))).loss
    torch.testing.assert_close(step.columns["logits"], logits + 1.0)


def test_only_the_spectators_of_disco_enter_the_loss_and_all_go_to_the_tracker() -> None:
    events = batch(spectators=3)
    disco = DiscoConfig.model_validate({"variables": ("c", "a"), "lambda": 3.0})
    step = module(disco=disco, disco_columns={"c": 2, "a": 0}, weighted=False)[0].compute(events)
    plain = module(weighted=False)[0].compute(events)
    rows = (events.targets == 0).numpy()
    logits = events.features.numerical[:, 0].numpy()[rows]
    extras = events.spectators.double().numpy()[rows]
    expected = [dcor.distance_correlation_sqr(extras[:, column], logits) for column in (2, 0)]
    assert (step.loss - plain.loss).item() == pytest.approx(3.0 * sum(expected), abs=1e-7)
    assert torch.equal(step.columns["spectators"], events.spectators)
    assert "spectators" not in module()[0].compute(batch(spectators=0)).columns
    terms = {name: term.item() for name, term in step.terms.items()}
    wanted = {"classification": plain.loss.item(), "correlation_c": expected[0], "correlation_a": expected[1]}
    assert terms == pytest.approx(wanted, abs=1e-7)
    assert plain.terms == {}


def test_terms_of_an_ensemble_are_means_over_its_members() -> None:
    events = batch()
    disco = DiscoConfig.model_validate({"variables": ("a",), "lambda": 3.0})
    own, _ = module(members=2, disco=disco, disco_columns={"a": 0})
    step = own.compute(events)
    logits = events.features.numerical[:, :1]
    alone = [
        module(disco=disco, disco_columns={"a": 0})[0].compute(
            events._replace(features=events.features._replace(numerical=logits + shift))
        )
        for shift in (0.0, 1.0)
    ]
    for name, term in step.terms.items():
        torch.testing.assert_close(term, torch.stack([member.terms[name] for member in alone]).mean())
        assert not term.requires_grad
    torch.testing.assert_close(step.loss, step.terms["classification"] + 3.0 * step.terms["correlation_a"])


def test_terms_are_those_the_configuration_declares() -> None:
    training = {"disco": {"variables": ["c", "a"], "lambda": 1.0}}
    options = {"name": "model", "architecture_config": {"model": "MLP"}, "training_config": training}
    declared = SignalModel.model_validate_json(json.dumps(options)).loss_terms()
    disco = DiscoConfig.model_validate({"variables": ("c", "a"), "lambda": 1.0})
    step = module(disco=disco, disco_columns={"c": 1, "a": 0})[0].compute(batch())
    assert declared == tuple(step.terms)
    assert SignalModel.model_validate_json(json.dumps(options | {"training_config": {}})).loss_terms() == ()


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in preprocessing().items() if name != key}


@pytest.mark.parametrize("key", ADOPTED)
@pytest.mark.parametrize("change", ["other", "gone", "reordered"])
def test_a_checkpoint_of_other_data_is_refused_with_what_differs(key: str, change: str) -> None:
    theirs: Mapping[str, Any] = {
        "other": preprocessing() | {key: None},
        "gone": without(key),
        "reordered": preprocessing() | {key: {"of": key, "order": [2, 1]}},
    }[change]
    own, network = module()
    with pytest.raises(CheckpointError, match=r"`tabstar_lit predict`") as refused:
        own.adopt({"preprocessing": theirs})
    assert f"trained on other {ADOPTED[key]} than dataset_config gives now" in str(refused.value)
    assert own.network is network


def test_a_checkpoint_of_another_processor_differs_in_last_digits_and_is_adopted() -> None:
    """Sums in another order: what was learned from the same events is the same but for rounding."""
    own, _ = module()

    def learned(mean: float) -> Mapping[str, Any]:
        return preprocessing() | {"events": {"mean": [mean, math.nan], "fill": (mean - 51.6) * 1e-3, "digits": 3}}

    own.payload = {**own.payload, "preprocessing": learned(51.635722488946634)}
    own.adopt({"preprocessing": learned(51.63572248894663)})
    fewer = preprocessing() | {"events": {**learned(51.635722488946634)["events"], "digits": 4}}
    for other in (learned(51.63573), fewer):
        with pytest.raises(CheckpointError, match="training events, to which the features are scaled"):
            own.adopt({"preprocessing": other})


def test_a_run_that_goes_on_names_another_remedy() -> None:
    own, _ = module()
    payload = {"preprocessing": preprocessing() | {"classes": ["a"]}}
    state: dict[str, Any] = {"state_dict": own.state_dict()}
    own.on_save_checkpoint(state)
    own.on_load_checkpoint(state)
    state[CHECKPOINT_KEY]["payload"] = payload
    with pytest.raises(CheckpointError, match=r"other classes .* begin another run, .* See load_modules\."):
        own.on_load_checkpoint(state)


def test_the_calibration_of_an_adopted_checkpoint_comes_behind_the_network() -> None:
    own, network = module(2)
    own.adopt({"preprocessing": preprocessing()})
    assert own.network is network
    matrix, shift = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([0.5, 0.0])
    own.adopt({"preprocessing": preprocessing(), "calibration": {"weight": matrix.double(), "bias": shift.double()}})
    assert isinstance(own.network, Calibrated)
    features = batch().features
    z = features.numerical[:, :2].float()
    logits = own.network.float()(features._replace(numerical=z))
    torch.testing.assert_close(logits[:, 0], z[:, 0] + 2 * z[:, 1] + 0.5)
    torch.testing.assert_close(logits[:, 1], -z[:, 1])
