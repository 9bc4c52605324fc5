"""Glob patterns over dotted names of modules and parameters."""

from __future__ import annotations

import pytest

from tabstar_lit.engine.weights.patterns import matches, nearest_parts


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("encoder", "encoder.layer.0.weight", True),
        ("encoder", "encoder2.weight", False),
        ("encoder.layer.[01]", "encoder.layer.1.bias", True),
        ("*.bias", "a.b.bias", True),
        ("*norm*", "a.layernorm.weight", True),
        ("layer", "encoder.layer.0", False),
        ("Encoder", "encoder.weight", False),
    ],
)
def test_a_pattern_names_parameters_and_modules(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_nearest_parts_are_modules_and_parameters() -> None:
    assert nearest_parts("encodr.*", ["encoder.layer.weight", "head.bias"])[0] == "encoder"
    assert nearest_parts("zzz", ["encoder.weight"]) == []
