"""Rows on a device or batches made ahead: the same batches in the same order, and errors where they belong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import Dataset

from tabstar_lit.engine.devices.rows import AHEAD, PlanLoader, made_ahead, place_of
from tabstar_lit.errors import ConfigError

CPU = torch.device("cpu")


class Rows(Dataset[int]):
    def __getitem__(self, key: int) -> int:
        return key


class MovableRows(Rows):
    nbytes = 100

    def to(self, device: torch.device) -> MovableRows:
        return self


def test_batches_made_ahead_come_in_their_order_and_no_more_of_them_than_asked_for() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    ahead = made_ahead(batches())
    assert next(ahead) == 0
    time.sleep(0.1)
    assert len(made) <= AHEAD + 3
    assert list(ahead) == list(range(1, 20))


def test_an_error_rises_where_its_batch_is_asked_for() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise KeyError("second")

    ahead = made_ahead(batches())
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="second"):
        next(ahead)


def test_a_loop_that_is_left_ends_the_thread() -> None:
    before = threading.active_count()
    ahead = made_ahead(iter(range(1000)))
    assert next(ahead) == 0
    (thread,) = (one for one in threading.enumerate() if one.name == "batches")
    ahead.close()  # type: ignore[attr-defined]  # a generator
    assert threading.active_count() == before
    assert thread.daemon, "a program that ends within a loop does not wait for it"


@pytest.mark.parametrize("ahead", [False, True])
def test_a_loader_serves_the_same_batches_and_counts_its_time(ahead: bool) -> None:
    class Slow(Rows):
        def __getitem__(self, key: int) -> int:
            time.sleep(0.01)
            return key

    loader = PlanLoader(Slow(), batch_size=None, sampler=range(5), collate_fn=lambda batch: batch)
    loader.ahead = ahead
    assert [list(loader), list(loader)] == [[*range(5)], [*range(5)]]
    assert 0.05 < loader.waited_s < 5


def test_rows_stay_on_the_host_without_a_card_and_what_cannot_move_is_not_asked_to() -> None:
    assert place_of(MovableRows(), CPU, "auto") == place_of(Rows(), CPU, "auto") == "host"
    assert place_of(MovableRows(), torch.device("meta"), "device") == "device"
    assert place_of(MovableRows(), torch.device("meta"), "host") == "host"
    with pytest.raises(ConfigError, match="cannot be held on a device"):
        place_of(Rows(), CPU, "device")
