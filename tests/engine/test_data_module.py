"""Where a run stands inside its data, by the position a checkpoint keeps, and how its loaders are made."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy import ToyData, ToyDataset
from toy_bench import Bench

from tabstar_lit.engine.preflight import without_earlier_stages


def opened(rows: int = 24, rank: int = 0, ranks: int = 1, **place: int) -> ToyData:
    data = ToyData(ToyDataset(name="toy", rows=rows), seed=3)
    loop = SimpleNamespace(batch_idx=place.get("batch_idx", -1))
    trainer: Any = SimpleNamespace(
        global_rank=rank, world_size=ranks, current_epoch=place.get("epoch", 0), fit_loop=loop,
        strategy=SimpleNamespace(root_device=torch.device("cpu")), lightning_module=SimpleNamespace(),
    )  # fmt: skip
    data.trainer = trainer
    return data


def sums(data: ToyData) -> list[float]:
    return [float(batch["x"].double().sum()) for batch in data.train_dataloader()]


@pytest.mark.parametrize(
    ("batch_idx", "saved"),
    [(-1, (4, 0)), (0, (4, 1)), (4, (4, 5)), (5, (5, 0)), (6, (5, 0))],
)
def test_the_position_is_the_next_batch_and_after_the_last_the_next_epoch(
    batch_idx: int, saved: tuple[int, int]
) -> None:
    data = opened(epoch=4, batch_idx=batch_idx)
    assert len(data.train_dataloader()) == 6
    assert data.state_dict() == {"epoch": saved[0], "batches": saved[1]}


@pytest.mark.parametrize("done", [0, 2, 5])
def test_a_loader_goes_on_at_the_saved_batch(done: int) -> None:
    whole = sums(opened())
    resumed = opened()
    resumed.load_state_dict({"epoch": 0, "batches": done})
    loader = resumed.train_dataloader()
    rest = [float(batch["x"].double().sum()) for batch in loader]
    assert rest == whole[done:]


def test_ranks_share_the_batches_of_an_epoch() -> None:
    shares = [sums(opened(rank=rank, ranks=3)) for rank in range(3)]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert sorted(chain.from_iterable(shares)) == sorted(sums(opened()))
    assert opened().batches_per_epoch(3) == 2


def test_without_a_trainer_there_is_no_position_and_one_rank() -> None:
    data = ToyData(ToyDataset(name="toy", rows=24), seed=3)
    assert data.state_dict() == {}
    assert sums(data) == sums(opened())


def test_options_that_need_workers_are_left_out_without_them() -> None:
    data = opened()
    data.loader_options = {"num_workers": 0, "prefetch_factor": 3, "persistent_workers": True, "pin_memory": False}
    loader = data.train_dataloader()
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (0, None, False)
    assert data.loader_options["prefetch_factor"] == 3, "the options themselves stay"
    data.loader_options["num_workers"] = 1
    assert data.train_dataloader().prefetch_factor == 3


def test_serving_batches_leaves_the_stream_of_dropout_alone() -> None:
    data = opened()
    before = torch.get_rng_state()
    sums(data)
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def warnings_of(bench: Bench) -> list[str]:
    log = (bench.folder / "logs/toys/toy/log.txt").read_text().splitlines()
    return [line for line in log if "WARNING" in line and "data is not what this run" in line]


@pytest.mark.parametrize(("change", "count"), [((), 0), (("dataset_config.rows=80",), 1)])
def test_going_on_with_other_data_is_warned_about_in_the_log(bench: Bench, change: tuple[str, ...], count: int) -> None:
    epochs = "model_config.training_config.max_epochs"
    bench.train(f"{epochs}=1")
    bench.train(f"{epochs}=2", *change, resume=True)
    assert len(warnings_of(bench)) == count
    fingerprint = bench.load_run().stage("train")["data_fingerprint"]
    assert fingerprint == ("toy-80" if change else "toy-96")


@pytest.mark.parametrize(("recorded", "count"), [("toy of 96", 0), ("toy of 80", 1)])
def test_a_run_that_an_earlier_release_began_is_known_by_what_that_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, recorded: str, count: int
) -> None:
    monkeypatch.setattr(ToyData, "earlier_fingerprints", property(lambda data: (f"toy of {data.config.rows}",)))
    epochs = "model_config.training_config.max_epochs"
    bench.train(f"{epochs}=1")
    bench.load_run().update_stage("train", data_fingerprint=recorded)
    bench.train(f"{epochs}=2", resume=True)
    assert len(warnings_of(bench)) == count
    stage = bench.load_run().stage("train")
    assert (stage["data_fingerprint"], stage["earlier_data_fingerprints"]) == ("toy-96", ["toy of 96"])


def test_a_trial_leaves_out_what_only_a_trained_stage_could_give(bench: Bench) -> None:
    loaded = bench.load(
        "stages=[first, second]",
        "model_config.load_modules={body: first, head: {source: second, module: x}, dropout: a.ckpt, net: {source: b}}",
    )
    stage = loaded.stages[1]
    kept = without_earlier_stages(stage, loaded)
    assert set(kept.experiment.model.load_modules) == {"dropout", "net"}
    assert len(stage.experiment.model.load_modules) == 4
    assert (kept.name, kept.tree) == (stage.name, stage.tree)
