"""Any valid configuration survives being written and read; any mutation is a located error or valid, no crash."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tabstar_lit.config import ConfigTree, to_yaml
from tabstar_lit.config.yaml_reader import parse_yaml
from tabstar_lit.errors import ConfigError

FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
LOCATED = re.compile(r"^(\d+ problems in the configuration:|run\.yaml(:\d+:\d+)?: .+|command line: .+)$")

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
safe_names = names.filter(lambda name: not set("/\\") & set(name) and name.strip("."))
plain_names = names.filter(lambda name: "${" not in name)
numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, max_value=1e300)
scalars = st.none() | st.booleans() | st.integers() | numbers | plain_names
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
counts = st.integers(min_value=1, max_value=10**9)

trainings = st.fixed_dictionaries(
    {},
    optional={
        "loss": plain_names | st.fixed_dictionaries({"loss_name": plain_names, "loss_params": st.just({})}),
        "optimizer": st.fixed_dictionaries(
            {"optimizer_name": plain_names, "optimizer_params": st.dictionaries(names, anything, max_size=3)}
        ),
        "max_epochs": counts,
        "gradient_clip_val": positive | st.none(),
        "reduce_lr_on_epoch": positive | counts,
        "save_last": st.booleans(),
        "monitor_mode": st.sampled_from(["min", "max"]),
    },
)
experiments = st.fixed_dictionaries(
    {
        "experiment_config": st.fixed_dictionaries(
            {"experiment_name": safe_names.filter(lambda name: "${" not in name)},
            optional={
                "seed": st.none() | st.integers(min_value=0, max_value=2**63),
                "devices": counts | st.just("auto") | st.lists(counts, min_size=1, max_size=3, unique=True),
                "precision": st.sampled_from([16, "32-true", "bf16"]),
                "deterministic": st.booleans() | st.just("warn"),
            },
        ),
        "dataset_config": st.fixed_dictionaries(
            {"name": plain_names},
            optional={"files": st.lists(plain_names, max_size=3), "cuts": st.dictionaries(names, numbers, max_size=3)},
        ),
        "model_config": st.fixed_dictionaries(
            {"name": plain_names, "architecture_config": st.just({"model": "mlp"}), "training_config": trainings},
            optional={"freeze": st.lists(plain_names, max_size=2)},
        ),
    }
)


@FUZZ
@given(data=experiments)
def test_valid_configurations_read_back_equal(empty_project: Any, data: dict[str, Any]) -> None:
    first = empty_project.load(primary=empty_project.write("run.yaml", _own_yaml(data)))
    second = empty_project.load(primary=empty_project.write("again.yaml", to_yaml(first.tree)))
    assert second.experiment == first.experiment
    assert to_yaml(second.tree) == to_yaml(first.tree)


@FUZZ
@given(data=experiments, choices=st.lists(st.integers(0, 10**6), min_size=2, max_size=8), junk=anything, key=names)
def test_mutations_are_located_errors(
    empty_project: Any, data: dict[str, Any], choices: list[int], junk: Any, key: str
) -> None:
    mutated = _mutated(copy.deepcopy(data), choices, junk, key)
    source = empty_project.write("run.yaml", _own_yaml(mutated))
    lines = _complaint(lambda: empty_project.load(primary=source)).splitlines()
    assert [line for line in lines if not LOCATED.match(line)] == []


@FUZZ
@given(text=st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"%@`#?~<$\t \nab1", max_size=40))
def test_no_text_crashes_the_reader(text: str) -> None:
    assert re.match(r"run\.yaml|$", _complaint(lambda: parse_yaml(text, "run.yaml")))


@FUZZ
@given(text=st.text(max_size=30) | st.from_regex(r"[~+]{0,2}[a-z_.@/]{1,12}=[\[{'\"a1,:}\] ]{0,8}", fullmatch=True))
def test_no_argument_crashes_the_loader(project: Any, text: str) -> None:
    assert re.search(r"command line: |:\d+:\d+: |^$", _complaint(lambda: project.load(text)))


def _complaint(call: Callable[[], object]) -> str:
    """Give the message for the user, empty when there is none; any other exception fails the test."""
    try:
        call()
    except ConfigError as error:
        return str(error)
    return ""


def _own_yaml(data: dict[str, Any]) -> str:
    return to_yaml(ConfigTree(data, {}))


def _mutated(data: dict[str, Any], choices: list[int], junk: Any, key: str) -> dict[str, Any]:
    """Walk to a place that `choices` picks, and rename, remove, replace or add there."""
    node: Any = data
    for choice in choices[1:]:
        below = [name for name, child in node.items() if isinstance(child, dict) and child]
        if not below or choice % 4 == 0:
            break
        node = node[below[choice % len(below)]]
    place = sorted(node)[choices[-1] % len(node)]
    action = choices[0] % 4
    if action == 0:
        node[key] = node.pop(place)
    elif action == 1:
        del node[place]
    elif action == 2:
        node[place] = junk
    else:
        node[key] = junk
    return data
