"""Who holds the signals: they are raised where they arrive or noted, heeded once, and given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tabstar_lit.engine.runs.signals import SIGNALS, heed, leave_to_main_process, signals
from tabstar_lit.errors import RunInterrupted


def kill_me(signum: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), signum)


def held(work: Callable[[], None]) -> None:
    with signals.held():
        work()


def handlers() -> list[object]:
    return [signal.getsignal(signum) for signum in SIGNALS]


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_raised_where_it_arrives_and_no_handler_of_errors_stops_it(signum: signal.Signals) -> None:
    def work() -> None:
        with suppress(Exception):
            kill_me(signum)
        pytest.fail("went on")

    before = handlers()
    with pytest.raises(RunInterrupted, match=signum.name) as raised:
        held(work)
    assert raised.value.exit_code == 128 + signum
    assert handlers() == before


def test_a_deferred_signal_waits_for_the_end_of_the_outermost_region() -> None:
    passed = []

    def work() -> None:
        with signals.deferred():
            with signals.deferred():
                kill_me(signal.SIGUSR1)
                passed.append("inner")
            passed.append("outer")
        passed.append("too far")

    with pytest.raises(RunInterrupted, match="SIGUSR1"):
        held(work)
    assert passed == ["inner", "outer"]


def test_an_error_goes_before_a_signal_and_cleaning_up_is_not_disturbed() -> None:
    cleaned = []

    def work() -> None:
        try:
            with signals.deferred():
                kill_me()
                raise KeyError("first")
        finally:
            with signals.deferred():
                cleaned.append(True)

    with pytest.raises(KeyError, match="first"):
        held(work)
    assert cleaned == [True]


def test_a_signal_that_was_lost_on_the_way_is_heeded_later() -> None:
    def work() -> None:
        with suppress(RunInterrupted):  # as Python does in a destructor
            kill_me()
        with signals.deferred():
            pass
        heed()
        pytest.fail("forgotten")

    with pytest.raises(RunInterrupted, match="SIGTERM"):
        held(work)


def test_nothing_is_left_of_a_signal_for_the_next_run() -> None:
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        held(kill_me)
    held(heed)
    heed()
    with signals.deferred():
        pass
    assert signals.noted is None


def test_within_another_run_nothing_is_given_back() -> None:
    inside = []

    def work() -> None:
        before = handlers()
        held(lambda: None)
        inside.append(handlers() == before)

    held(work)
    assert inside == [True]


def test_the_user_is_told_when_a_signal_will_be_heeded(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with signals.deferred("after this step."):
            kill_me()

    with pytest.raises(RunInterrupted, match="SIGTERM"):
        held(work)
    assert capfd.readouterr().err == "SIGTERM: after this step. A second signal exits at once.\n"


def test_a_second_signal_exits_at_once() -> None:
    def work() -> None:
        with signals.deferred():
            kill_me(signal.SIGTERM)
            kill_me(signal.SIGINT)
            os._exit(7)

    assert exit_code_of_child(lambda: held(work)) == 130


def test_a_child_takes_no_notice() -> None:
    codes = []

    def child() -> None:
        kill_me()
        os._exit(7)

    held(lambda: codes.append(exit_code_of_child(child)))
    assert codes == [7]


def test_a_worker_ignores_signals() -> None:
    def worker() -> None:
        leave_to_main_process(0)
        for signum in SIGNALS:
            kill_me(signum)
        os._exit(7)

    assert exit_code_of_child(worker) == 7


def exit_code_of_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_signals_wait_for_a_process_that_is_launched_until_it_holds_them() -> None:
    script = (
        "import signal\n"
        "from tabstar_lit.engine.runs.signals import SIGNALS, signals\n"
        "def waiting(): return set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "before = waiting()\n"
        "with signals.held(): print(len(before), len(waiting()))\n"
    )
    with signals.blocked():
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "0"]
    assert not set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_run_in_another_thread_holds_nothing() -> None:
    found, before = [], handlers()
    thread = threading.Thread(target=held, args=[lambda: found.append(handlers())])
    thread.start()
    thread.join()
    assert found == [before]
