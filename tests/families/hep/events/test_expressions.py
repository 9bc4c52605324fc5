"""The language of columns: what it computes, judged by NumPy, and what it refuses."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.families.hep.events.expressions import Expression, ExpressionError, Jagged

A, B = np.array([0.5, 1.5, -2.0, 3.0]), np.array([1, 2, 3, 4])
TEXT = np.array(["x", "y", "x", None], dtype=object)
PT = Jagged(np.arange(6.0), np.array([1, 2, 3, 0]))
COLUMNS = {"a": A, "b": B, "s": TEXT, "jets.pt": PT, "my col": A + 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b ** 2 / 3 - -a % 2", A + B**2 / 3 - -A % 2),
        ("1 < b <= 3", (B > 1) & (B <= 3)),
        ("not a > 1 and b == 3 or b == 4", ~(A > 1) & (B == 3) | (B == 4)),
        ("where(isnan(sqrt(a)), -1, max(a, b, 2))", np.where(A < 0, -1, np.maximum(np.maximum(A, B), 2))),
        ("s == 'x'", np.array([True, False, True, False])),
        ("`my col` * 2", (A + 1) * 2),
        ("count(jets.pt > 1)", np.array([0, 1, 3, 0])),
        ("sum(jets.pt * a)", np.array([0, 4.5, -24, 0])),
        ("7", np.full(4, 7.0)),
    ],
)
def test_values_are_numpys(text: str, expected: np.ndarray) -> None:
    value = Expression(text)(COLUMNS, 4)
    assert not isinstance(value, Jagged)
    np.testing.assert_allclose(value, expected)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a if b else c",
        "a[0:2]",
        "[a][0]",
        "max()",
        "delta_r(a)",
        "mass()",
        "lambda: 1",
        "'x'",
        "s + 'x'",
        "a @ b",
        "abs(a, b)",
        "a.b()",
        "[a]",
        "a := 3",
        "f'{a}'",
        "a is b",
        "()",
        "",
        "\n    a ..b",
        "{a}",
        "a, b",
        "abs(x=a)",
        "1j",
        "None",
        "~a",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text)


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert all(isinstance(name.position, int) for name in Expression(text).names)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ExpressionError, match="nested more than"):
        Expression("-" * 90 + "a")


def test_names_come_with_their_place() -> None:
    names = {name.name: (name.position, name.is_text) for name in Expression("abs(`my col`) + jets.pt > a").names}
    assert names == {"my col": (5, False), "jets.pt": (17, False), "a": (27, False)}
    assert [name.is_text for name in Expression("s == 'x' and a > 1").names] == [True, False]
