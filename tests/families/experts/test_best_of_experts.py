"""Trained end to end on texts in which each expert could be the best, a mixture is worse than none of them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tabstar_lit.commands.train import train_experts
from tabstar_lit.families.experts.architecture import EXPERTS

ARGUMENTS = (
    "experiment_config.run_name=whole",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
    "model_config.architecture_config.width=48",
    "dataset_config.context_length=64",
    "dataset_config.rows_per_epoch=480",
)


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Return the nats of each stage at its end, by domain."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(train_experts, ARGUMENTS, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, dict[str, float]] = {}
    for line in (folder / "runs/logs/experts_builtin/whole/metrics.jsonl").read_text().splitlines():
        values = json.loads(line)
        name = "val_loss/" if values["stage"] in ("transformer", "state_space") else "val_nll/"
        own = {key.removeprefix(name): value for key, value in values.items() if key.startswith(name)}
        found.setdefault(values["stage"], {}).update(own)
    return found


def test_every_stage_was_measured_on_every_domain(losses: dict[str, dict[str, float]]) -> None:
    assert set(losses) == {*EXPERTS, "mixture"}
    assert len({frozenset(domains) for domains in losses.values()}) == 1
    assert len(losses["mixture"]) > 1


def test_a_mixture_is_as_good_as_the_best_of_its_experts_on_each_domain(losses: dict[str, dict[str, float]]) -> None:
    for domain, nats in losses["mixture"].items():
        assert nats <= min(losses[expert][domain] for expert in EXPERTS) + 0.02, domain
