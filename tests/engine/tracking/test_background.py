from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence

import pytest

from tabstar_lit.engine.tracking.background import BackgroundWriter, Guard


class Store:
    """Takes batches, refusing while `broken`."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.calls = 0
        self.broken = False
        self.received = threading.Event()

    def send(self, batch: Sequence[int]) -> None:
        self.calls += 1
        if self.broken:
            raise OSError("database is locked")
        self.items.extend(batch)
        self.received.set()


@pytest.fixture
def store() -> Store:
    return Store()


def test_items_arrive_in_order_and_in_batches(store: Store) -> None:
    writer = BackgroundWriter(store.send, Guard("Store", ""), interval=60, batch_size=10)
    for item in range(95):
        writer.put(item)
    assert writer.close()
    assert store.items == list(range(95))
    assert store.calls == 10


def test_the_thread_sends_without_being_asked(store: Store) -> None:
    writer = BackgroundWriter(store.send, Guard("Store", ""), interval=0.02)
    writer.put(1)
    assert store.received.wait(5)
    writer.close()


def test_wake_does_not_wait_for_the_interval(store: Store) -> None:
    writer = BackgroundWriter(store.send, Guard("Store", ""), interval=600)
    writer.put(1)
    writer.wake()
    assert store.received.wait(5)
    writer.close()


def test_a_failing_store_is_reported_once_and_gets_everything_later(store: Store) -> None:
    guard = Guard("Store", "Look into the file.")
    writer = BackgroundWriter(store.send, guard, interval=60, batch_size=2)
    store.broken = True
    for item in range(5):
        writer.put(item)
    with pytest.warns(UserWarning, match=r"Store failed.*Look into the file.*database is locked"):
        assert not writer.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not writer.flush()
    store.broken = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert writer.close()
    assert store.items == [0, 1, 2, 3, 4]


def test_the_queue_is_bounded_and_keeps_the_newest(store: Store) -> None:
    writer = BackgroundWriter(store.send, Guard("Store", ""), interval=60, batch_size=4, capacity=6)
    store.broken = True
    writer.guard.failure = "reported already"
    for item in range(20):
        writer.put(item)
        writer.flush()
    store.broken = False
    writer.close()
    assert store.items == [14, 15, 16, 17, 18, 19]


def test_putting_costs_microseconds(store: Store) -> None:
    writer = BackgroundWriter(store.send, Guard("Store", ""), interval=60)
    writer.put(0)
    start = time.thread_time()
    for item in range(10_000):
        writer.put(item)
    per_item = (time.thread_time() - start) / 10_000
    writer.close()
    assert per_item < 1e-4
