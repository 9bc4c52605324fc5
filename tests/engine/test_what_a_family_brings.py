"""What a family has to write: all else it may leave to the engine."""

from __future__ import annotations

import pytest

from tabstar_lit.engine.data import DataModule
from tabstar_lit.engine.family import Family
from tabstar_lit.engine.module import TrainingModule
from tabstar_lit.engine.tracker import Tracker


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        (TrainingModule, {"compute"}),
        (DataModule, {"train_plan", "val_plan", "train_dataset", "val_dataset", "fingerprint"}),
        (Tracker, {"metrics", "figures"}),
        (Family, {"schema", "models", "losses", "check", "data", "module", "tracker"}),
    ],
)
def test_what_is_missing_is_noticed_before_a_training(kind: type, needed: set[str]) -> None:
    assert kind.__abstractmethods__ == needed  # type: ignore[attr-defined]  # of every abstract class
    incomplete = type("Incomplete", (kind,), dict.fromkeys(sorted(needed)[1:]))
    with pytest.raises(TypeError, match=f"abstract method '?{min(needed)}"):
        incomplete()
