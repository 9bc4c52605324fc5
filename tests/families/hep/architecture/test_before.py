"""Architectures of earlier versions mean what they meant."""

from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.families.hep.architecture.before import of_today

SHARED = {"reduction": "mean", "conv1d_embedding": True}


@pytest.mark.parametrize(
    ("before", "today"),
    [
        ({"embeddings": SHARED}, {"embeddings": {"reduction": "mean", "numer_shared_linear": True}}),
        ({"flat_model": {"embeddings": SHARED}},
         {"flat_model": {"embeddings": {"reduction": "mean", "numer_shared_linear": True}}}),
        ({"valid_type_values": {"jets": {"kind": [0, 2]}}}, {"valid_type_values": {"jets": {"kind": ["#0", "#2"]}}}),
    ],
)  # fmt: skip
def test_what_an_earlier_version_wrote_is_read_as_it_meant_it(before: dict[str, Any], today: dict[str, Any]) -> None:
    assert of_today(before) == today
    assert of_today(today) == today


@pytest.mark.parametrize(
    "today",
    [
        {"embeddings": {"numer_shared_linear": False, "conv1d_embedding": True}, "flat_model": None},
        {"valid_type_values": {"jets": ["2"], "muons": {"kind": ["tight"]}}},
        {"embeddings": {"reduction": "none", "ple": {"act": None}}, "model": "MLP"},
    ],
)
def test_what_this_version_writes_stays_as_it_is(today: dict[str, Any]) -> None:
    assert of_today(today) == today
