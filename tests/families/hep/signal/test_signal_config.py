"""What a signal experiment says about keys of its parts that contradict each other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tabstar_lit.config import load_experiment
from tabstar_lit.config.tree import Problem, dotted
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.signal.config import SignalExperiment

DISCO = {"variables": ["mass"], "lambda": 1.0, "weighted": True}


def problems(architecture: dict[str, Any], training: dict[str, Any], **data: Any) -> list[Problem]:
    content = {
        "experiment_config": {"experiment_name": "a"},
        "dataset_config": {"name": "b"} | data,
        "model_config": {"name": "c", "architecture_config": architecture, "training_config": training},
    }
    return list(SignalExperiment.model_validate_json(json.dumps(content)).problems())


@pytest.mark.parametrize("weights", ["use_mc_weights", "use_class_weights"])
def test_disco_cannot_use_weights_that_there_are_not(weights: str) -> None:
    (problem,) = problems({"model": "MLP"}, {"disco": DISCO})
    assert dotted(problem.path) == "model_config.training_config.disco.weighted"
    assert "use_mc_weights or use_class_weights" in problem.message
    assert problems({"model": "MLP"}, {"disco": DISCO}, **{weights: True}) == []
    assert problems({"model": "MLP"}, {"disco": DISCO | {"weighted": False}}) == []


@pytest.mark.parametrize(
    "part",
    [
        {"embeddings": {"ple": True}},
        {"flat_embeddings": {"ple": True}},
        {"flat_model": {"model": "MLP", "embeddings": {"ple": True}}},
    ],
)
def test_bins_are_asked_for_wherever_they_are_read(part: dict[str, Any]) -> None:
    (problem,) = problems({"model": "SetTransformer", **part}, {})
    assert dotted(problem.path) == "dataset_config.ple_bins"
    assert problems({"model": "SetTransformer", **part}, {}, ple_bins=8) == []


def test_a_wrong_entry_is_one_mistake() -> None:
    """That the list would be empty without it is no second one."""
    key = "model_config.architecture_config.particle_attention.quantities"
    with pytest.raises(ConfigError, match="'foo'") as raised:
        load_experiment(
            SignalExperiment,
            command="train_signal",
            overrides=["model_config=signal/particle_transformer", f"{key}=[foo]"],
        )
    assert "must not be empty" not in str(raised.value)
    with pytest.raises(ConfigError, match="must not be empty"):
        load_experiment(
            SignalExperiment,
            command="train_signal",
            overrides=["model_config=signal/particle_transformer", f"{key}=[]"],
        )
