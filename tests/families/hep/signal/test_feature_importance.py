"""Which features matter to networks of which everything is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hand_made_objects import events, inputs
from torch import Tensor, nn

from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.signal.importance import feature_importances

N = 400
RANDOM = torch.Generator().manual_seed(0)
FEATURES = events(
    torch.randint(0, 6, (N,), generator=RANDOM).tolist(), torch.randint(0, 3, (N,), generator=RANDOM).tolist()
)


class Known(nn.Module):
    """A network that is the function it is given."""

    def __init__(self, score: Callable[[Features], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, features: Features) -> Tensor:
        return self.score(features)


def importances(score: Callable[[Features], Tensor], features: Features = FEATURES) -> dict[str, float]:
    logits = score(features)
    targets = (logits[:, 0] > logits.mean()).long() if logits.shape[1] == 1 else logits.argmax(1)
    ones = torch.ones(len(targets))
    batch = EventBatch(features, targets, ones, ones, torch.zeros(len(targets), 0), torch.arange(len(targets)))
    torch.manual_seed(0)
    return {name: own.rise for name, own in feature_importances(Known(score), [batch], inputs(), 1).items()}


USES = {
    "ht": lambda features: 5 * features.numerical[:, 1:],
    "run": lambda features: 5.0 * features.categorical[:, :1],
    "jets: pt": lambda features: 5 * features.objects["jets"].numerical[..., :1].sum(1),
    "jets: flavour": lambda features: 5.0 * features.objects["jets"].categorical[..., :1].sum(1),
    "leptons: momenta": lambda features: features.objects["leptons"].momenta[..., :1].sum(1),
}


@pytest.mark.parametrize("used", USES)
def test_the_feature_that_a_network_uses_matters_and_no_other(used: str) -> None:
    found = importances(USES[used])
    assert next(iter(found)) == used
    assert found[used] > 0.1
    assert all(rise == 0 for name, rise in found.items() if name != used)
    assert len(found) == 3 + (4 + 1) + (2 + 1)


def test_padding_stays_padding() -> None:
    def counts(features: Features) -> Tensor:
        jets = features.objects["jets"]
        assert not jets.numerical[~jets.mask].any()
        assert not jets.categorical[~jets.mask].any()
        return 5 * (jets.numerical[..., :1] != 0).sum(1).float()

    assert set(importances(counts).values()) == {0.0}


def test_several_classes_have_the_cross_entropy_of_theirs() -> None:
    found = importances(lambda features: torch.cat([features.numerical, -features.numerical[:, :1]], dim=1))
    assert sorted(name for name, rise in found.items() if rise > 0) == ["ht", "met"]


def test_momenta_that_are_not_served_are_no_feature() -> None:
    jets = FEATURES.objects["jets"]
    bare = FEATURES._replace(objects={**FEATURES.objects, "jets": jets._replace(momenta=jets.momenta[..., :0])})
    assert "jets: momenta" not in importances(USES["ht"], bare)
    assert feature_importances(Known(USES["ht"]), [], inputs(), 1) == {}
