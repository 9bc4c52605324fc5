"""Means of losses and terms: exact, in the order of the batches, and read from the device only when they are wanted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.engine.callbacks.training_log import TrainingLog
from tabstar_lit.engine.tracking import means as module_under_test
from tabstar_lit.engine.tracking.means import Means, joined

BATCHES = st.lists(st.tuples(st.sampled_from("ab"), st.floats(-5, 5, width=32), st.integers(1, 9)), max_size=20)


def filled(batches: list[tuple[str, float, int]], start: Means | None = None) -> Means:
    means = start or Means()
    for source, value, size in batches:
        means.add(source, size, torch.tensor(value), {"double": torch.tensor(2 * value)})
    return means


@given(BATCHES, st.data())
def test_means_that_are_saved_and_gone_on_with_are_the_same_to_the_bit(
    batches: list[tuple[str, float, int]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(batches)))
    resumed = filled(batches[cut:], Means(filled(batches[:cut]).sums()))
    assert resumed.sums() == filled(batches).sums()
    expected = sum(value * size for _, value, size in batches) / (sum(size for *_, size in batches) or math.nan)
    assert resumed.value() == pytest.approx(expected, nan_ok=True)


@given(BATCHES)
def test_ranks_are_joined_as_if_one_had_seen_all(batches: list[tuple[str, float, int]]) -> None:
    whole = joined([filled(batches[0::2]).sums(), filled(batches[1::2]).sums()]).values("train")
    assert whole == pytest.approx(filled(batches).values("train"), nan_ok=True, abs=1e-12)
    assert set(whole) == set(filled(batches).values("train"))


def test_nothing_is_read_before_it_is_asked_for_and_then_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    for name in ("tolist", "item", "__float__"):
        original = getattr(torch.Tensor, name)

        def counted(tensor: torch.Tensor, original: Any = original) -> Any:
            reads.append(tensor.numel())
            return original(tensor)

        monkeypatch.setattr(torch.Tensor, name, counted)
    monkeypatch.setattr(module_under_test, "LONGEST_WAIT", 6)
    means = filled([("a", 1.0, 2)] * 5)
    assert reads == []
    assert means.value("double") == 2.0
    assert reads == [10]
    filled([("a", 1.0, 2)] * 6, means)
    assert reads == [10], "those are on their way"
    filled([("a", 1.0, 2)] * 6, means)
    assert reads == [10, 12], "a long epoch does not pile them up"


def test_numbers_of_several_types_are_read_together() -> None:
    means = Means()
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        means.add("a", 1, torch.tensor(1 / 3, dtype=dtype), {})
    expected = [float(torch.tensor(1 / 3, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32, torch.float64)]
    assert means.sums() == {"a": {"loss": (sum(expected), 3)}}


def test_gradients_are_not_held() -> None:
    means, weight = Means(), torch.ones((), requires_grad=True)
    means.add("a", 1, weight * 2, {"term": weight * 3})
    assert not any(value.requires_grad for *_, named in means._waiting for value in named.values())


def test_the_sums_of_a_checkpoint_from_before_there_were_terms_are_gone_on_with() -> None:
    log = TrainingLog()
    log.load_state_dict({"recent": [3.0, 2], "sources": {"a": [6.0, 4], "b": [1.0, 1]}})
    assert log.state_dict() == {
        "recent": [3.0, 2], "sources": {"a": [6.0, 4], "b": [1.0, 1]}, "terms": {"a": {}, "b": {}},
    }  # fmt: skip
