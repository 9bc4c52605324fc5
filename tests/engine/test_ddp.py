"""Two processes train what one process does that accumulates two batches: every batch once, the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from ddp_run import launch
from toy_bench import Bench, load_checkpoint, metrics


@pytest.mark.parametrize("batch_size", [8, 16], ids=["several batches a rank", "a source a rank in validation"])
def test_two_ranks_equal_one(make_bench: Callable[[str], Bench], batch_size: int) -> None:
    one, two, size = make_bench("one"), make_bench("two"), f"dataset_config.batch_size={batch_size}"
    launch(one, size, "model_config.training_config.accumulate_grad_batches=2")
    launch(two, size, "experiment_config.devices=2", "experiment_config.strategy=ddp")

    seen_by_one = json.loads((one.folder / "seen-0.json").read_text())
    seen_by_two = [json.loads((two.folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert seen_by_two[0] == seen_by_one[0::2]
    assert seen_by_two[1] == seen_by_one[1::2]

    path = "models/toys/toy/toy_last.ckpt"
    ours, theirs = (load_checkpoint(bench.folder / path)["state_dict"] for bench in (two, one))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0)
    terms = ("train_bias", "train_spread/left", "val_spread", "val_bias/right")
    for name in ("val_loss", "val_error", "val_mae", "val_mae/left", "train_loss", "val_loss/left", *terms):
        pairs = [[line[name] for line in metrics(bench.load_run()) if name in line] for bench in (two, one)]
        torch.testing.assert_close(torch.tensor(pairs[0]), torch.tensor(pairs[1]), atol=1e-5, rtol=0)
