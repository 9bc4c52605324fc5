"""Operations are those that torch counts in a real step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.families.tabstar.builtin import ensure_builtin
from tabstar_lit.families.tabstar.config import TabstarArchitecture, TabstarDataset
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.flops import StepFlops
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("unfreeze", [1, 3])
def test_the_count_is_torchs(tmp_path: Path, pooling: str, unfreeze: int) -> None:
    sizes = RandomEncoder(layers=4, hidden_size=32, heads=2, ffn_hidden=64)
    options: dict[str, Any] = {"name": "random", "pooling": pooling, "unfreeze_layers": unfreeze, "random": sizes}
    architecture = TabstarArchitecture(text_encoder=TextEncoderConfig(**options), interaction_heads=2)
    network = TabStarNetwork(architecture, load_text_encoder(architecture.text_encoder)).train()
    network.text_encoder.layout = "ragged"
    config = TabstarDataset(name="t", corpus=str(ensure_builtin(tmp_path / "b.h5")), tables=("iris",))
    data = TabstarData(config, tokenizer=network.text_encoder.tokenizer, max_tokens=64, seed=0)
    batch = data.train_dataset()[data.train_plan().batches(0)[0]]
    with FlopCounterMode(display=False) as counter:
        network(batch).sum().backward()
    counted, own = counter.get_total_flops(), StepFlops(network).of(batch, remembered=False)
    # Of a processor's attention, torch counts only that with dropout, which frozen layers have none of; with padding.
    own -= network.text_encoder.frozen_layers * 4 * network.text_encoder.width * batch.n_pairs
    assert counted == pytest.approx(own, rel=0.06)
