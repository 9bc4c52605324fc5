"""Every shipped configuration of `train_experts`: all its stages, two steps each, and what they hand to each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checks import assert_check_passes
from click.testing import CliRunner, Result

from tabstar_lit.commands.train import train_experts
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.experts.architecture import EXPERTS, ExpertsArchitecture
from tabstar_lit.families.experts.earlier import Borrower

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = [f"experts/{path.stem}" for path in sorted((REPOSITORY / "model_config/experts").glob("*.yaml"))]
SHORT = (
    "dataset_config.batch_size=2",
    "dataset_config.context_length=32",
    "dataset_config.max_samples=20",
    "model_config.training_config.max_steps=2",
    "model_config.training_config.accumulate_grad_batches=1",
    "stage_config.mixture.model_config.training_config.accumulate_grad_batches=1",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
)


def train(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(train_experts, arguments, catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shipped_experts")


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in that folder."""
    monkeypatch.chdir(folder)


def best_of(folder: Path, run: str) -> dict[str, Path]:
    """Return the best checkpoint of each finished stage, which made two steps."""
    stages = json.loads((folder / "runs/logs/experts_builtin" / run / "run.json").read_text())["stages"]
    assert {(stage["status"], stage["steps"]) for stage in stages.values()} == {("finished", 2)}
    models = folder / "runs/models/checkpoints/experts_builtin" / run
    return {name: models / stage["best_checkpoint"] for name, stage in stages.items()}


def content_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    assert all(bool(values.isfinite().all()) for values in content["state_dict"].values())
    return content


@pytest.mark.parametrize("model", MODELS)
def test_all_stages_train_and_build_on_each_other(model: str, folder: Path) -> None:
    run = model.replace("/", "_")
    done = train(f"model_config={model}", f"experiment_config.run_name={run}", *SHORT)
    assert done.exit_code == 0, done.output
    contents = {name: content_of(path) for name, path in best_of(folder, run).items()}
    assert list(contents) == [*EXPERTS, "mixture"]
    mixture = contents["mixture"]["state_dict"]
    for expert in EXPERTS:
        own = contents[expert]["state_dict"]
        names = [name for name in own if name.startswith("network.expert.")]
        assert names
        for name in names:
            frozen = mixture[name.replace("network.expert.", f"network.experts.{expert}.")]
            assert torch.equal(frozen, own[name]), name
        embedding = "network.embedding.weight"
        assert torch.equal(own[embedding], contents["transformer"]["state_dict"][embedding])
    optimized = sum(len(group["params"]) for group in contents["mixture"]["optimizer_states"][0]["param_groups"])
    assert optimized == sum(not name.startswith("network.experts.") and "store" not in name for name in mixture)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes_the_check(model: str, folder: Path) -> None:
    assert_check_passes(train_experts, folder, *SHORT, f"model_config={model}", stages=len(EXPERTS) + 1)


def test_a_state_space_alone_trains_an_embedding_of_its_own(folder: Path) -> None:
    done = train("stages=[state_space]", "experiment_config.run_name=alone", *SHORT)
    assert done.exit_code == 0, done.output
    optimizer = content_of(best_of(folder, "alone")["state_space"])["optimizer_states"][0]
    weights = content_of(best_of(folder, "alone")["state_space"])["state_dict"]
    assert sum(len(group["params"]) for group in optimizer["param_groups"]) == len(weights)


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Path]:
    """Return the stages of a run of the default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = train("experiment_config.run_name=default", *SHORT)
    assert done.exit_code == 0, done.output
    return best_of(folder, "default")


def of_files(paths: dict[str, Path], **other: Path) -> list[str]:
    return [
        f"model_config.{expert}_checkpoint={path}" for expert, path in {**paths, **other}.items() if expert in EXPERTS
    ]


def test_a_mixture_joins_experts_of_files(folder: Path, trained: dict[str, Path]) -> None:
    done = train("stages=[mixture]", "experiment_config.run_name=files", *of_files(trained), *SHORT)
    assert done.exit_code == 0, done.output
    assert list(best_of(folder, "files")) == ["mixture"]


def test_an_expert_of_another_role_is_refused(trained: dict[str, Path]) -> None:
    swapped = of_files(trained, state_space=trained["transformer"])
    refused = train("stages=[mixture]", *swapped, *SHORT)
    assert refused.exit_code == 2
    assert "is of the role transformer, and a state_space is needed here" in refused.output


def test_an_expert_of_another_transformer_is_refused(folder: Path, trained: dict[str, Path]) -> None:
    done = train("stages=[state_space]", "experiment_config.run_name=stranger", *SHORT)
    assert done.exit_code == 0, done.output
    strange = of_files(trained, state_space=best_of(folder, "stranger")["state_space"])
    refused = train("stages=[mixture]", *strange, *SHORT)
    assert refused.exit_code == 2
    assert "was trained with another transformer" in refused.output
    assert "model_config.transformer_checkpoint" in refused.output


def test_an_expert_of_another_architecture_is_refused(trained: dict[str, Path]) -> None:
    changed = "model_config.architecture_config.transformer.act=GeGLU"
    refused = train("stages=[mixture]", changed, *of_files(trained), *SHORT)
    assert refused.exit_code == 2
    assert "has another architecture_config than this stage" in refused.output
    assert "GeGLU" in refused.output


def test_experts_of_another_tokenizer_are_refused(trained: dict[str, Path]) -> None:
    tokenizer = content_of(trained["transformer"])["tabstar_lit"]["payload"]["tokenizer"]
    architecture = ExpertsArchitecture(size="nano", dropout=0.0).resolved()
    vocabulary = content_of(trained["transformer"])["tabstar_lit"]["payload"]["vocabulary"]
    assert Borrower(architecture, vocabulary, tokenizer).weights(trained["transformer"], "transformer")
    for other in (Borrower(architecture, vocabulary + 1, tokenizer), Borrower(architecture, vocabulary, "another")):
        with pytest.raises(CheckpointError, match="another tokenizer"):
            other.weights(trained["transformer"], "transformer")


def test_a_diffuser_without_a_transformer_is_refused() -> None:
    refused = train("stages=[diffuser]", *SHORT)
    assert refused.exit_code == 2
    assert "transformer_checkpoint" in refused.output
