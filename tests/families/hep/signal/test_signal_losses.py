"""Losses by name, and the sum of a classification loss and DisCo."""

from __future__ import annotations

from typing import Any

import dcor
import pytest
import torch

from tabstar_lit.config.tree import Problem
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.signal.losses import (
    SignalLoss,
    build_loss,
    check_loss,
    list_losses,
)
from tabstar_lit.families.hep.signal.training_config import DiscoConfig, SignalTraining


def training(loss: Any = None, **disco: Any) -> SignalTraining:
    return SignalTraining.model_validate({"loss": loss, "disco": disco or None})


@pytest.mark.parametrize(
    ("short", "long", "classes"),
    [
        ("bce", "BCEWithLogitsLoss", 2),
        ("mse", "MSELoss", 3),
        ("ce", "CrossEntropyLoss", 3),
        ("sigmoid_focal", "SigmoidFocalLoss", 2),
        ("multiclass_focal", "MulticlassFocalLoss", 3),
        ("bceloss", "BCELoss", 2),
        ("focalcosineloss", "FocalCosineLoss", 3),
    ],
)
def test_short_and_long_names_are_one_loss(short: str, long: str, classes: int) -> None:
    logits = torch.randn(6, 1 if classes == 2 else classes)
    targets = torch.arange(6) % classes
    targets = targets.float() if classes == 2 else targets
    values = [build_loss(name, n_classes=classes)(logits, targets) for name in (short, long)]
    assert values[0] == values[1]


def test_every_loss_has_a_line() -> None:
    lines = list_losses()
    assert len(lines) == 18
    assert all(len(line) > 10 for line in lines.values())
    assert "takes no event weights" in lines["diceloss"]


@pytest.mark.parametrize(
    ("loss", "classes", "weighted", "message"),
    [
        ("bse", 2, False, "no loss is called 'bse'."),
        ("bce", 3, False, "bce is for two classes and there are 3. Use ce."),
        ("focalcosineloss", 2, False, "focalcosineloss needs three classes or more."),
        ("DiceLoss", 2, True, "DiceLoss is a function of the whole batch and cannot weigh events."),
        ({"loss_name": "ce", "loss_params": {"smoothing": 0.1}}, 3, False, "unknown parameter 'smoothing' of ce."),
        ({"loss_name": "bceloss", "loss_params": {"reduction": "sum"}}, 2, False, "unknown parameter 'reduction'"),
        ("bitemperedlogisticloss", 3, False, "bitemperedlogisticloss needs t1, t2, which is not given."),
        ({"loss_name": "ce", "loss_params": {"label_smoothing": "x"}}, 3, False, "is a number, not 'x'"),
    ],
)
def test_what_is_wrong_with_a_loss_is_said(loss: Any, classes: int, weighted: bool, message: str) -> None:
    problems = check_loss(training(loss), n_classes=classes, weighted=weighted)
    assert len(problems) == 1
    assert message in problems[0].message
    name, params = (loss, {}) if isinstance(loss, str) else (loss["loss_name"], loss["loss_params"])
    with pytest.raises(ConfigError, match=r"training_config\.loss"):
        build_loss(name, params, n_classes=classes, weighted=weighted)


def test_classes_are_checked_once_they_are_known() -> None:
    assert check_loss(training("bce")) == []
    assert check_loss(training(None), n_classes=5) == []
    assert check_loss(training("ldamloss")) == []


def test_an_unknown_name_lists_what_there_is() -> None:
    (problem,) = check_loss(training("cee"))
    assert isinstance(problem, Problem)
    assert {"ce", "bce", "focalloss"} <= set(problem.allowed)


def test_ldam_takes_the_class_counts_of_the_data() -> None:
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    given = build_loss("ldamloss", {"num_class_list": [5, 9, 2]}, n_classes=3)
    filled = build_loss("ldamloss", n_classes=3, class_counts=[5, 9, 2])
    assert given(logits, targets) == filled(logits, targets)
    with pytest.raises(ConfigError, match="ldamloss needs num_class_list"):
        build_loss("ldamloss", n_classes=3)


def test_disco_is_added_over_background() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(50, 1, dtype=torch.float64), (torch.arange(50) % 2).double()
    variables = torch.stack([logits[:, 0] + torch.randn(50), torch.randn(50)], 1)
    config = DiscoConfig.model_validate({"variables": ("mass", "pt"), "lambda": 2.5})
    terms = SignalLoss(build_loss("bce", n_classes=2), config)(logits, targets, None, variables)
    rows = (targets == 0).numpy()
    expected = [dcor.distance_correlation_sqr(v[rows].numpy(), logits[rows, 0].numpy()) for v in variables.unbind(1)]
    assert terms.correlations.tolist() == pytest.approx(expected, abs=1e-10)
    bare = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets)
    torch.testing.assert_close(terms.classification, bare)
    torch.testing.assert_close(terms.total, bare + 2.5 * terms.correlations.sum())


def test_background_is_every_class_that_is_no_signal() -> None:
    torch.manual_seed(0)
    logits, targets, mass = torch.randn(60, 3).double(), torch.arange(60) % 3, torch.randn(60, 1).double()
    config = DiscoConfig.model_validate({"variables": ("mass",), "lambda": 1, "multiclass_reduction": "logits"})
    terms = SignalLoss(build_loss("ce", n_classes=3), config, signal={0, 2})(logits, targets, None, mass)
    rows = (targets == 1).numpy()
    expected = sum(dcor.distance_correlation_sqr(mass[rows, 0].numpy(), logits[rows, k].numpy()) for k in range(3))
    assert terms.correlations.item() == pytest.approx(expected, abs=1e-10)


def test_without_disco_the_loss_is_the_classification() -> None:
    logits, targets = torch.randn(5, 1), torch.ones(5)
    terms = SignalLoss(build_loss("bce", n_classes=2))(logits, targets, torch.rand(5))
    assert terms.total == terms.classification
    assert terms.correlations.shape == (0,)


def test_lambda_is_written_lambda() -> None:
    assert training(None, variables=("m",), **{"lambda": 0.5}).disco == DiscoConfig.model_validate(
        {"variables": ("m",), "lambda": 0.5, "power": 1.0, "weighted": False, "multiclass_reduction": "logits"}
    )


@pytest.mark.parametrize(
    ("name", "params", "key", "words"),
    [
        ("bce", {"label_smoothing": 1.5}, "label_smoothing", r"1.5 is not in [0, 1)"),
        ("bce", {"pos_weight": 0}, "pos_weight", "not positive"),
        ("sigmoid_focal", {"gamma": -1}, "gamma", "negative"),
        ("sigmoid_focal", {"alpha": 1.0}, "alpha", "not between 0 and 1"),
        ("ldamloss", {"num_class_list": [1, 2, 3]}, "num_class_list", "it has 3 numbers, and there are 2 classes"),
    ],
)
def test_a_value_the_loss_refuses_is_found_with_its_place(
    name: str, params: dict[str, object], key: str, words: str
) -> None:
    (problem,) = check_loss(training({"loss_name": name, "loss_params": params}), n_classes=2)
    assert problem.path == ("loss", "loss_params", key)
    assert words in problem.message


def test_a_list_of_classes_cannot_be_counted_before_the_data_is_open() -> None:
    assert check_loss(training({"loss_name": "ldamloss", "loss_params": {"num_class_list": [1, 2, 3]}})) == []
