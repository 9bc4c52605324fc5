"""Studies: repeatable, resumable, several trials at a time, and what they leave."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import ToyModule
from tuning_bench import HIDDEN, LR, PARAMETERS, TuningBench, outcome

from tabstar_lit.engine.runs.records import read_run
from tabstar_lit.errors import RunError, RunInterrupted
from tabstar_lit.tuning.session import Session
from tabstar_lit.tuning.trials import Training

RANDOM = {"sampler": "RandomSampler", "sampler_params": {}}
POISON = {"model_config.architecture_config.poison_step": {"type": "categorical", "choices": [None, 2]}}
FATAL = {"model_config.architecture_config.poison_step": {"type": "int", "low": 1, "high": 2}}


@pytest.fixture
def bench(tmp_path: Path) -> TuningBench:
    return TuningBench(tmp_path)


@pytest.fixture
def make_tuning(tmp_path: Path) -> Callable[[str], TuningBench]:
    def make(name: str) -> TuningBench:
        (tmp_path / name).mkdir()
        return TuningBench(tmp_path / name)

    return make


@pytest.fixture
def unbroken(make_tuning: Callable[[str], TuningBench], found: dict[str, Any]) -> Any:
    """What the study gives when nothing happens to it; trained once for all tests."""
    if not found:
        found["unbroken"] = outcome(make_tuning("unbroken").tune())
    return found["unbroken"]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {}


def stopped_once(monkeypatch: pytest.MonkeyPatch, trial: str, step: int) -> None:
    """Send this process a signal in a step of a trial, the first time it is reached."""
    disturb, sent = ToyModule._disturb, []

    def disturbing(module: ToyModule) -> None:
        if not sent and module.trainer.default_root_dir.endswith(trial) and module.trainer.global_step == step:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        disturb(module)

    monkeypatch.setattr(ToyModule, "_disturb", disturbing)


def test_a_study_repeats(bench: TuningBench, unbroken: Any) -> None:
    assert outcome(bench.tune()) == unbroken
    assert [state for state, _, _ in unbroken] == ["COMPLETE"] * 4
    assert len({str(values) for _, values, _ in unbroken}) == 4


def test_another_seed_is_another_study(bench: TuningBench, unbroken: Any) -> None:
    (first,) = outcome(bench.tune("experiment_config.seed=8", n_trials=1))
    assert first[1] != unbroken[0][1]


def test_each_trial_is_a_run_of_its_own(bench: TuningBench) -> None:
    summary = bench.tune(n_trials=2)
    for row in summary.rows:
        run = bench.trial(row.number)
        config = yaml.safe_load((run.root / "config.yaml").read_text())
        assert (config["experiment_config"]["seed"], config["tuning_config"]) == (7, None)
        assert config["model_config"]["architecture_config"]["hidden"] == row.values[HIDDEN]
        assert min(epoch["val_loss"] for epoch in run.epochs("train").values()) == row.value
        assert (run.status, run.record["trial"]["value"]) == ("finished", row.value)
        assert run.record["trial"]["parameters"] == row.values
        assert (run.root / "report.md").exists()


def test_a_study_without_a_seed_keeps_the_one_it_drew(bench: TuningBench) -> None:
    bench.tune("experiment_config.seed=null", n_trials=1)
    bench.tune("experiment_config.seed=null", n_trials=3)
    assert len({bench.trial(number).record["seed"] for number in range(3)}) == 1


def test_a_seed_can_be_varied(bench: TuningBench) -> None:
    seeds = {"experiment_config.seed": {"type": "int", "low": 0, "high": 10**6}}
    summary = bench.tune(n_trials=2, parameters=seeds)
    assert [bench.trial(row.number).record["seed"] for row in summary.rows] == [
        row.values["experiment_config.seed"] for row in summary.rows
    ]


def test_more_trials_later_are_those_of_an_unbroken_study(bench: TuningBench, unbroken: Any) -> None:
    bench.tune(n_trials=3)
    bench.said.clear()
    assert outcome(bench.tune()) == unbroken
    assert [line for line in bench.said if line.startswith("trial 2")] == [], "a finished trial was trained again"


def test_an_interrupted_trial_goes_on_where_it_stopped(
    bench: TuningBench, unbroken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_once(monkeypatch, "study_trial_2", step=6)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.tune()
    assert "interrupted" in (bench.study / "report.md").read_text()
    assert outcome(bench.tune()) == unbroken
    assert "trial 2 of 4 goes on" in " ".join(bench.said)
    assert len(bench.trial(2).record["resumed"]) == 1
    assert not bench.trial(4).root.exists()


def test_a_trial_whose_process_was_killed_is_taken_up(
    bench: TuningBench, unbroken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Training.__call__

    def killed(training: Training, job: Any, judge: Any) -> Any:
        if job.number == 1:
            raise SystemExit(9)  # leaves everything as it is, as a kill does
        return trained(training, job, judge)

    monkeypatch.setattr(Training, "__call__", killed)
    with pytest.raises(SystemExit):
        bench.tune()
    monkeypatch.setattr(Training, "__call__", trained)
    assert outcome(bench.tune()) == unbroken
    assert "trial 1 was interrupted" in bench.said


def test_a_trial_that_promises_nothing_is_stopped(bench: TuningBench) -> None:
    summary = bench.tune(
        "model_config.training_config.max_epochs=6",
        n_trials=3,
        pruner="ThresholdPruner",
        pruner_params={"upper": 1.0, "n_warmup_steps": 1},
        parameters={LR: {"type": "categorical", "choices": [1e-7, 0.05]}},
        sampler="BruteForceSampler",
        sampler_params={},
    )
    by_rate = {row.values[LR]: row for row in summary.rows}
    assert (by_rate[1e-7].state, by_rate[1e-7].epochs) == ("PRUNED", 2)
    assert (by_rate[0.05].state, by_rate[0.05].epochs) == ("COMPLETE", 6)
    pruned = bench.trial(by_rate[1e-7].number)
    assert pruned.status == "finished"
    assert pruned.record["trial"]["state"] == "pruned"
    assert pruned.stages["train"]["stopped_early"]
    assert list(pruned.epochs("train")) == [0, 1]
    assert summary.best == by_rate[0.05]


def test_trials_in_processes_equal_those_one_after_the_other(make_tuning: Callable[[str], TuningBench]) -> None:
    together, alone = make_tuning("together"), make_tuning("alone")
    found = outcome(together.tune(n_jobs=2, n_trials=3, **RANDOM))
    assert found == outcome(alone.tune(n_trials=3, **RANDOM))
    assert [together.trial(number).status for number in range(3)] == ["finished"] * 3


def test_a_signal_saves_the_trials_of_all_processes(
    make_tuning: Callable[[str], TuningBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, unbroken = make_tuning("broken"), make_tuning("unbroken")
    judge, sent = Session.judge, []

    def signalling(session: Session, *arguments: Any) -> bool:
        other = broken.trial(1)
        while not sent and not (other.root / "metrics.jsonl").exists():
            time.sleep(0.02)  # until the other process trains, too
        if not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(session, *arguments)

    monkeypatch.setattr(Session, "judge", signalling)
    long = "model_config.training_config.max_epochs=60"
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.tune(long, n_jobs=2, n_trials=2, **RANDOM)
    assert [broken.trial(number).status for number in (0, 1)] == ["interrupted"] * 2
    monkeypatch.setattr(Session, "judge", judge)
    assert outcome(broken.tune(long, n_trials=2, **RANDOM)) == outcome(unbroken.tune(long, n_trials=2, **RANDOM))
    assert "trial 0 of 2 goes on" in " ".join(broken.said)
    assert "trial 1 of 2 goes on" in " ".join(broken.said)


def test_a_failed_trial_does_not_end_the_study(bench: TuningBench) -> None:
    summary = bench.tune(n_trials=4, parameters=POISON, sampler="BruteForceSampler", sampler_params={})
    rows = {row.state: row for row in summary.rows}
    assert "NonFiniteError" in rows["FAIL"].failure
    assert rows["FAIL"].failure.partition("\n")[0] in (bench.study / "report.md").read_text()
    assert summary.best == rows["COMPLETE"]


def test_a_study_that_only_fails_stops(bench: TuningBench) -> None:
    with pytest.raises(RunError, match=r"3 trials failed and none finished. The last reason: NonFiniteError"):
        bench.tune(n_trials=9, parameters=FATAL, **RANDOM)
    assert not bench.trial(3).root.exists()


def test_values_that_do_not_go_together_fail_their_trial(bench: TuningBench) -> None:
    together = {
        "experiment_config.check_metrics_n_epoch": {"type": "categorical", "choices": [1, 2]},
        "experiment_config.plot_metrics_n_epoch": {"type": "categorical", "choices": [None, 1]},
    }
    with pytest.raises(RunError, match="No trial has finished"):  # one of four is drawn, and it is the bad one
        bench.tune(n_trials=1, parameters=dict(reversed(together.items())), sampler="GridSampler",
                   sampler_params={"search_space": {"experiment_config.check_metrics_n_epoch": [2],
                                                    "experiment_config.plot_metrics_n_epoch": [1]}})  # fmt: skip
    assert "must be a multiple of" in (bench.study / "report.md").read_text()


def test_the_value_is_that_of_the_last_stage(bench: TuningBench) -> None:
    stages = (
        "stages=[first, second]",
        "stage_config={second: {model_config: {training_config: {monitor: val_error}}}}",
    )
    (row,) = bench.tune(*stages, n_trials=1).rows
    epochs = bench.trial(0).epochs("second")
    assert row.value == min(epoch["val_error"] for epoch in epochs.values())
    assert row.epochs == len(epochs) == 2


def test_another_monitor_and_direction(bench: TuningBench) -> None:
    summary = bench.tune(n_trials=3, monitor="train_loss", direction="maximize")
    assert summary.best is not None
    assert summary.best.value == max(row.value or 0.0 for row in summary.rows)
    best_epoch = max(epoch["train_loss"] for epoch in bench.trial(summary.best.number).epochs("train").values())
    assert summary.best.value == best_epoch


def test_a_metric_nobody_computes_is_said_at_the_first_validation(bench: TuningBench) -> None:
    with pytest.raises(RunError, match=r"trial 0: tuning_config.monitor: there is no 'val_eror' .* val_error"):
        bench.tune(monitor="val_eror")


def test_time_is_up(bench: TuningBench) -> None:
    bench.tune(n_trials=1)
    bench.tune(n_trials=5, timeout=1e-9)
    assert bench.said[-1] == "1e-09 seconds are over: no further trial is begun"
    assert not bench.trial(1).root.exists()


def test_the_best_values_train_again(bench: TuningBench) -> None:
    summary = bench.tune(n_trials=3)
    assert summary.best is not None
    command, *words = shlex.split(summary.best_command)
    assert (command, words[-1]) == ("train_toy", "experiment_config.run_name=study_best")
    experiment = bench.plan(*words).base.experiment
    assert experiment.model.architecture_config.hidden == summary.best.values[HIDDEN]
    assert experiment.model.training_config.optimizer.optimizer_params["lr"] == summary.best.values[LR]
    text = (bench.study / "best.yaml").read_text()
    best = yaml.safe_load(text)["model_config"]
    assert best["training_config"]["optimizer"]["optimizer_params"]["lr"] == summary.best.values[LR]
    assert text.startswith(f"# {summary.best_command}\n")
    assert (bench.study / "history.png").stat().st_size > 1000
    assert summary.best_command in (bench.study / "report.md").read_text()


def test_a_changed_configuration_is_another_study(bench: TuningBench) -> None:
    bench.tune(n_trials=1)
    with pytest.raises(RunError, match=r"dataset_config.rows: 16 before, 24 now.*study_name"):
        bench.tune("dataset_config.rows=24", n_trials=2)
    bench.tune("min_logging_level=warning", "experiment_config.tqdm_refresh_rate=5", n_trials=2)


def test_runs_of_another_study_are_not_trained_over(bench: TuningBench) -> None:
    bench.tune(n_trials=1)
    (bench.study / "study.db").unlink()
    before = read_run(bench.trial(0).root)
    with pytest.raises(RunError, match="study_trial_0 exists already, but the study knows nothing of it"):
        bench.tune(n_trials=1)
    assert read_run(bench.trial(0).root) == before


@pytest.mark.parametrize("storage", [None, "journal"])
def test_the_same_command_again_works_on_the_same_study(
    bench: TuningBench, make_tuning: Callable[[str], TuningBench], monkeypatch: pytest.MonkeyPatch, storage: str | None
) -> None:
    trained, seen = Training.__call__, []

    def joined_by_a_second(training: Training, job: Any, judge: Any) -> Any:
        seen.append(job.number)
        if job.number == 0:
            bench.tune(n_trials=2, storage=storage, **RANDOM)
        return trained(training, job, judge)

    monkeypatch.setattr(Training, "__call__", joined_by_a_second)
    found = outcome(bench.tune(n_trials=2, storage=storage, **RANDOM))
    assert seen == [0, 1], "the second one takes the next trial, and leaves alone what is being trained"
    monkeypatch.setattr(Training, "__call__", trained)
    assert found == outcome(make_tuning("alone").tune(n_trials=2, **RANDOM))
    assert (bench.study / "study.journal").exists() is (storage == "journal")


def test_what_refers_to_a_varied_key_varies_with_it(bench: TuningBench) -> None:
    refer = (f"{HIDDEN}=8", f"dataset_config.batch_size=${{{HIDDEN}}}")
    plan = bench.plan(*refer, parameters={HIDDEN: PARAMETERS[HIDDEN]})
    assert plan.base.experiment.dataset_config.batch_size == 8
    assert plan.load(0, {HIDDEN: 5}, seed=1).experiment.dataset_config.batch_size == 5
