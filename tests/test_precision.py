"""Half precision learns what single precision does: the curves of 200 steps stay together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks.precision import CURVE_STEPS, largest_difference, losses

BOUNDS = {"tabstar": 0.0, "signal": 0.0, "fakes": 0.001, "experts": 0.02, "microbes": 0.005, "antibody": 0.005}
"""Of the loss at the start. The first two learn at high rates, which magnify any rounding: see :data:`MAGNIFIED`."""

MAGNIFIED = 2
"""Where it is more than the bound: so many times what it does to trainings in single precision that their weights are
rounded once, at the start, in the worst of :data:`ROUNDINGS`. Half precision rounds in every step, and should do no
more than that."""
ROUNDINGS = range(3)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family_name", BOUNDS)
def test_curves_of_both_precisions_stay_together(
    family_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(tmp_path))
    curve = partial(losses, family_name, folder=tmp_path, more=["experiment_config.accelerator=cpu"], steps=CURVE_STEPS)
    exact, rough = curve("32-true"), curve("bf16-mixed")
    assert len(exact) == len(rough) == CURVE_STEPS
    assert not torch.equal(exact, rough), "both were computed in single precision"
    assert exact[-20:].mean() < exact[:20].mean(), "nothing was learned that precision could spoil"
    found, bound = largest_difference(exact, rough), BOUNDS[family_name]
    if found >= bound:
        once = [largest_difference(exact, curve("32-true", rounding=seed)) for seed in ROUNDINGS]
        assert found < MAGNIFIED * max(once)


def test_a_curve_that_goes_elsewhere_is_seen() -> None:
    exact = torch.linspace(1, 0.5, 200)
    assert largest_difference(exact, exact) == 0
    assert largest_difference(exact, torch.full((200,), 1.0)) > 0.4
