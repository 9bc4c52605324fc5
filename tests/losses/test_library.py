"""The losses of pytorch_optimizer as losses of a classifier: same values, weights, and they train."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_optimizer.loss import LOSS_FUNCTIONS
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.library import USES, LibraryLoss

PARAMS: dict[str, dict[str, Any]] = {
    "bitemperedlogisticloss": {"t1": 0.8, "t2": 1.2},
    "binarybitemperedlogisticloss": {"t1": 0.8, "t2": 1.2},
}
CASES = [
    (name, classes)
    for name, use in USES.items()
    for classes in (2, 3)
    if not (classes == 2 and use.classes == "more") and not (classes == 3 and use.classes == "two")
]


def build(name: str, classes: int) -> LibraryLoss:
    params = {"num_class_list": [30, 70, 20][:classes]} if name == "ldamloss" else PARAMS.get(name, {})
    return LibraryLoss(name, classes, params)


def data(classes: int, size: int = 40) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    targets = torch.arange(size) % classes
    logits = torch.randn(size, 1 if classes == 2 else classes)
    return logits, targets.float() if classes == 2 else targets


def test_every_loss_of_the_library_is_covered() -> None:
    assert set(USES) == set(LOSS_FUNCTIONS)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_it_trains_a_classifier(name: str, classes: int) -> None:
    loss, (logits, targets) = build(name, classes), data(classes)
    logits = (0.1 * logits).requires_grad_(True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits, targets).backward()
        optimizer.step()
    predicted = (logits[:, 0] > 0).float() if classes == 2 else logits.argmax(1)
    assert (predicted == targets).float().mean() > 0.95


@pytest.mark.parametrize(("name", "classes"), [case for case in CASES if USES[case[0]].per_event != "batch"])
def test_weights_count_as_repeated_events(name: str, classes: int) -> None:
    loss, (logits, targets) = build(name, classes), data(classes, 8)
    times = torch.tensor([0, 1, 2, 3, 1, 1, 4, 2])
    repeated = loss(logits.repeat_interleave(times, 0), targets.repeat_interleave(times, 0))
    torch.testing.assert_close(loss(logits, targets, times.float()), repeated)


@pytest.mark.parametrize(
    ("name", "classes", "activation"),
    [
        ("focalloss", 2, "none"),
        ("bceloss", 2, "sigmoid"),
        ("bcefocalloss", 2, "sigmoid"),
        ("softf1loss", 2, "sigmoid"),
        ("tverskyloss", 2, "none"),
        ("ldamloss", 3, "none"),
        ("focalcosineloss", 3, "none"),
    ],
)
def test_the_mean_is_the_librarys_own(name: str, classes: int, activation: str) -> None:
    logits, targets = data(classes)
    scores = logits[:, 0] if classes == 2 else logits
    scores = scores.sigmoid() if activation == "sigmoid" else scores
    params = {"num_class_list": [30, 70, 20]} if name == "ldamloss" else {}
    torch.testing.assert_close(build(name, classes)(logits, targets), LOSS_FUNCTIONS[name](**params)(scores, targets))


def test_a_loss_of_whole_batches_refuses_weights() -> None:
    logits, targets = data(2)
    with pytest.raises(ConfigError, match="diceloss is a function of the whole batch and cannot weigh events"):
        build("diceloss", 2)(logits, targets, torch.ones(len(logits)))


def test_a_parameter_the_library_refuses_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="bitemperedlogisticloss refuses its parameters"):
        LibraryLoss("bitemperedlogisticloss", 2, {"t3": 1.0})


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("many", "'many' is not a list"),
        (5, "5 is not a list"),
        ([3.0], "it has 1 numbers, and there are 2 classes"),
        ([3, 4, 5], "it has 3 numbers, and there are 2 classes"),
        ([3, 0], r"\[3, 0\] are not all positive"),
    ],
)
def test_a_list_of_classes_must_be_one_of_them(counts: object, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"loss_params\.num_class_list: {words}.*then they are counted"):
        LibraryLoss("ldamloss", 2, {"num_class_list": counts})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [2, 3])
def test_margins_by_event_are_those_of_the_library_without_its_warning(classes: int) -> None:
    loss, (logits, targets) = build("ldamloss", classes), data(classes)
    own = LOSS_FUNCTIONS["ldamloss"]([30, 70, 20][:classes])
    rows = torch.cat([torch.zeros_like(logits), logits], 1) if classes == 2 else logits
    expected = [own(row[None], target[None].long()) for row, target in zip(rows, targets, strict=True)]
    torch.testing.assert_close(loss.per_event(logits, targets), torch.stack(expected))
