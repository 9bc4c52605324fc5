"""Which of two samples a stage's loss takes for the numerator of a ratio."""

from __future__ import annotations

import pytest
import torch

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.losses import loss_of


def test_regions_learn_how_much_is_simulated() -> None:
    """Least squares of ``r = simulation / data``: ``r^2 / 2`` for an event of data, ``-r`` for a simulated one."""
    outputs = torch.linspace(-3, 3, 13, dtype=torch.float64)
    share = torch.nn.functional.softplus(outputs)
    for role in ("numerator", "denominator"):
        loss = loss_of("lsif", role)
        torch.testing.assert_close(loss.numerator(outputs), share.square() / 2)
        torch.testing.assert_close(loss.denominator(outputs), -share)
        torch.testing.assert_close(loss.ratio(outputs), 1 / share)


def test_the_ratio_is_learned_as_it_is() -> None:
    outputs = torch.linspace(-3, 3, 13, dtype=torch.float64)
    torch.testing.assert_close(loss_of("lsif", "ratio").ratio(outputs), torch.nn.functional.softplus(outputs))


def test_a_symmetric_loss_is_the_same_in_all_stages() -> None:
    assert type(loss_of("bce", "numerator")) is type(loss_of("bce", "ratio"))


def test_an_unknown_loss_is_refused_in_every_role() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'kliep'"):
        loss_of("kleip", "numerator")
