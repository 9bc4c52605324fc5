"""What the exact resume rests on where no whole run would show it: noise per step, whole windows, counted skips."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from checks import assert_equal
from toy_bench import Bench, load_checkpoint, metrics

from tabstar_lit.engine.callbacks.seeding import StepNoise
from tabstar_lit.errors import RunInterrupted

TRAINING = "model_config.training_config"
TOY = "model_config.architecture_config"


def draw(seed: int = 1, epoch: int = 0, batch: int | None = 0, rank: int = 0) -> float:
    """Return a random number as the given batch would draw it; no batch means validation."""
    noise, trainer = StepNoise(seed), SimpleNamespace(current_epoch=epoch, global_rank=rank)
    if batch is None:
        noise.on_validation_epoch_start(trainer, Mock())  # type: ignore[arg-type]  # all that is asked of a trainer
    else:
        noise.on_train_batch_start(trainer, Mock(), None, batch)  # type: ignore[arg-type]  # as above
    return float(torch.rand(()))


def test_noise_depends_on_seed_epoch_batch_and_rank_alone() -> None:
    draws = [
        draw(), draw(seed=2), draw(epoch=1), draw(batch=1), draw(rank=1), draw(batch=None), draw(epoch=1, batch=None),
    ]  # fmt: skip
    assert len(set(draws)) == len(draws)
    assert draw() == draws[0]
    assert draw(batch=None) == draws[5]


def test_resuming_at_a_snapshot_writes_none_inside_an_accumulation_window(bench: Bench) -> None:
    settings = (f"{TRAINING}.accumulate_grad_batches=3", f"{TRAINING}.save_every_n_steps=4", f"{TRAINING}.max_epochs=1")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*settings, f"{TOY}.signal_step=3")
    bench.train(*settings, resume=True)
    lines = [json.loads(line) for line in (bench.load_run().root / "checkpoints.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "snapshot"] == [4, 8]
    snapshot = load_checkpoint(bench.folder / "models/toys/toy/toy_step=4.ckpt")
    assert snapshot["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"] == 12


def test_skipped_steps_are_counted_over_a_resume(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("skips")
    settings = (f"{TRAINING}.non_finite={{policy: skip, budget: 2}}", f"{TOY}.poison_step=7")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(*settings, f"{TOY}.signal_step=10")
    assert bench.module.skipped_steps == 1
    bench.train(*settings, f"{TOY}.poison_step=30", resume=True)
    assert bench.module.skipped_steps == 2


def test_a_run_that_ends_inside_an_epoch_leaves_its_rates_alone(make_bench: Callable[[str], Bench]) -> None:
    settings = (
        f"{TRAINING}.scheduler={{scheduler_name: ReduceLROnPlateau, interval: epoch, "
        "scheduler_params: {patience: 0, factor: 0.5, threshold: 10}}",
        f"{TRAINING}.reduce_lr_on_epoch=0.9",
        f"{TRAINING}.max_epochs=3",
    )
    whole, short = make_bench("whole"), make_bench("short")
    whole.train(*settings)
    short.train(*settings, f"{TRAINING}.max_steps=31")
    short.train(*settings, resume=True)
    ends = [load_checkpoint(bench.folder / "models/toys/toy/toy_last.ckpt") for bench in (whole, short)]
    rates = [[group["lr"] for group in end["optimizer_states"][0]["param_groups"]] for end in ends]
    assert rates[0] == rates[1]
    assert ends[0]["tabstar_lit"]["plateau"] == ends[1]["tabstar_lit"]["plateau"]


def test_a_checkpoint_inside_an_epoch_holds_the_sums_of_all_terms_and_nothing_of_the_streams(bench: Bench) -> None:
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train(f"{TOY}.signal_step=30")
    content = load_checkpoint(bench.folder / "models/toys/toy/toy_interrupted.ckpt")
    terms = content["callbacks"]["TrainingLog"]["terms"]
    assert {source: set(named) for source, named in terms.items()} == {source: {"bias", "spread"} for source in terms}
    sums = content["callbacks"]["TrainingLog"]["sources"]
    for source, (loss, rows) in sums.items():
        parts = [terms[source][name] for name in ("bias", "spread")]
        assert sum(total for total, _ in parts) == pytest.approx(loss, rel=1e-5)
        assert {size for _, size in parts} == {rows}
    assert set(content["callbacks"]["ToyTracker"]) == {"history"}, "a validation is run whole: streams begin with it"


@pytest.mark.parametrize("stopped", [False, True])
def test_samples_change_nothing_of_the_training(
    make_bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    settings = ("experiment_config.plot_metrics_n_epoch=1", "dataset_config.num_workers=1")
    plain, sampled = make_bench("plain"), make_bench("sampled")
    plain.train(*settings)
    monkeypatch.setattr("toy.ToyTracker.sampled", True)
    if stopped:
        with pytest.raises(RunInterrupted, match="SIGTERM"):
            sampled.train(*settings, f"{TOY}.signal_step=30")
    sampled.train(*settings, resume=stopped)
    ends = [load_checkpoint(one.folder / "models/toys/toy/toy_last.ckpt") for one in (plain, sampled)]
    for key in ("state_dict", "optimizer_states", "tabstar_lit"):
        assert_equal(ends[0][key], ends[1][key], key)
    assert metrics(plain.load_run()) == metrics(sampled.load_run())
    drawn = sorted((sampled.folder / "figures").rglob("drawn/*.txt"))
    assert [path.name for path in drawn] == [f"epoch_000{epoch}.txt" for epoch in range(3)]
    assert len({path.read_text() for path in drawn}) == 3, "the same noise, another network"
    assert sampled.module.training
