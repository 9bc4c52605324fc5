"""A run stopped anywhere and resumed ends bit for bit where the unbroken one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checks import assert_equal
from toy_bench import Bench, load_checkpoint, metrics

from tabstar_lit.engine.run import evaluate
from tabstar_lit.engine.runs.resume import run_to_resume
from tabstar_lit.errors import CheckpointError, RunError, RunInterrupted

STEPS_PER_EPOCH = 24
MakeBench = Callable[[str], Bench]


def assert_same_end(broken: Bench, unbroken: Bench) -> None:
    ends = [load_checkpoint(bench.folder / "models/toys/toy/toy_last.ckpt") for bench in (broken, unbroken)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "tabstar_lit"):
        assert_equal(ends[0][key], ends[1][key], key)
    lines = [metrics(bench.load_run()) for bench in (broken, unbroken)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", ["first step", "inside an epoch", "last step of an epoch", "last epoch"])
def test_resume_after_a_signal_is_exact(make_bench: MakeBench, moment: str, workers: int, accumulate: int) -> None:
    per_epoch = STEPS_PER_EPOCH // accumulate
    step = {
        "first step": 0,
        "inside an epoch": per_epoch + 2,
        "last step of an epoch": 2 * per_epoch - 1,
        "last epoch": 2 * per_epoch + 3,
    }[moment]
    settings = (
        f"dataset_config.num_workers={workers}",
        f"model_config.training_config.accumulate_grad_batches={accumulate}",
        "model_config.training_config.scheduler={scheduler_name: CosineWarmup, interval: step, "
        "scheduler_params: {warmup_fraction: 0.2, max_lr: 0.01}}",
    )
    unbroken, broken = make_bench("unbroken"), make_bench("broken")
    unbroken.train(*settings)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(*settings, f"model_config.architecture_config.signal_step={step}")
    seen = list(broken.module.seen)
    broken.train(*settings, resume=True)
    assert_same_end(broken, unbroken)
    assert [*seen, *broken.module.seen] == unbroken.module.seen


@pytest.mark.parametrize(
    "scheduler",
    [
        "{scheduler_name: ReduceLROnPlateau, interval: epoch, "
        "scheduler_params: {patience: 0, factor: 0.5, threshold: 10}}",
        "{scheduler_name: StepLR, interval: epoch, scheduler_params: {step_size: 1, gamma: 0.5}}",
        "{scheduler_name: OneCycleLR, interval: step, scheduler_params: {max_lr: 0.02, pct_start: 0.1}}",
    ],
)
@pytest.mark.parametrize("step", [STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH + 5])
def test_resume_keeps_every_kind_of_schedule(make_bench: MakeBench, scheduler: str, step: int) -> None:
    settings = (
        f"model_config.training_config.scheduler={scheduler}",
        "model_config.training_config.reduce_lr_on_epoch=0.9",
        "model_config.training_config.early_stop_patience=5",
    )
    unbroken, broken = make_bench("unbroken"), make_bench("broken")
    unbroken.train(*settings)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(*settings, f"model_config.architecture_config.signal_step={step}")
    broken.train(*settings, resume=True)
    assert_same_end(broken, unbroken)


def test_resume_twice_within_an_epoch(make_bench: MakeBench) -> None:
    unbroken, broken = make_bench("unbroken"), make_bench("broken")
    unbroken.train()
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train("model_config.architecture_config.signal_step=3")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train("model_config.architecture_config.signal_step=9", resume=True)
    broken.train(resume=True)
    assert_same_end(broken, unbroken)


def test_resume_after_a_crash_goes_back_to_the_last_snapshot(make_bench: MakeBench) -> None:
    settings = ("model_config.training_config.save_every_n_steps=10",)
    unbroken, broken = make_bench("unbroken"), make_bench("broken")
    unbroken.train(*settings)
    with pytest.raises(MemoryError):
        broken.train(*settings, "model_config.architecture_config.crash_step=38")
    assert broken.load_run().record()["status"] == "failed"
    broken.train(*settings, resume=True)
    assert_same_end(broken, unbroken)
    assert broken.load_run().record()["status"] == "finished"


def test_more_epochs_later_equal_more_epochs_at_once(make_bench: MakeBench) -> None:
    at_once, later = make_bench("at_once"), make_bench("later")
    at_once.train("model_config.training_config.max_epochs=4")
    later.train("model_config.training_config.max_epochs=2")
    later.train("model_config.training_config.max_epochs=4", resume=True)
    assert_same_end(later, at_once)


def test_stopped_by_max_steps_inside_an_epoch_and_continued(make_bench: MakeBench) -> None:
    at_once, later = make_bench("at_once"), make_bench("later")
    at_once.train()
    later.train("model_config.training_config.max_steps=31")
    later.train(resume=True)
    assert_same_end(later, at_once)


def test_a_finished_run_is_left_alone(bench: Bench) -> None:
    bench.train()
    before = (bench.load_run().root / "metrics.jsonl").read_text()
    bench.train(resume=True)
    assert (bench.load_run().root / "metrics.jsonl").read_text() == before


def test_a_second_run_of_the_same_name_is_refused(bench: Bench) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    with pytest.raises(RunError, match="exists already"):
        bench.train()


def test_resume_from_an_older_snapshot(make_bench: MakeBench) -> None:
    settings = ("model_config.training_config.save_every_n_epochs=1",)
    unbroken, rewound = make_bench("unbroken"), make_bench("rewound")
    unbroken.train(*settings)
    rewound.train(*settings, "model_config.training_config.max_epochs=2")
    snapshot = rewound.folder / "models/toys/toy/toy_epoch=0.ckpt"
    rewound.train(*settings, resume=True, checkpoint=snapshot)
    assert_same_end(rewound, unbroken)


def test_the_interrupted_checkpoint_goes_when_the_run_is_done(bench: Bench) -> None:
    interrupted = bench.folder / "models/toys/toy/toy_interrupted.ckpt"
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train("model_config.architecture_config.signal_step=3")
    assert interrupted.exists()
    bench.train(resume=True)
    assert not interrupted.exists()


def test_a_damaged_record_is_reported(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    (run.root / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json:1:2: not valid JSON"):
        run_to_resume(bench.load().experiment, "train_toy", None)


def test_a_run_that_is_missing_is_named_with_the_nearest(bench: Bench, tmp_path: Path) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    experiment = bench.load().experiment
    assert run_to_resume(experiment, "train_toy", None)[0].name == "toy"
    with pytest.raises(RunError, match="Did you mean 'toy'"):
        run_to_resume(experiment, "train_toy", "toyy")
    with pytest.raises(RunError, match="toy is one of train_toy, so train_other cannot go on with it"):
        run_to_resume(experiment, "train_other", "toy")
    stray = tmp_path / "stray.ckpt"
    stray.touch()
    with pytest.raises(CheckpointError, match="belongs to no run"):
        run_to_resume(experiment, "train_toy", str(stray))


def test_an_evaluation_is_nothing_to_go_on_with(bench: Bench) -> None:
    bench.train("model_config.training_config.max_epochs=1")
    checkpoint = bench.folder / "models/toys/toy/toy_last.ckpt"
    test = evaluate(bench.family, bench.load("experiment_config.run_name=toy_test"), checkpoint)
    assert run_to_resume(bench.load("experiment_config.run_name=null").experiment, "train_toy", None)[0].name == "toy"
    for named in ("toy_test", str(test.root)):
        with pytest.raises(RunError, match=r"toy_test evaluated a checkpoint and trained nothing"):
            run_to_resume(bench.load().experiment, "train_toy", named)


def test_an_evaluation_that_broke_off_is_known_as_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    bench.train("model_config.training_config.max_epochs=1")
    monkeypatch.setattr("tabstar_lit.engine.run.evaluate_stage", broken)
    checkpoint = bench.folder / "models/toys/toy/toy_last.ckpt"
    with pytest.raises(MemoryError):
        evaluate(bench.family, bench.load("experiment_config.run_name=toy_test"), checkpoint)
    with pytest.raises(RunError, match="trained nothing"):
        run_to_resume(bench.load().experiment, "train_toy", "toy_test")


def test_weights_alone_are_refused_while_the_run_is_untouched(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=1")
    content = load_checkpoint(bench.folder / "models/toys/toy/toy_last.ckpt")
    weights = bench.folder / "models/toys/toy/toy_calibrated.ckpt"
    torch.save({"state_dict": content["state_dict"], "tabstar_lit": content["tabstar_lit"]}, weights)
    before = (run.root / "run.json").read_text()
    with pytest.raises(CheckpointError, match=r"toy_calibrated.ckpt holds weights only, .*, so training cannot go on"):
        run_to_resume(bench.load().experiment, "train_toy", str(weights))
    assert (run.root / "run.json").read_text() == before
