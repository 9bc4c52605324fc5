"""The benchmark against the package ``tabstar`` runs on few rows, and compares what it says."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from benchmarks import gpu_tabstar, official_speed
from benchmarks.official_network import official_loss
from benchmarks.tabstar import bare_loss

from tabstar_lit.families.tabstar.data import TabstarData

WINE = next(source for source in official_speed.sources() if source.entry.name == "wine")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> official_speed.Table:
    """Return wine with a text encoder that is as deep as the published one, and thin."""
    monkeypatch.setattr(
        gpu_tabstar, "E5_SMALL", {**gpu_tabstar.E5_SMALL, "num_hidden_layers": 7, "intermediate_size": 8}
    )
    monkeypatch.setattr(official_speed, "BATCH_SIZE", 4)
    monkeypatch.setattr(official_speed, "REPEATS", 1)
    return official_speed.Table(tmp_path, WINE)


def test_both_compute_the_same_loss_of_the_same_rows(table: official_speed.Table) -> None:
    parts, official = table.build("same"), table.official().eval()
    module, data = parts.module.eval(), cast(TabstarData, parts.data)
    module.network.load_state_dict(official.state_dict())
    keys = data.train_plan().batches(0)[:2]
    with torch.no_grad():
        for key, batch in zip(keys, table.as_strings(data, keys), strict=True):
            own = bare_loss(module, data.train_dataset()[key])
            torch.testing.assert_close(own, official_loss(official, batch), rtol=0, atol=1e-5)


def test_every_way_has_its_ratio(table: official_speed.Table) -> None:
    seconds = official_speed.training_seconds(table)
    assert list(seconds) == ["official", "float32", "float32_window", "bf16", "bf16_window"]
    assert min(seconds.values()) > 0
    assert official_speed.prediction_ratio(table) > 0
