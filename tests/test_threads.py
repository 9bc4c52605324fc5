"""Every test sums with the same number of threads, whatever ran before it in its process."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="module", params=[1, 2])
def threads_of_a_fixture(request: pytest.FixtureRequest) -> int:
    """Return how many threads a fixture that serves a whole module finds."""
    return torch.get_num_threads()


def test_a_fixture_and_its_test_have_the_threads_of_the_variable(threads_of_a_fixture: int) -> None:
    wanted = int(os.environ["OMP_NUM_THREADS"])
    assert (threads_of_a_fixture, torch.get_num_threads()) == (wanted, wanted)
    torch.set_num_threads(wanted + 1)  # as numba does; the other run of this test finds it undone
