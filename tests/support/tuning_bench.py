"""Tune the toy family as the command does: from YAML, through the engine, into the folders of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import toy_bench
import yaml
from toy_bench import CONFIG

from tabstar_lit.config import compose_experiment
from tabstar_lit.engine.runs.files import RunFiles
from tabstar_lit.tuning.plan import Plan, plan_study
from tabstar_lit.tuning.report import Summary
from tabstar_lit.tuning.search import tune

LR = "model_config.training_config.optimizer.optimizer_params.lr"
HIDDEN = "model_config.architecture_config.hidden"
PARAMETERS: dict[str, Any] = {
    LR: {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
    HIDDEN: {"type": "int", "low": 2, "high": 16},
    "model_config.architecture_config.dropout": {"type": "categorical", "choices": [0.0, 0.25, 0.5]},
}
STUDY: dict[str, Any] = {
    "n_trials": 4,
    "sampler_params": {"n_startup_trials": 2},
    "parameters": PARAMETERS,
}
"""Four trials, the last two of which are chosen by what the first ones gave."""
SMALL = ("dataset_config.rows=16", "model_config.training_config.max_epochs=2")


@dataclass
class TuningBench(toy_bench.Bench):
    """A folder with a toy configuration and a study."""

    said: list[str] = field(default_factory=list)

    def plan(self, *overrides: str, tuning: dict[str, Any] | None = None, **changes: Any) -> Plan:
        """Write the study into a file of the configuration and check it."""
        (self.folder / "training_config.yaml").write_text(CONFIG)
        (self.folder / "tuning_config").mkdir(exist_ok=True)
        content = yaml.safe_dump({**(tuning or STUDY), **changes}, sort_keys=False)
        (self.folder / "tuning_config" / "toy.yaml").write_text(content)
        composition = compose_experiment(
            self.family.schema(),
            command=self.family.command,
            overrides=["tuning_config=toy", *SMALL, *self.places, *overrides],
            config_dir=self.folder,
        )
        return plan_study(self.family, composition)

    def tune(self, *overrides: str, command: Sequence[str] = ("train_toy",), **changes: Any) -> Summary:
        return tune(self.plan(*overrides, **changes), command=command, say=self.said.append)[1]

    @property
    def study(self) -> Path:
        return self.folder / "logs" / "toys" / "study"

    def trial(self, number: int) -> RunFiles:
        """Return the files of a trial's run."""
        return RunFiles(self.folder / "logs" / "toys" / f"study_trial_{number}")


def outcome(summary: Summary) -> list[tuple[str, dict[str, Any], float | None]]:
    """Return what a study found, without its names."""
    return [(row.state, dict(row.values), row.value) for row in summary.rows]
