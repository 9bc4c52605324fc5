"""Runs of three stages: exact after a stop, repeatable, each built on the best of those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checks import assert_equal
from fakes_bench import ROLES, TRAINING, FakesBench
from mlflow.tracking import MlflowClient
from signal_bench import metrics

from tabstar_lit.engine.preflight import trial
from tabstar_lit.errors import CheckpointError, RunInterrupted
from tabstar_lit.families.hep.config import SplitConfig
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.restore import Restored, restore
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.preparation.split import split_events

MakeBench = Callable[[str], FakesBench]


def assert_same_end(ours: FakesBench, theirs: FakesBench, role: str) -> None:
    one, two = ours.last(role), theirs.last(role)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "tabstar_lit"):
        assert_equal(one[key], two[key], f"{role}/{key}")


# -- repeated, stopped and resumed -------------------------------------------------------------------------------------


def test_stopped_in_the_denominator_and_resumed_equals_unbroken(make_bench: MakeBench, trained: FakesBench) -> None:
    broken = make_bench("broken")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(stop_in="denominator", stop_at=4)
    assert [stage["status"] for stage in broken.stages().values()] == ["finished", "interrupted"]
    broken.train(resume=True)
    assert broken.seen == trained.seen
    for role in ROLES:
        assert_same_end(broken, trained, role)


def test_stopped_in_the_ratio_and_resumed_equals_unbroken(make_bench: MakeBench, trained: FakesBench) -> None:
    broken = make_bench("broken_ratio")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(stop_in="ratio", stop_at=1)
    broken.train(resume=True)
    assert_same_end(broken, trained, "ratio")


def test_equal_seeds_give_equal_runs_and_other_seeds_do_not(make_bench: MakeBench, trained: FakesBench) -> None:
    again, other = make_bench("again"), make_bench("other")
    again.train()
    other.train(f"{TRAINING}.max_epochs=1", "experiment_config.seed=8")
    for role in ROLES:
        assert_same_end(again, trained, role)
    weights = [bench.last("ratio")["state_dict"] for bench in (trained, other)]
    assert not any(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] if "weight" in name)


def test_penalties_are_logged_beside_the_risk_and_a_stop_changes_none_of_them(make_bench: MakeBench) -> None:
    penalties = (f"{TRAINING}.w_lambda=0.3", f"{TRAINING}.ess_lambda=2.0", f"{TRAINING}.monitor=val_risk")
    settings = (*penalties, "stages=[numerator]", f"{TRAINING}.monitor_mode=min")
    unbroken, broken = make_bench("penalised"), make_bench("penalised_and_broken")
    whole = unbroken.train(*settings)
    lines = metrics(whole)
    for split in ("train", "val"):
        names = [f"{split}_{name}" for name in ("loss", "risk", "shrinkage", "ess_penalty")]
        epochs = [[line[name] for name in names] for line in lines if names[0] in line]
        assert [r + 0.3 * s + 2.0 * e for _, r, s, e in epochs] == pytest.approx([x for x, *_ in epochs], rel=1e-5)
        assert len(epochs) == 2
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(*settings, stop_in="numerator", stop_at=5)
    assert metrics(broken.train(*settings, resume=True)) == lines


# -- every event, once -------------------------------------------------------------------------------------------------

SAMPLES = {
    "numerator": ("tight_data", "tight_mc"),
    "denominator": ("loose_data", "loose_mc"),
    "ratio": ("tight_data", "loose_data"),
}


@pytest.mark.parametrize("role", ROLES)
def test_an_epoch_holds_every_event_of_its_samples_once(trained: FakesBench, role: str) -> None:
    file = EventFile.open(trained.events)
    training = split_events(file.group_ids(), SplitConfig()) == 0
    own = np.isin(file.labels(), [file.classes.index(name) for name in SAMPLES[role]])
    served = Counter(row for stage, rows in trained.seen if stage == role for row in rows)
    assert sorted(served) == np.flatnonzero(training & own).tolist()
    assert set(served.values()) == {2}  # once in each of the two epochs


# -- stages ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the checkpoints of trained models, as they are read."""
    paths: list[Path] = []

    def watching(path: Path) -> Restored:
        paths.append(path)
        return restore(path)

    monkeypatch.setattr("tabstar_lit.families.hep.fakes.factor.restore.restore", watching)
    return paths


def test_the_best_by_the_monitored_score_is_handed_on_and_not_the_last(
    make_bench: MakeBench, restored: list[Path]
) -> None:
    bench = make_bench("best")
    bench.train(f"{TRAINING}.monitor_mode=max", f"{TRAINING}.save_top_k=-1", f"{TRAINING}.scheduler=null")
    assert restored == [bench.best("numerator"), bench.best("denominator")]
    for path in restored:
        assert torch.load(path, weights_only=True)["epoch"] == 0  # the first, when the loss was still high
        assert len(list(path.parent.glob("run_epoch*.ckpt"))) == 2


def test_the_ratio_goes_on_from_stages_that_have_finished(make_bench: MakeBench, trained: FakesBench) -> None:
    bench = make_bench("later")
    bench.train("stages=[numerator, denominator]")
    bench.train("stages=[ratio]")
    ratio = torch.load(bench.folder / "models/toys/run/run_last.ckpt", weights_only=True)
    assert_equal(ratio["state_dict"], trained.last("ratio")["state_dict"])


def test_the_ratio_goes_on_from_checkpoints_of_another_run(make_bench: MakeBench, trained: FakesBench) -> None:
    bench = make_bench("elsewhere")
    named = [f"model_config.{role}_checkpoint={trained.best(role)}" for role in ROLES[:2]]
    bench.train("stages=[ratio]", *named)
    ratio = torch.load(bench.folder / "models/toys/run/run_last.ckpt", weights_only=True)
    assert_equal(ratio["state_dict"], trained.last("ratio")["state_dict"])


def test_the_ratio_is_refused_without_what_it_builds_on(make_bench: MakeBench) -> None:
    bench = make_bench("early")
    with pytest.raises(CheckpointError, match=r"numerator_checkpoint: 'numerator' is no stage .*no stage yet"):
        bench.train("stages=[ratio]")
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        bench.train("stages=[numerator, denominator]", stop_in="denominator", stop_at=1)
    with pytest.raises(CheckpointError, match=r"denominator_checkpoint: the stage 'denominator' .* has not finished"):
        bench.train("stages=[ratio]")
    with pytest.raises(CheckpointError, match=r"there_is_none.*no file"):
        bench.train("stages=[ratio]", "model_config.denominator_checkpoint=there_is_none")


def test_models_of_another_role_features_or_ensemble_are_refused(make_bench: MakeBench, trained: FakesBench) -> None:
    bench = make_bench("wrong")
    num, den = (f"model_config.{role}_checkpoint={trained.best(role)}" for role in ROLES[:2])
    swapped = f"model_config.denominator_checkpoint={trained.best('numerator')}"
    with pytest.raises(CheckpointError, match=r"denominator_checkpoint: .* is the numerator of a fake-factor estimate"):
        bench.train("stages=[ratio]", num, swapped)
    with pytest.raises(CheckpointError, match=r"numerator_checkpoint: .* trained on other features"):
        bench.train("stages=[ratio]", num, den, "dataset_config.features=[pt]")
    with pytest.raises(CheckpointError, match=r"has 3 heads and the ratio 4"):
        bench.train("stages=[ratio]", num, den, "model_config.architecture_config.ensemble.heads=4")
    with pytest.raises(CheckpointError, match=r"trained on other training events"):
        bench.train("stages=[ratio]", num, den, "dataset_config.split.seed=3")


def test_overrides_reach_every_stage(trained: FakesBench) -> None:
    for role in ROLES:
        assert trained.stages()[role]["epochs"] == 2
        assert trained.last(role)["tabstar_lit"]["payload"]["architecture_config"]["ensemble"]["heads"] == 3


def test_a_checkpoint_is_evaluated_on_the_test_split(make_bench: MakeBench, trained: FakesBench) -> None:
    bench = make_bench("evaluated")
    role = "stages=[numerator]"
    scores = bench.evaluate(trained.best("numerator"), role).record()["stages"]["numerator"]["test"]
    assert {"test_loss", "test_chi2", "test_logerror"} <= scores.keys()
    with pytest.raises(CheckpointError, match=r"of the role numerator, and this stage of denominator"):
        bench.evaluate(trained.best("numerator"), "stages=[denominator]", "experiment_config.run_name=other")


def test_every_stage_is_tried_before_any_is_trained(make_bench: MakeBench) -> None:
    said: list[str] = []
    bench = make_bench("tried")
    trial(family, bench.load(), said.append)
    assert [line.split(":")[0] for line in said if "gradient norm" in line] == list(ROLES)
    assert not list(bench.folder.iterdir())


def test_three_stages_are_three_tracked_runs_under_one(make_bench: MakeBench) -> None:
    bench = make_bench("tracked")
    run = bench.train(f"{TRAINING}.max_steps=1", f"{TRAINING}.max_epochs=1", "experiment_config.tracker=mlflow")
    client = MlflowClient(run.mlflow_uri)
    parent = run.record()["mlflow_run_id"]
    runs = client.search_runs([client.get_run(parent).info.experiment_id])
    children = {own.info.run_id for own in runs if own.data.tags.get("mlflow.parentRunId") == parent}
    assert children == {stage["mlflow_run_id"] for stage in bench.stages().values()}
    assert len(runs) == 4
