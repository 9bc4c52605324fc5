"""What is logged on a card comes later, and is the same: lines keep their steps, and bad steps are told of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from toy_bench import Bench

from tabstar_lit.config.schema import NonFinite
from tabstar_lit.engine import finite
from tabstar_lit.engine.callbacks import training_log
from tabstar_lit.engine.devices.reading import Reading
from tabstar_lit.engine.finite import Checked, FiniteGuard
from tabstar_lit.engine.runs.records import read_records
from tabstar_lit.errors import NonFiniteError, RunInterrupted

EVERY = "experiment_config.log_every_n_steps=3"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what has numbers come later from then on, as on a card."""

    def change() -> None:
        for module in (finite, training_log):
            monkeypatch.setattr(module, "comes_later", lambda device: True)

    return change


def lines(bench: Bench) -> list[dict[str, object]]:
    """Return the lines of the training loss and of the epochs, without times."""
    records = read_records(bench.load_run().root / "metrics.jsonl")
    kept = ("epoch", "step", "train_loss_step", "train_loss", "lr", "val_loss")
    return [{name: record[name] for name in kept if name in record} for record in records if record["step"]]


def test_lines_are_those_of_a_training_that_waits(
    make_bench: Callable[[str], Bench], later: Callable[[], None]
) -> None:
    at_once = make_bench("at_once")
    at_once.train(EVERY)
    later()
    behind = make_bench("behind")
    behind.train(EVERY)
    assert sum("train_loss_step" in line for line in lines(behind)) > 4
    assert lines(behind) == lines(at_once)


def test_a_run_that_ends_inside_an_epoch_writes_its_last_line(
    make_bench: Callable[[str], Bench], later: Callable[[], None]
) -> None:
    later()
    bench = make_bench("short")
    bench.train("experiment_config.log_every_n_steps=1", "model_config.training_config.max_steps=2")
    assert [line["step"] for line in lines(bench) if "train_loss_step" in line] == [1, 2]


def test_a_resumed_run_has_the_lines_of_an_unbroken_one(
    make_bench: Callable[[str], Bench], later: Callable[[], None]
) -> None:
    later()
    whole, broken = make_bench("whole"), make_bench("broken")
    whole.train(EVERY)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(EVERY, "model_config.architecture_config.signal_step=4")
    broken.train(EVERY, resume=True)
    assert lines(broken) == lines(whole)


def checked(step: int, loss: float) -> Checked:
    return Checked(step, 0, ("left",), (torch.tensor(loss),), torch.tensor(1.0))


def test_a_bad_step_is_told_of_by_the_second_look(later: Callable[[], None]) -> None:
    later()
    guard = FiniteGuard(NonFinite(policy="stop"))
    found = [float(guard.check(checked(step, float("nan") if step == 2 else 1.0))) for step in (1, 2, 3)]
    assert found == [0, 1, 1], "the device knows at once"
    guard.look()
    guard.check(checked(4, 1.0))
    with pytest.raises(NonFiniteError, match="optimizer step 2, epoch 0, source 'left'"):
        guard.look()


def test_reading_all_waits_for_what_is_on_its_way(later: Callable[[], None]) -> None:
    later()
    guard = FiniteGuard(NonFinite(policy="skip", budget=5))
    guard.check(checked(1, float("inf")))
    guard.look()
    assert guard.skipped == 0
    guard.check(checked(2, 1.0))
    with pytest.warns(UserWarning, match="optimizer step 1"):
        assert not guard.read(), "the last step was not skipped"
    assert guard.skipped == 1


def test_numbers_keep_their_order() -> None:
    assert Reading([torch.tensor(2.5), torch.tensor(-1.0)]).values() == [2.5, -1.0]
