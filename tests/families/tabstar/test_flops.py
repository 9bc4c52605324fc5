"""Operations are those that torch counts in a real step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.engine.weights.transfer import apply_freeze
from tabstar_lit.families.tabstar.config import LoraConfig, TabstarArchitecture, TabstarDataset
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.finetuning.adapters import add_adapters
from tabstar_lit.families.tabstar.flops import StepFlops
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder


@pytest.mark.parametrize(
    ("pooling", "unfreeze", "trained"),
    [
        ("cls", 1, "all"),
        ("cls", 3, "all"),
        ("mean", 1, "all"),
        ("mean", 3, "all"),
        ("cls", 2, "lora"),
        ("cls", 0, "head"),
    ],
)
def test_the_count_is_torchs(tmp_path: Path, pooling: str, unfreeze: int, trained: str) -> None:
    width = 256 if trained == "lora" else 32  # beside which adapters of rank 1 are nothing: they are not counted
    sizes = RandomEncoder(layers=4, hidden_size=width, heads=2, ffn_hidden=64)
    options: dict[str, Any] = {"name": "random", "pooling": pooling, "unfreeze_layers": unfreeze, "random": sizes}
    architecture = TabstarArchitecture(text_encoder=TextEncoderConfig(**options), interaction_heads=2)
    network = TabStarNetwork(architecture, load_text_encoder(architecture.text_encoder)).train()
    if trained == "lora":
        add_adapters(network, LoraConfig(rank=1, alpha=1))
    elif trained == "head":
        apply_freeze(network, ["numerical_fusion", "tabular_encoder"], {})
    network.text_encoder.layout = "ragged"
    config = TabstarDataset(name="t", corpus=str(ensure_builtin(tmp_path / "b.h5")), tables=("iris",))
    data = TabstarData(config, tokenizer=network.text_encoder.tokenizer, max_tokens=64, seed=0)
    batch = data.train_dataset()[data.train_plan().batches(0)[0]]
    if trained == "head":  # every string's vector is remembered
        vectors = network.encode_strings(batch).detach()
        network.text_lookup = lambda strings: vectors
    with FlopCounterMode(display=False) as counter:
        network(batch).sum().backward()
    counted, own = counter.get_total_flops(), StepFlops(network).of(batch, remembered=False)
    # Of a processor's attention, torch counts only that with dropout, which frozen layers have none of; with padding.
    frozen_layers = network.text_encoder.frozen_layers if trained != "head" else 0
    own -= frozen_layers * 4 * network.text_encoder.width * batch.n_pairs
    assert counted == pytest.approx(own, rel=0.06)
