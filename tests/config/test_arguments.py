"""Free dictionaries are checked against the signature of what takes them."""

from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.config.arguments import check_arguments, fail_unless_empty, parameters_of
from tabstar_lit.config.tree import Problem
from tabstar_lit.errors import ConfigError


def target(
    given: object,
    needed: float,
    factor: float | None = 0.5,
    kind: str = "a",
    maybe: int | None = None,
    rates: float | list[float] = 0.1,
    *args: object,
    **kwargs: object,
) -> None: ...


def check(**params: Any) -> tuple[dict[str, Any], list[str]]:
    parameters = parameters_of(target, without=("given",))
    arguments, problems = check_arguments(parameters, params, owner="target", path=("p",))
    return arguments, [problem.message for problem in problems]


def test_only_named_parameters_can_be_set() -> None:
    assert list(parameters_of(target, without=("given",))) == ["needed", "factor", "kind", "maybe", "rates"]


def test_values_are_converted_to_the_kind_that_is_asked_for() -> None:
    arguments, problems = check(needed="1e-3", factor=None, kind="7", maybe="12", rates=["0.1", 2])
    assert problems == []
    assert arguments == {"needed": 1e-3, "factor": None, "kind": "7", "maybe": 12, "rates": [0.1, 2]}
    assert isinstance(arguments["maybe"], int)


def test_what_cannot_be_converted_is_a_problem() -> None:
    assert check(needed="soon")[1] == ["'needed' of target is a number, not 'soon'."]
    assert check()[1] == ["target needs needed, which is not given."]
    assert check(needed=1, factor=[1])[1] == ["'factor' of target is a number, not [1]."]
    assert check(needed=1, rates=["x"])[1] == ["'rates' of target is a number, not 'x'."]


def test_problems_without_a_file_are_raised_together_with_the_nearest_name() -> None:
    fail_unless_empty([])
    problems = [Problem(("a", "facotr"), "unknown parameter 'facotr'.", ("factor", "kind")), Problem(("b",), "bad.")]
    with pytest.raises(ConfigError, match="facotr") as caught:
        fail_unless_empty(problems)
    assert str(caught.value).splitlines() == [
        "training_config.a.facotr: unknown parameter 'facotr'. Did you mean 'factor'?",
        "training_config.b: bad.",
    ]
