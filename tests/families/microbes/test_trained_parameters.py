"""Every parameter that a shipped configuration saves has learned something: in pretraining or in the stage after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made_samples import a_batch, some_facts

from tabstar_lit.commands.train import load
from tabstar_lit.families.microbes.build import build_module
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.module import MicrobesModule
from tabstar_lit.families.microbes.training_config import MicrobesModel

REPOSITORY = Path(__file__).resolve().parents[3]
MODELS = sorted(path.stem for path in (REPOSITORY / "model_config/microbes").glob("*.yaml"))
SMALL = ("model_config.architecture_config.embedding_dim=8", "model_config.architecture_config.heads=2")
STEPS = 3
"""Some parts begin at zero, and those before them learn from the second step on."""


def shipped(model: str, role: str, *overrides: str) -> MicrobesModel:
    loaded = load(family, (f"model_config=microbes/{model}", f"stages=[{role}]", *SMALL, *overrides), None)
    own: MicrobesModel = loaded.stages[-1].experiment.model
    return own


def idle_after(module: MicrobesModule, batch: Any) -> list[str]:
    """Return the names of the parameters that had no gradient in any of some steps, those left out: kept on purpose."""
    module.train()
    optimizer = torch.optim.SGD([own for own in module.parameters() if own.requires_grad], lr=0.1)
    idle = {name for name, own in module.network.named_parameters() if own.requires_grad}
    for _ in range(STEPS):
        optimizer.zero_grad()
        module.compute(batch).loss.backward()
        optimizer.step()
        idle -= {name for name, own in module.network.named_parameters() if own.grad is not None and own.grad.any()}
    return sorted(idle)


@pytest.mark.parametrize("encoder_type", ["unifrac", "faith_pd", "taxonomy", "combined"])
@pytest.mark.parametrize("model", MODELS)
def test_all_of_an_encoder_learns_in_pretraining(model: str, encoder_type: str) -> None:
    torch.manual_seed(0)
    config = shipped(model, "encoder", f"model_config.architecture_config.encoder_type={encoder_type}")
    module = build_module(config, some_facts())
    assert idle_after(module, a_batch(taxonomy=True)) == []
    kept = [name for name, own in module.network.named_parameters() if not own.requires_grad]
    assert all(name.startswith(config.freeze) for name in kept)


@pytest.mark.parametrize("model", MODELS)
def test_all_that_a_predictor_adds_learns_on_a_frozen_encoder(model: str) -> None:
    torch.manual_seed(0)
    config = shipped(model, "predictor", "dataset_config.target=state")
    module = build_module(config, some_facts("classification"))
    assert idle_after(module, a_batch(kind="classification")) == []
    kept = {name for name, own in module.network.named_parameters() if not own.requires_grad}
    assert all(name.startswith(("base.", "wide.")) for name in kept)


def test_a_part_that_nothing_reads_would_be_found() -> None:
    torch.manual_seed(0)
    without = shipped("ibd", "encoder", "model_config.training_config.loss_weights.ordination=0")
    module = build_module(without, some_facts())
    idle = idle_after(module, a_batch())
    assert any(name.startswith("base.sample_encoder.") for name in idle)
