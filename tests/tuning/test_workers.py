"""Processes that train trials: what comes back from one that ends well, fails, dies, or has a defect."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tabstar_lit.tuning.workers import Job, Judge, Result, Workers, one_at_a_time


class Scripted:
    """Does in a process what the number of the job says, instead of training."""

    def __call__(self, job: Job, judge: Judge) -> Result:
        if job.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.number == 2:
            os._exit(3)
        told = [judge(epoch, float(epoch)) for epoch in range(3)]
        return Result(value=float(os.getpid()), pruned=told == [False, False, True])


def jobs(*numbers: int) -> Any:
    waiting = [Job(number, None, (), resume=False) for number in numbers]  # type: ignore[arg-type]  # nothing is trained
    return lambda: waiting.pop(0) if waiting else None


def prunes_the_third(job: Job, epoch: int, value: float) -> bool:
    assert value == epoch
    return epoch == 2


def test_one_process_after_another_dies() -> None:
    ended: list[tuple[int, Result]] = []

    def done(job: Job, result: Result) -> bool:
        ended.append((job.number, result))
        return not result.fatal

    Workers(Scripted(), n_jobs=1).run(jobs(0, 1, 2, 3), prunes_the_third, done)
    (_, good), (_, killed), (_, defect) = ended
    assert [number for number, _ in ended] == [0, 1, 2], "a defect ends the study"
    assert good.pruned
    assert good.value != os.getpid()
    assert (killed.fatal, killed.value) == (False, None)
    assert "killed (SIGKILL)" in killed.failure
    assert (defect.fatal, defect.failure) == (True, "its process ended with exit code 3; its messages stand above")


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    Workers(Scripted(), n_jobs=2).run(jobs(), prunes_the_third, lambda job, result: True)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("goes_on", "expected"), [(True, [0, 3, 4]), (False, [0])])
def test_without_processes(goes_on: bool, expected: list[int]) -> None:
    ended = []

    def done(job: Job, result: Result) -> bool:
        ended.append(job.number)
        assert result.value == os.getpid()
        return goes_on

    one_at_a_time(Scripted(), jobs(0, 3, 4), prunes_the_third, done)
    assert ended == expected
