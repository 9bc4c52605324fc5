"""A run directory as the engine leaves it, without training one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

CONFIG = """\
experiment_config:
  experiment_name: {experiment}
  run_name: {name}
  seed: 1
  comet_api_key: '**********'
dataset_config: {{name: builtin}}
model_config:
  name: mlp
  training_config:
    optimizer: {{optimizer_name: AdamW, optimizer_params: {{lr: {lr}}}}}
    max_epochs: 3
"""


def write_run(save_dir: Path, name: str = "first", *, lr: float = 0.001, status: str = "finished") -> Path:
    """Write a run of one stage with three epochs below `save_dir` and return its directory."""
    root = save_dir / "physics" / name
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG.format(experiment="physics", name=name, lr=lr))
    stage = {"status": status, "monitor": "val_loss", "mlflow_run_id": "ab12", "data_fingerprint": "f00d"}
    if status == "finished":
        stage |= {"epochs": 3, "steps": 12, "best_score": 100 * lr, "best_epoch": 2, "best_checkpoint": "a|b.ckpt"}
    record: dict[str, Any] = {
        "schema_version": 1,
        "experiment_name": "physics",
        "run_name": name,
        "command": "train_tabstar",
        "family": "tabstar",
        "status": status,
        "created": 1.8e9 + lr,
        "seed": 1,
        "argv": ["train_tabstar", "experiment_config.comet_api_key=canary-key"],
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "git": {"commit": "c0ffee", "clean": False},
        "stages": {"pretrain": stage},
    }
    (root / "run.json").write_text(json.dumps(record))
    for epoch in range(3):
        append(root, epoch, 4 * epoch + 2, train_loss_step=1.0, lr=lr)
        values = {"train_loss": 1.0 / (epoch + 1), "val_loss": 100 * lr + 2 - epoch, "val_auc/iris": 0.5 + epoch / 10}
        append(root, epoch, 4 * epoch + 4, **values)
        append(root, epoch, 4 * epoch + 4, epoch_seconds=1.5, rss_mib=200.0 + epoch)
    return root


def append(root: Path, epoch: int, step: int, **metrics: float) -> None:
    """Append a line to the run's metrics."""
    values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    line = {"stage": "pretrain", "epoch": epoch, "step": step, "time": 1.8e9 + step, **values}
    with (root / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
