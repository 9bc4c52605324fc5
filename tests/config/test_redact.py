"""A secret goes from wherever it occurs, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tabstar_lit.config.redact import MASK, redact, redact_text, seal, secret_values

SECRETS = st.text("abc-", min_size=6, max_size=12)


@given(SECRETS, st.text("abcd-", max_size=20), st.text("abcd-", max_size=20))
def test_no_secret_is_left_in_a_text_that_held_it(secret: str, before: str, after: str) -> None:
    hidden = redact({"key": SecretStr(secret), "copy": [f"{before}{secret}{after}"], secret: 1})
    assert hidden["key"] == MASK
    assert MASK in hidden["copy"][0]
    assert secret not in hidden["copy"][0]
    assert hidden[MASK] == 1


def test_a_secret_inside_another_leaves_no_tail() -> None:
    assert redact_text("x-abcdef-123456-y abcdef", ["abcdef", "abcdef-123456"]) == f"x-{MASK}-y {MASK}"


@pytest.mark.parametrize(("secret", "hidden"), [("12345", False), ("123456", True), ("", False)])
def test_short_secrets_are_masked_where_they_stand_but_not_as_words(secret: str, hidden: bool) -> None:
    data = {"key": SecretStr(secret), "note": f"batch {secret}"}
    assert redact(data)["key"] == MASK
    assert (redact(data)["note"] == f"batch {MASK}") is hidden
    assert secret_values(data) == (frozenset({secret}) if hidden else frozenset())


def test_other_values_keep_their_type_and_the_original_is_untouched() -> None:
    data: dict[str, Any] = {"a": (1, 2.5, None, True), "b": {"c": SecretStr("secret-1")}, "d": ["secret-1"]}
    assert redact(data) == {"a": [1, 2.5, None, True], "b": {"c": MASK}, "d": [MASK]}
    assert data["d"] == ["secret-1"]
    assert isinstance(data["a"], tuple)


def test_only_text_under_a_secret_key_is_sealed_at_any_depth() -> None:
    data = {"key": "k1", "list": [{"key": "k2", "other": "k3"}], "deep": {"key": {"key": 4}}, "none": {"key": None}}
    sealed = seal(data, {"key"})
    assert sealed == {
        "key": SecretStr("k1"),
        "list": [{"key": SecretStr("k2"), "other": "k3"}],
        "deep": {"key": {"key": 4}},
        "none": {"key": None},
    }
    assert data["key"] == "k1"
