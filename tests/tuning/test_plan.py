"""Mistakes in a study are found before its first trial, each at its line, and nothing is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import ToyExperiment, ToyFamily
from tuning_bench import HIDDEN, LR, STUDY, TuningBench

from tabstar_lit.config import compose_experiment
from tabstar_lit.config.overrides import parse_override
from tabstar_lit.config.tree import Position
from tabstar_lit.errors import ConfigError
from tabstar_lit.tuning.plan import plan_study
from tabstar_lit.tuning.report import Row, Summary, literal
from tabstar_lit.tuning.space import node

TRAINING = "model_config.training_config"
RATE = {"type": "float", "low": 1e-4, "high": 1e-2}
DROPOUT = "model_config.architecture_config.dropout"

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "key that does not exist": (
        {"parameters": {f"{TRAINING}.max_epoch": {"type": "int", "low": 1, "high": 2}}},
        r"low: 1.*unknown key 'max_epoch' in model_config.training_config. Did you mean 'max_epochs'\?",
    ),
    "parameter of the optimizer that does not exist": (
        {"parameters": {f"{TRAINING}.optimizer.optimizer_params.lrr": RATE}},
        r"low: 0.0001.*unknown parameter 'lrr' of AdamW. Did you mean 'lr'\?",
    ),
    "lower bound": (
        {"parameters": {f"{TRAINING}.gradient_clip_val": {"type": "float", "low": -1.0, "high": 1.0}}},
        r"low: -1.0.*must be greater than 0, got the number -1.0",
    ),
    "upper bound": (
        {"parameters": {"experiment_config.check_eval_n_epoch": {"type": "int", "low": 1, "high": 9}}},
        r"high: 9.*validating every 9 epochs of 2 means never",
    ),
    "choice": (
        {"parameters": {"experiment_config.accelerator": {"type": "categorical", "choices": ["cpu", "gpuu"]}}},
        r"- gpuu.*accelerator cannot be the text 'gpuu'. Did you mean 'gpu'\?",
    ),
    "name of an optimizer": (
        {"parameters": {f"{TRAINING}.optimizer.optimizer_name": {"type": "categorical", "choices": ["Adam", "Adan1"]}}},
        r"- Adan1.*'Adan1'.*Did you mean",
    ),
    "kind": ({"parameters": {LR: {**RATE, "type": "flat"}}}, r"type: flat.*type cannot be the text 'flat'"),
    "empty range": ({"parameters": {LR: {**RATE, "low": 1.0}}}, r"low: 1.0.*low \(1\) must not be above high"),
    "logarithm of nothing": (
        {"parameters": {LR: {**RATE, "low": 0.0, "log": True}}},
        r"low: 0.0.*with log, low must be above 0, got 0",
    ),
    "steps in the logarithm": (
        {"parameters": {LR: {**RATE, "log": True, "step": 0.1}}},
        r"step: 0.1.*step and log exclude each other",
    ),
    "whole steps in the logarithm": (
        {"parameters": {HIDDEN: {"type": "int", "low": 1, "high": 9, "log": True, "step": 2}}},
        r"step: 2.*step and log exclude each other",
    ),
    "choice twice": (
        {"parameters": {DROPOUT: {"type": "categorical", "choices": [0.5, 0.1, 0.5]}}},
        r"- 0.5.*the choice 0.5 is given twice",
    ),
    "what the study decides": (
        {"parameters": {"experiment_config.run_name": {"type": "categorical", "choices": ["a", "b"]}}},
        r"run_name:.*'experiment_config.run_name' is the same for all trials",
    ),
    "a key and a part of it": (
        {
            "parameters": {
                LR: RATE,
                f"{TRAINING}.optimizer": {"type": "categorical", "choices": [{"optimizer_name": "Adam"}]},
            }
        },
        r"lr:.*is a part of 'model_config.training_config.optimizer', which is varied too",
    ),
    "nothing varied": ({"parameters": {}}, r"parameters: \{\}.*must not be empty"),
    "sampler": ({"sampler": "TPSampler"}, r"sampler: TPSampler.*no sampler 'TPSampler'. Did you mean 'TPESampler'\?"),
    "sampler's argument": (
        {"sampler_params": {"n_startup": 2}},
        r"n_startup: 2.*unknown parameter 'n_startup' of TPESampler. Did you mean 'n_startup_trials'\?",
    ),
    "sampler's seed": ({"sampler_params": {"seed": 2}}, r"seed: 2.*unknown parameter 'seed' of TPESampler"),
    "sampler that wraps another": ({"sampler": "PartialFixedSampler"}, r"no sampler 'PartialFixedSampler'"),
    "sampler that cannot do with this": (
        {"sampler": "GridSampler", "sampler_params": {"search_space": {LR: [0.1]}}},
        r"sampler_params:.*the sampler cannot be used: .* not found in the given grid",
    ),
    "pruner": ({"pruner": "MedianPrune"}, r"pruner: MedianPrune.*Did you mean 'MedianPruner'\?"),
    "pruner's argument": (
        {"pruner": "PercentilePruner", "pruner_params": {"percentile": 400}},
        r"pruner_params:.*the pruner cannot be used: .*",
    ),
    "name of the study": ({"study_name": "a/b"}, r"study_name: a/b.*'a/b' cannot name a folder"),
    "number of trials": ({"n_trials": 0}, r"n_trials: 0.*must be at least 1"),
}


@pytest.fixture
def bench(tmp_path: Path) -> TuningBench:
    return TuningBench(tmp_path)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(bench: TuningBench, mistake: str) -> None:
    changes, expected = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=r"toy\.yaml") as raised:
        bench.plan(**changes)
    where, _, message = str(raised.value).partition(": ")
    file, line, _ = where.rsplit(":", 2)
    assert file.endswith("tuning_config/toy.yaml"), raised.value
    written = Path(file).read_text().splitlines()[int(line) - 1]
    assert re.search(expected, f"{written} {message}"), f"{written} {message}"
    assert not (bench.folder / "logs").exists()


def test_all_mistakes_are_told_at_once(bench: TuningBench) -> None:
    wrong = {f"{TRAINING}.max_epoch": {"type": "int", "low": 1, "high": 2}, f"{TRAINING}.optimizer.lr": RATE}
    with pytest.raises(ConfigError, match=r"^2 problems in the configuration:") as raised:
        bench.plan(parameters=wrong)
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("experiment_config.devices=2", "a trial trains on one device; set devices to 1"),
        ("experiment_config.devices=[0, 1]", "a trial trains on one device; set devices to 1"),
        ("experiment_config.num_nodes=2", "a trial trains on one machine; set num_nodes to 1"),
    ],
)
def test_a_trial_has_one_device(bench: TuningBench, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bench.plan(override)


def test_any_device_becomes_one(bench: TuningBench) -> None:
    plan = bench.plan("experiment_config.devices=auto")
    assert plan.load(0, {}, seed=1).experiment.experiment_config.devices == 1
    assert bench.plan("experiment_config.devices=[1]").load(0, {}, 1).experiment.experiment_config.devices == [1]


def test_a_database_that_cannot_be_used_is_not_shown(bench: TuningBench) -> None:
    with pytest.raises(ConfigError, match=r"toy.yaml:\d+:1: the database of the study cannot be used") as raised:
        bench.tune(storage="mysql://me:canary@nowhere/study")
    assert "canary" not in str(raised.value)
    assert "canary" not in (bench.study / "config.yaml").read_text()


def test_without_optuna_it_says_how_to_install_it(bench: TuningBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'tabstar_lit\[tune\]'"):
        bench.plan()


def test_without_a_study_it_says_so(bench: TuningBench) -> None:
    bench.plan()
    composition = compose_experiment(ToyExperiment, command="train_toy", config_dir=bench.folder)
    with pytest.raises(ConfigError, match="tuning_config is not set"):
        plan_study(ToyFamily(), composition)


def test_lists_and_mappings_are_choices(bench: TuningBench) -> None:
    choices = [{"optimizer_name": "Adam"}, {"optimizer_name": "SGD", "optimizer_params": {"lr": 0.1}}]
    plan = bench.plan(parameters={f"{TRAINING}.optimizer": {"type": "categorical", "choices": choices}})
    drawn = plan.space.distributions()[f"{TRAINING}.optimizer"]
    assert [plan.space.values({f"{TRAINING}.optimizer": c})[f"{TRAINING}.optimizer"] for c in drawn.choices] == choices


def test_true_and_one_are_different_choices(bench: TuningBench) -> None:
    key = "experiment_config.deterministic"
    plan = bench.plan(parameters={key: {"type": "categorical", "choices": [True, False, "warn"]}})
    assert [plan.space.values({key: value})[key] for value in (True, False, "warn")] == [True, False, "warn"]


texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(values)
def test_what_is_written_for_the_command_line_reads_back(value: Any) -> None:
    override = parse_override(f"a.b={literal(value)}")
    assert override.node is not None
    read = override.node.plain()
    assert (read, str(read)) == (value, str(value))
    assert node(value, Position("here")).plain() == value


@pytest.mark.parametrize(("maximize", "best"), [(False, 3), (True, 1)])
def test_the_best_is_a_finished_trial(maximize: bool, best: int) -> None:
    rows = [
        Row(0, "PRUNED", {}, 9.0 if maximize else -9.0, 1),
        Row(1, "COMPLETE", {}, 2.0, 1),
        Row(2, "FAIL", {}, None, 0, "no"),
        Row(3, "COMPLETE", {}, 0.0, 1),
        Row(4, "COMPLETE", {}, 2.0 if maximize else 0.0, 1),
    ]
    summary = Summary("study", "val_loss", maximize, rows, ("train_toy",))
    assert summary.best == rows[best]
    assert summary.best_so_far() == ([1, 3, 4], [2.0, 2.0, 2.0] if maximize else [2.0, 0.0, 0.0])
    assert Summary("study", "val_loss", maximize, rows[:1], ()).best is None


def test_the_shipped_kind_of_study_is_accepted(bench: TuningBench) -> None:
    assert bench.plan(pruner="HyperbandPruner").tuning.parameters.keys() == STUDY["parameters"].keys()
