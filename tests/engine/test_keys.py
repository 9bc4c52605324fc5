"""Every key of the configuration that the engine obeys does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD
from toy_bench import Bench, load_checkpoint, metrics

from tabstar_lit.engine.preflight import check_names
from tabstar_lit.engine.run import evaluate
from tabstar_lit.errors import ConfigError, NonFiniteError

TRAINING = "model_config.training_config"
EXPERIMENT = "experiment_config"


def values(bench: Bench, name: str) -> list[float]:
    return [line[name] for line in metrics(bench.load_run(), timings=True) if name in line]


def checkpoints(bench: Bench) -> set[str]:
    return {path.name for path in (bench.folder / "models/toys/toy").glob("*.ckpt")}


# -- where things go ---------------------------------------------------------------------------------------------------


def test_names_and_places(bench: Bench) -> None:
    run = bench.train(f"{EXPERIMENT}.plot_metrics_n_epoch=1", f"{TRAINING}.max_epochs=1")
    assert run.root == bench.folder / "logs/toys/toy"
    assert {path.name for path in run.root.iterdir()} >= {
        "config.yaml", "provenance.yaml", "run.json", "metrics.jsonl", "checkpoints.jsonl", "log.txt", "report.md",
    }  # fmt: skip
    assert {str(p.relative_to(run.figures)) for p in run.figures.rglob("*.png")} == {
        "scatter_left/epoch_0000.png", "scatter_right/epoch_0000.png", "history.png",
    }  # fmt: skip
    assert run.checkpoints == bench.folder / "models/toys/toy"


def test_run_name_is_made_from_model_and_time(bench: Bench) -> None:
    first = bench.train(f"{EXPERIMENT}.run_name=null", f"{TRAINING}.max_epochs=1")
    assert first.run_name.startswith("toy_20")
    assert first.record()["run_name"] == first.run_name


@pytest.mark.parametrize("seeds", [("3", "3"), ("3", "4"), ("null", "null")])
def test_seed_decides_weights(bench: Bench, seeds: tuple[str, str]) -> None:
    recorded, weights = [], []
    for name, seed in zip("ab", seeds, strict=True):
        run = bench.train(f"{EXPERIMENT}.run_name={name}", f"{EXPERIMENT}.seed={seed}", f"{TRAINING}.max_epochs=1")
        recorded.append(run.record()["seed"])
        weights.append(bench.module.network.head.weight)
    assert torch.equal(*weights) == (seeds == ("3", "3"))
    assert (recorded[0] == recorded[1]) == (seeds == ("3", "3"))


# -- the trainer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("32-true", torch.float32)])
def test_precision(bench: Bench, precision: str, dtype: torch.dtype) -> None:
    bench.train(f"{EXPERIMENT}.precision={precision}", f"{TRAINING}.max_epochs=1")
    state = load_checkpoint(bench.folder / "models/toys/toy/toy_last.ckpt")["state_dict"]
    assert state["network.head.weight"].dtype == dtype


@pytest.mark.parametrize(
    ("key", "value", "attribute", "seen"),
    [
        (f"{EXPERIMENT}.precision", "bf16-mixed", "precision", "bf16-mixed"),
        (f"{EXPERIMENT}.num_sanity_val_steps", "2", "num_sanity_val_steps", 2),
        (f"{EXPERIMENT}.check_eval_n_epoch", "2", "check_val_every_n_epoch", 2),
        (f"{EXPERIMENT}.log_every_n_steps", "3", "log_every_n_steps", 3),
        (f"{TRAINING}.max_steps", "4", "global_step", 4),
        (f"{TRAINING}.accumulate_grad_batches", "4", "global_step", 6),
        (f"{TRAINING}.gradient_clip_algorithm", "value", "gradient_clip_algorithm", "value"),
        (f"{EXPERIMENT}.num_nodes", "1", "num_nodes", 1),
    ],
)
def test_passed_on_to_the_trainer(bench: Bench, key: str, value: str, attribute: str, seen: object) -> None:
    bench.train(f"{TRAINING}.max_epochs=1", f"{key}={value}", f"{TRAINING}.save_top_k=0")
    assert getattr(bench.module.trainer, attribute) == seen


def test_strategy_and_devices(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_epochs=1", f"{EXPERIMENT}.strategy=single_device", f"{EXPERIMENT}.devices=auto")
    assert type(bench.module.trainer.strategy).__name__ == "SingleDeviceStrategy"


def test_deterministic_and_matmul_precision(bench: Bench) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        bench.train(
            f"{TRAINING}.max_epochs=1",
            f"{EXPERIMENT}.deterministic=true",
            f"{EXPERIMENT}.float32_matmul_precision=medium",
        )
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision(before)


def test_max_time_stops(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_time='00:00:00:01'", f"{TRAINING}.max_epochs=100000", f"{TRAINING}.save_last=false")
    assert 0 < bench.module.trainer.current_epoch < 1000


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped(bench: Bench, algorithm: str) -> None:
    """With plain SGD at rate 1 a step is the clipped gradient itself."""
    bench.train(
        f"{TRAINING}.optimizer={{optimizer_name: SGD, optimizer_params: {{lr: 1.0}}}}",
        f"{TRAINING}.gradient_clip_val=1e-3",
        f"{TRAINING}.gradient_clip_algorithm={algorithm}",
        f"{TRAINING}.max_steps=1",
        f"{TRAINING}.save_top_k=0",
        f"{TRAINING}.save_every_n_steps=1",
    )
    trained = torch.cat([p.detach().flatten() for p in bench.module.network.parameters()])
    bench.train(
        f"{EXPERIMENT}.run_name=still", f"{TRAINING}.max_steps=1", f"{TRAINING}.save_top_k=0",
        f"{TRAINING}.optimizer={{optimizer_name: SGD, optimizer_params: {{lr: 1e-30}}}}",
    )  # fmt: skip
    start = torch.cat([p.detach().flatten() for p in bench.module.network.parameters()])
    moved = (trained - start).norm() if algorithm == "norm" else (trained - start).abs().max()
    assert float(moved) == pytest.approx(1e-3, rel=2e-3)


@pytest.mark.parametrize(
    ("key", "value"), [("accelerator", "gpu"), ("strategy", "none_such"), ("devices", "[0,1]"), ("devices", "0")]
)
def test_hardware_that_is_not_there(bench: Bench, key: str, value: str) -> None:
    """The tests run where there is no GPU, and a CPU has no numbered devices."""
    with pytest.raises(ConfigError, match="experiment_config"):
        bench.train(f"{EXPERIMENT}.{key}={value}")


def test_a_run_that_never_began_leaves_nothing(bench: Bench) -> None:
    before = sorted(bench.folder.rglob("*"))
    with pytest.raises(ConfigError, match="bodi"):
        bench.train("model_config.freeze=['bodi.*']")
    assert sorted(path for path in bench.folder.rglob("*") if path.is_file()) == before


def test_roots_come_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGS", "RESULTS", "MODELS"):
        monkeypatch.setenv(f"ANALYSIS_ML_{name}_DIR", str(bench.folder / name))
    places = (f"{EXPERIMENT}.save_dir=null", f"{EXPERIMENT}.tracker_path=null", f"{TRAINING}.model_save_path=null")
    run = bench.train(*places, f"{TRAINING}.max_epochs=1")
    assert run.root == bench.folder / "LOGS/toys/toy"
    assert run.figures == bench.folder / "RESULTS/toys/toy"
    assert run.checkpoints == bench.folder / "MODELS/checkpoints/toys/toy"


def test_monitor_of_the_scheduler(bench: Bench) -> None:
    """Epochs that improve the training loss but not the watched one cut the rate."""
    settings = "{scheduler_name: ReduceLROnPlateau, interval: epoch, monitor: MONITOR, scheduler_params: {patience: 0}}"
    with pytest.raises(ConfigError, match=r"(?s)no metric is called 'nosuch'"):
        bench.train(f"{TRAINING}.scheduler={settings.replace('MONITOR', 'nosuch')}")
    bench.train(
        f"{EXPERIMENT}.run_name=watched", f"{TRAINING}.scheduler={settings.replace('MONITOR', 'val_error')}",
        f"{TRAINING}.max_epochs=2",
    )  # fmt: skip
    plateau = bench.module._plateau
    assert plateau is not None
    assert plateau.best == pytest.approx(float(bench.module.trainer.callback_metrics["val_error"]), abs=1e-6)


def test_epochs_without_metrics_are_left_out_of_what_watches_them(bench: Bench) -> None:
    plateau = "{scheduler_name: ReduceLROnPlateau, interval: epoch, scheduler_params: {patience: 9}}"
    run = bench.train(
        f"{TRAINING}.max_epochs=6", f"{EXPERIMENT}.check_metrics_n_epoch=2", f"{TRAINING}.monitor=val_error",
        f"{TRAINING}.save_top_k=-1", f"{TRAINING}.early_stop_patience=1", f"{TRAINING}.scheduler={plateau}",
        "model_config.training_config.optimizer.optimizer_params.lr=1e-3",
    )  # fmt: skip
    ranked = [json.loads(line) for line in (run.root / "checkpoints.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in ranked if entry["kind"] == "top"] == [1, 3, 5]
    assert [entry["score"] is None for entry in ranked if entry["kind"] == "last"] == [True, False] * 3
    assert run.stage("train")["stopped_early"] is False
    assert bench.module._plateau is not None
    assert bench.module._plateau.last_epoch == 3


def test_a_metric_that_no_epoch_would_compute_is_refused(bench: Bench) -> None:
    settings = (
        f"{TRAINING}.max_epochs=5",
        f"{EXPERIMENT}.check_metrics_n_epoch=3",
        f"{EXPERIMENT}.check_eval_n_epoch=2",
    )
    check_names(bench.family, bench.load(*settings))
    with pytest.raises(ConfigError, match=r"val_error would be computed every 6 epochs of 5"):
        check_names(bench.family, bench.load(*settings, f"{TRAINING}.monitor=val_error"))


@pytest.mark.parametrize(
    ("monitor", "mode", "warned"),
    [
        ("val_error", "min", "monitor_mode is min, and val_error is better when larger: .* Set monitor_mode: max"),
        ("val_error", "max", None),
        ("val_loss", "max", "monitor_mode is max, and val_loss is better when smaller: .* Set monitor_mode: min"),
        ("val_loss/left", "min", None),
    ],
)
def test_a_mode_that_would_keep_the_worst_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, monitor: str, mode: str, warned: str | None
) -> None:
    monkeypatch.setattr("toy.ToyTracker.better_when_larger", lambda _: ("error",))
    run = bench.train(f"{TRAINING}.max_epochs=1", f"{TRAINING}.monitor={monitor}", f"{TRAINING}.monitor_mode={mode}")
    told = re.findall(r"training_config\.monitor_mode is.*", (run.root / "log.txt").read_text())
    assert len(told) == (warned is not None)
    assert warned is None or re.search(warned, told[0])


def test_parameters_of_the_files_choice_are_told_from_those_of_the_command_line(bench: Bench) -> None:
    config = bench.folder / "training_config.yaml"
    more = "    scheduler: {scheduler_name: OneCycleLR, interval: step, scheduler_params: {pct_start: 0.2}}\n"
    config.write_text(config.read_text() + more)
    chosen = (f"{TRAINING}.scheduler.scheduler_name=StepLR", f"{TRAINING}.scheduler.scheduler_params.step_size=1")
    remove = f"~{TRAINING}.scheduler.scheduler_params"
    with pytest.raises(
        ConfigError, match=rf"unknown parameter 'pct_start' of StepLR\. .* put '{re.escape(remove)}' before"
    ):
        check_names(bench.family, bench.load(*chosen))
    check_names(bench.family, bench.load(remove, *chosen))
    with pytest.raises(ConfigError, match="stepsize") as refusal:
        check_names(bench.family, bench.load(remove, *(word.replace("step_size", "stepsize") for word in chosen)))
    assert remove not in str(refusal.value)


@pytest.mark.parametrize("undefined", ["nan", "inf"])
def test_an_undefined_metric_does_not_end_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, undefined: str
) -> None:
    scores = iter([0.5, float(undefined), float(undefined), 0.4, float(undefined), float(undefined), 0.3])
    monkeypatch.setattr("toy.ToyTracker.metrics", lambda *_: {"error": next(scores)})
    run = bench.train(f"{TRAINING}.max_epochs=5", f"{TRAINING}.monitor=val_error", f"{TRAINING}.early_stop_patience=3")
    assert (run.stage("train")["epochs"], run.stage("train")["stopped_early"]) == (5, False)
    if undefined == "nan":
        assert run.stage("train")["best_epoch"] == 3


# -- logging -----------------------------------------------------------------------------------------------------------


def test_metrics_every_second_epoch(bench: Bench) -> None:
    bench.train(
        f"{TRAINING}.max_epochs=4",
        f"{EXPERIMENT}.check_metrics_n_epoch=2",
        f"{EXPERIMENT}.plot_metrics_n_epoch=4",
    )
    assert len(values(bench, "val_error")) == 2
    assert len(values(bench, "val_loss")) == 4
    drawn = sorted(path.name for path in (bench.folder / "figures").rglob("epoch_*.png"))
    assert drawn == ["epoch_0003.png", "epoch_0003.png"]


def test_metrics_and_figures_off(bench: Bench) -> None:
    bench.train(
        f"{TRAINING}.max_epochs=1",
        f"{EXPERIMENT}.check_metrics_n_epoch=null",
        f"{EXPERIMENT}.plot_metrics_n_epoch=null",
    )
    assert values(bench, "val_error") == []
    assert list((bench.folder / "figures").rglob("*.png")) == []


def test_validation_every_second_epoch(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_epochs=4", f"{EXPERIMENT}.check_eval_n_epoch=2", f"{TRAINING}.save_top_k=-1")
    assert len(values(bench, "val_loss")) == 2
    assert {name.split("_")[1] for name in checkpoints(bench) if "val" in name} == {"epoch=1", "epoch=3"}


def test_training_loss_every_n_steps(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_epochs=1", f"{EXPERIMENT}.log_every_n_steps=6")
    lines = [line for line in metrics(bench.load_run()) if "train_loss_step" in line]
    assert [line["step"] for line in lines] == [6, 12, 18, 24]
    mean = sum(line["train_loss_step"] for line in lines) / 4
    assert values(bench, "train_loss") == [pytest.approx(mean)]


def test_log_train_memory(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_epochs=1", f"{TRAINING}.log_train_memory=true")
    assert len(values(bench, "train_memory_mib")) == 24
    assert min(values(bench, "train_memory_mib")) > 50


def test_min_logging_level(bench: Bench) -> None:
    run = bench.train(f"{TRAINING}.max_epochs=1", "min_logging_level=error")
    assert (run.root / "log.txt").read_text() == ""


def test_terms_of_the_loss_are_logged_in_all_and_by_source_and_add_up(bench: Bench) -> None:
    bench.train(f"{EXPERIMENT}.check_metrics_n_epoch=2")
    for split in ("train", "val"):
        for ending in ("", "/left", "/right"):
            bias, spread, loss = (values(bench, f"{split}_{name}{ending}") for name in ("bias", "spread", "loss"))
            assert len(loss) == 3
            assert [a + b for a, b in zip(bias, spread, strict=True)] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("monitor", ["val_spread", "val_spread/left", "train_bias", "train_loss/right"])
def test_terms_may_be_monitored_also_where_metrics_are_rare(bench: Bench, monitor: str) -> None:
    settings = (f"{EXPERIMENT}.check_metrics_n_epoch=9", f"{TRAINING}.monitor={monitor}")
    check_names(bench.family, bench.load(*settings))
    run = bench.train(*settings)
    seen = values(bench, monitor)
    assert run.stage("train")["best_score"] == pytest.approx(min(seen))
    assert run.stage("train")["best_epoch"] == seen.index(min(seen))


@pytest.mark.parametrize(
    ("monitor", "nearest"),
    [("val_spred", "val_spread"), ("train_spread_step", "train_spread"), ("val_may", "val_mae"), ("spread", None)],
)
def test_a_term_or_a_stream_that_there_is_not_is_refused_before_the_training(
    bench: Bench, monitor: str, nearest: str | None
) -> None:
    with pytest.raises(ConfigError, match=f"no metric is called '{monitor}'") as refused:
        bench.train(f"{TRAINING}.monitor={monitor}")
    assert nearest is None or f"Did you mean '{nearest}'" in str(refused.value)
    assert not (bench.load_run().root / "metrics.jsonl").exists()


def test_a_stream_may_be_monitored_and_warns_of_a_wrong_mode(bench: Bench) -> None:
    run = bench.train(f"{TRAINING}.monitor=val_r2", f"{TRAINING}.monitor_mode=min")
    assert run.stage("train")["best_score"] == pytest.approx(min(values(bench, "val_r2")))
    assert "monitor_mode is min, and val_r2 is better when larger" in (run.root / "log.txt").read_text()
    assert values(bench, "val_mae") == pytest.approx(values(bench, "val_error"))


def test_a_test_logs_terms_and_streams_under_its_own_prefix(bench: Bench) -> None:
    trained = bench.train(f"{TRAINING}.max_epochs=1")
    loaded = bench.load(f"{EXPERIMENT}.run_name=test", f"{EXPERIMENT}.check_metrics_n_epoch=5")
    run = evaluate(bench.family, loaded, trained.checkpoints / "toy_last.ckpt")
    tested = run.stage("train")["test"]
    assert {"test_loss", "test_bias", "test_spread/left", "test_mae", "test_error", "test_r2"} <= set(tested)
    assert tested["test_bias"] + tested["test_spread"] == pytest.approx(tested["test_loss"], rel=1e-5)


def test_a_broken_plot_is_reported_once_and_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toy.ToyTracker.broken", True)
    run = bench.train(f"{EXPERIMENT}.plot_metrics_n_epoch=1")
    assert run.record()["status"] == "finished"
    assert (run.root / "log.txt").read_text().count("a broken plot") == 1
    assert (run.figures / "history.png").exists()


# -- optimization ------------------------------------------------------------------------------------------------------


def test_reduce_lr_on_epoch(bench: Bench) -> None:
    bench.train(f"{TRAINING}.reduce_lr_on_epoch=0.5", f"{EXPERIMENT}.log_every_n_steps=24")
    assert values(bench, "lr") == pytest.approx([1e-2, 5e-3, 2.5e-3])


def test_scheduler_by_step(bench: Bench) -> None:
    bench.train(
        f"{TRAINING}.scheduler={{scheduler_name: LinearWarmup, interval: step, "
        "scheduler_params: {warmup_fraction: 0.5, max_lr: 0.01, min_lr: 0}}",
        f"{TRAINING}.max_epochs=2", f"{EXPERIMENT}.log_every_n_steps=1",
    )  # fmt: skip
    assert values(bench, "lr") == pytest.approx([0.01 * min(1, step / 24) for step in range(1, 49)])


@pytest.mark.parametrize("name", ["rex", "OneCycleLR", "CosineWarmup", "StepLR"])
def test_the_logged_rate_is_that_of_the_step(bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []
    step = SGD.step

    def noting(optimizer: SGD, closure: Any) -> Any:
        done = step(optimizer, closure)
        used.append(optimizer.param_groups[0]["lr"])
        return done

    monkeypatch.setattr(SGD, "step", noting)
    parameters = {"CosineWarmup": "{warmup_fraction: 0.2}", "StepLR": "{step_size: 5}"}.get(name, "{}")
    bench.train(
        f"{TRAINING}.optimizer={{optimizer_name: SGD, optimizer_params: {{lr: 1e-2}}}}",
        f"{TRAINING}.scheduler={{scheduler_name: {name}, scheduler_params: {parameters}}}",
        f"{TRAINING}.accumulate_grad_batches=2", f"{TRAINING}.max_epochs=2", f"{EXPERIMENT}.log_every_n_steps=3",
    )  # fmt: skip
    assert len(set(used)) > 3
    assert values(bench, "lr") == used[2::3]


def test_parameter_groups(bench: Bench) -> None:
    bench.train(
        f"{TRAINING}.max_epochs=1",
        f"{TRAINING}.parameter_groups={{groups: [{{pattern: 'body.*', lr_scale: 0.1}}]}}",
        f"{TRAINING}.optimizer={{optimizer_name: AdamW, optimizer_params: {{lr: 1e-2, weight_decay: 0.5}}}}",
    )
    groups = bench.module.trainer.optimizers[0].param_groups
    by_size = {(round(group["lr"], 6), group["weight_decay"]) for group in groups}
    assert by_size == {(0.001, 0.5), (0.001, 0.0), (0.01, 0.5), (0.01, 0.0)}


def test_early_stopping(bench: Bench) -> None:
    run = bench.train(
        f"{TRAINING}.early_stop_patience=2", f"{TRAINING}.max_epochs=50",
        f"{TRAINING}.optimizer={{optimizer_name: SGD, optimizer_params: {{lr: 0.0}}}}",
    )  # fmt: skip
    stage = run.record()["stages"]["train"]
    assert (stage["epochs"], stage["stopped_early"]) == (3, True)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_non_finite_stops_before_the_step(bench: Bench, kind: str) -> None:
    poison = (
        "model_config.architecture_config.poison_step=7",
        f"model_config.architecture_config.poison={kind}",
    )
    with pytest.raises(NonFiniteError, match=f"Non-finite {kind}.*optimizer step 8, epoch 0, source '(left|right)'"):
        bench.train(*poison)
    assert all(bool(p.isfinite().all()) for p in bench.module.network.parameters())
    assert bench.load_run().record()["status"] == "failed"


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_non_finite_step_can_be_skipped(bench: Bench, kind: str) -> None:
    bench.train(
        "model_config.architecture_config.poison_step=7",
        f"model_config.architecture_config.poison={kind}",
        f"{TRAINING}.non_finite={{policy: skip, budget: 1}}",
    )
    assert bench.module.skipped_steps == 1
    assert all(bool(p.isfinite().all()) for p in bench.module.network.parameters())
    assert "(1 of 1)" in (bench.load_run().root / "log.txt").read_text()


def test_the_budget_of_skipped_steps_ends(bench: Bench) -> None:
    with pytest.raises(NonFiniteError, match="budget of 0 skipped steps is spent"):
        bench.train(
            "model_config.architecture_config.poison_step=7",
            f"{TRAINING}.non_finite={{policy: skip, budget: 0}}",
        )


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "pick"), [("min", min), ("max", max)])
def test_top_k_follows_monitor_and_mode(bench: Bench, mode: str, pick: Callable[[list[float]], float]) -> None:
    run = bench.train(
        f"{TRAINING}.save_top_k=2", f"{TRAINING}.monitor=val_error", f"{TRAINING}.monitor_mode={mode}",
        f"{TRAINING}.max_epochs=5",
    )  # fmt: skip
    errors = values(bench, "val_error")
    best = sorted(errors, reverse=mode == "max")[:2]
    expected = {f"toy_epoch={errors.index(e)}_val_error={e:.4f}.ckpt" for e in best} | {"toy_last.ckpt"}
    assert checkpoints(bench) == expected
    assert run.record()["stages"]["train"]["best_score"] == pick(errors)


def test_last_and_snapshots(bench: Bench) -> None:
    bench.train(
        f"{TRAINING}.save_top_k=0", f"{TRAINING}.save_last=false", f"{TRAINING}.save_every_n_epochs=2",
        f"{TRAINING}.save_every_n_steps=24", f"{TRAINING}.max_epochs=3",
    )  # fmt: skip
    assert checkpoints(bench) == {"toy_epoch=0.ckpt", "toy_epoch=1.ckpt", "toy_epoch=2.ckpt"}
    lines = [json.loads(line) for line in (bench.load_run().root / "checkpoints.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("snapshot", 24),
        ("snapshot", 48),
        ("snapshot", 72),
    ]


def test_snapshots_inside_an_epoch(bench: Bench) -> None:
    bench.train(f"{TRAINING}.save_top_k=0", f"{TRAINING}.save_every_n_steps=10", f"{TRAINING}.max_epochs=1")
    assert checkpoints(bench) == {"toy_step=10.ckpt", "toy_step=20.ckpt", "toy_last.ckpt"}


def test_an_unknown_monitor_names_what_there_is(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"'val_loss/nosuch' was not computed.*val_error"):
        bench.train(f"{TRAINING}.monitor=val_loss/nosuch")


def test_best_and_last_are_one_file_when_the_last_is_best(bench: Bench) -> None:
    bench.train(f"{TRAINING}.max_epochs=1")
    folder = bench.folder / "models/toys/toy"
    assert len({path.stat().st_ino for path in folder.glob("*.ckpt")}) == 1
    assert len(list(folder.glob("*.ckpt"))) == 2
    assert list(Path(folder).glob(".*")) == []
