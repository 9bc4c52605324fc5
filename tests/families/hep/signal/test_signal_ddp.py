"""Two processes train what one does that accumulates two batches: every event once, equal weights, equal scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from signal_bench import FLAT, JAGGED, SignalBench, logged, metrics

from tabstar_lit.data.plans import PlanSampler
from tabstar_lit.families.hep.data import EventData

SCRIPT = Path(__file__).parents[3] / "support" / "signal_ddp_run.py"
SCORES = {"val_loss", "val_auroc", "val_auprc", "val_accuracy", "val_significance_max", "train_loss"}


def test_two_ranks_equal_one(make_bench: Callable[[str], SignalBench]) -> None:
    one, two = make_bench("one"), make_bench("two")
    # In double precision rounding is far below any mistake: Adam divides small gradients by their own size.
    trained = (*JAGGED, "experiment_config.precision=64-true", "experiment_config.plot_metrics_n_epoch=2")
    alone = one.train(*trained, "model_config.training_config.accumulate_grad_batches=2")
    done = subprocess.run(
        [
            sys.executable, str(SCRIPT), str(two.folder), str(two.events), *trained,
            "experiment_config.devices=2", "experiment_config.strategy=ddp",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    seen = [json.loads((two.folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert seen == [one.seen[0::2], one.seen[1::2]]
    half = len(seen[0]) // 2
    first_epoch = [row for rank in seen for batch in rank[:half] for row in batch]
    data = EventData(one.load(*JAGGED).experiment.dataset_config, seed=7)
    assert sorted(first_epoch) == data.rows("train").tolist()

    ours, theirs = two.last()["state_dict"], one.last()["state_dict"]
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-10, rtol=0)
    together = two.load_run()
    for name in SCORES:
        pairs = [torch.tensor(logged(directory, name)) for directory in (together, alone)]
        torch.testing.assert_close(*pairs, atol=1e-5, rtol=0)
    assert [set(line) for line in metrics(together)] == [set(line) for line in metrics(alone)]
    figures = together.stage("train")["figures"]
    assert figures == alone.stage("train")["figures"]
    assert {"overtraining", "importance"} <= set(figures)


def test_an_odd_number_of_batches_is_shared_without_loss(bench: SignalBench) -> None:
    odd = ("dataset_config.dataloader_kwargs.batch_size=80", *FLAT)
    plan = EventData(bench.load(*odd).experiment.dataset_config, seed=7).train_plan()
    assert len(plan) % 2 == 1
    dealt = [list(PlanSampler(plan, rank, world_size=2)) for rank in (0, 1)]
    assert len(dealt[0]) == len(dealt[1])
    rows = [int(row) for own in dealt for key in own for row in key.rows]
    assert sorted(rows) == sorted(int(row) for key in plan.batches(0) for row in key.rows)
