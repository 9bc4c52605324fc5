"""The benchmark against the package ``tabstar`` runs on few rows; our network stands in, asked as the package is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import gpu_tabstar, official_speed
from benchmarks.official_speed import Table, prediction_ratio, require_equal, training_seconds
from official_answers import own_batch
from torch import Tensor, nn

from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import SOURCES


class StandIn(nn.Module):
    """A network that takes strings, with weights under the names of ours."""

    device = torch.device("cpu")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        assert isinstance(network, TabStarNetwork)
        self.own, self.tokenizer = network, network.text_encoder.tokenizer
        self.own.frozen_lookup = None  # of the strings of a corpus

    def forward(self, x_txt: Any, x_num: Tensor, d_output: int) -> Tensor:
        """Return logits ``[B, C]``."""
        logits: Tensor = self.own(own_batch(x_txt, x_num.numpy(), d_output, self.tokenizer))
        return logits

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the weights of the network inside."""
        return self.own.state_dict()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """Return wine with a text encoder that is as deep as the published one, and thin."""
    monkeypatch.setattr(
        gpu_tabstar, "E5_SMALL", {**gpu_tabstar.E5_SMALL, "num_hidden_layers": 7, "intermediate_size": 8}
    )
    monkeypatch.setattr(official_speed, "BATCH_SIZE", 4)
    monkeypatch.setattr(official_speed, "REPEATS", 1)
    table = Table(tmp_path, next(source for source in SOURCES if source.entry.name == "wine"))
    network = table.build("stand_in").module.network
    monkeypatch.setattr(official_speed, "official_network", lambda *_: StandIn(network))
    return table


def test_every_way_has_its_ratio(table: Table) -> None:
    require_equal(table)
    seconds = training_seconds(table)
    assert list(seconds) == ["official", "float32", "float32_window", "bf16", "bf16_window"]
    assert min(seconds.values()) > 0
    assert prediction_ratio(table) > 0


def test_networks_that_compute_something_else_are_not_timed(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official_speed, "official_loss", lambda network, batch: torch.tensor(0.1))
    with pytest.raises(RuntimeError, match=r"wine: our loss is [\d.]+, the package's 0\.1"):
        require_equal(table)


def test_without_the_package_there_are_no_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(official_speed.importlib.util, "find_spec", lambda name: None)
    assert official_speed.figures() == {}
    assert "the package tabstar is not installed" in capsys.readouterr().out
