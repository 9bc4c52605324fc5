"""Names of a configuration are looked up, listed and their parameters checked the same way everywhere."""

from __future__ import annotations

import inspect

import pytest

from tabstar_lit.config.registry import Registry, describe
from tabstar_lit.errors import ConfigError


def linear(x: float, slope: float, shift: float = 0.0) -> float:
    """Return a straight line.

    And more.
    """
    return slope * x + shift


def cubic(x: float) -> float:
    return x**3


def broken(x: float) -> float:
    """Return nothing of use."""
    return x


@pytest.fixture
def curves() -> Registry[object]:
    more = {"degree": inspect.Parameter("degree", inspect.Parameter.KEYWORD_ONLY, default=1)}
    return Registry(
        "curve",
        {"linear": linear, "cubic": cubic, "broken": broken},
        spellings={"StraightLine": "linear"},
        refused={"broken": "it does not work.", "Linear_": "it is not there."},
        passed=("x",),
        more={"cubic": more},
    )


@pytest.mark.parametrize("written", ["linear", "LINEAR", "StraightLine", "straightline"])
def test_a_name_is_found_in_any_case_and_spelling(curves: Registry[object], written: str) -> None:
    assert curves.resolve(written) == "linear"
    assert curves.find(written, ("curve",)) is linear
    assert curves.problems(written, ("curve",)) == []


def test_an_exact_spelling_comes_before_any_other() -> None:
    both: Registry[object] = Registry("curve", {"A": linear, "a": cubic}, spellings={"B": "A"})
    assert (both["A"], both["a"], both.find("a", ()), both.find("b", ())) == (linear, cubic, cubic, linear)


def test_an_unknown_name_is_a_problem_with_those_there_are(curves: Registry[object]) -> None:
    (problem,) = curves.problems("liner", ("curve",))
    assert (problem.path, problem.message, problem.allowed) == (
        ("curve",),
        "unknown curve 'liner'.",
        ("linear", "cubic"),
    )
    with pytest.raises(ConfigError, match=r"training_config\.curve: unknown curve 'liner'\. Did you mean 'linear'\?"):
        curves.find("liner", ("curve",))


def test_a_refused_name_is_a_problem_with_its_reason_and_cannot_be_used(curves: Registry[object]) -> None:
    for name in ("broken", "Broken"):
        (problem,) = curves.problems(name, ("curve",))
        assert problem.message == f"the curve '{name}' cannot be used: it does not work."
        assert problem.allowed == ()
    assert "broken" not in curves
    assert (list(curves), len(curves)) == (["linear", "cubic"], 2)
    assert curves.problems("linear_", ())[0].message.endswith("it is not there.")
    with pytest.raises(ConfigError, match="cannot be used"):
        curves.find("broken", ("curve",))


def test_parameters_are_those_of_the_signature_that_the_program_does_not_pass(curves: Registry[object]) -> None:
    assert list(curves.parameters("linear")) == ["slope", "shift"]
    assert list(curves.parameters("cubic")) == ["degree"]
    assert curves.parameters("nothing") == {}
    assert curves.arguments("linear", {"slope": "1e-3"}, ("p",)) == ({"slope": 1e-3}, [])
    assert curves.arguments("linear", {}, ("p",), filled=("slope",)) == ({}, [])
    _, (problem,) = curves.arguments("linear", {"slope": 1, "shft": 2}, ("p",))
    assert (problem.path, problem.allowed) == (("p", "shft"), ("slope", "shift"))


def test_lists_describe_what_there_is_and_say_what_is_refused(curves: Registry[object]) -> None:
    assert curves.lines() == {
        "linear (StraightLine)": "Return a straight line.",
        "cubic": "cubic",
        "broken": "refused: it does not work.",
        "Linear_": "refused: it is not there.",
    }
    assert describe(cubic) == "cubic"
