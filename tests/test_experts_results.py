"""Quality of the experts: what is measured is what the command does, on equal budgets, and the page says so."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pytest
from benchmarks import experts_results, results
from benchmarks.experts_results import ROLES, Budget, equal_budget, overrides
from click.testing import CliRunner, Result

from tabstar_lit.config import load_experiment
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.family import family

FAST = (
    "model_config.architecture_config.width=16",
    "model_config.architecture_config.heads=2",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.tqdm_refresh_rate=0",
)


@pytest.fixture
def few_texts(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the first documents of two domains where the experiments look for all, and work in a fresh folder."""
    for name in ("literature/tinyshakespeare", "theology/openbible_kjv"):
        place = tmp_path / "few/text" / f"{name}.jsonl"
        place.parent.mkdir(parents=True)
        lines = (shared_data / "text" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:30]
        place.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(experts_results.DATA_VARIABLE, str(tmp_path / "few"))
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    return tmp_path


def measure(name: str) -> Result:
    return CliRunner().invoke(results.main, [name], catch_exceptions=False)


def test_all_stages_get_the_same_tokens_and_then_the_same_seconds(few_texts: Path) -> None:
    section = equal_budget(Budget(size="nano", steps=2, documents=None, more=FAST))
    page = "\n".join(section.lines)
    assert set(section.results) == {
        f"experts.equal_{what}_bits_per_byte_{role}" for what in ("tokens", "seconds") for role in ROLES
    }
    assert all(0 < value < 10 for value in section.results.values())
    first = page.split("### The same tokens")[1].split("### The same ")[0]
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in first.splitlines() if line.startswith("| ")}
    assert set(rows) >= set(ROLES)
    assert len({rows[role][1].strip() for role in ROLES}) == 1, "tokens differ"
    assert rows[""][-3:-1] == [" literature ", " theology "]
    runs = sorted((few_texts / "runs/logs/results").iterdir())
    record = json.loads((runs[0] / "run.json").read_text())
    assert {stage["steps"] for stage in record["stages"].values()} == {2}
    for role in ROLES:
        assert f"{section.results[f'experts.equal_tokens_bits_per_byte_{role}']:.3f}" in "".join(rows[role])
    assert "in bits per byte" in page
    assert section.images["experts_router"].exists()


def test_commands_on_the_page_are_whole(few_texts: Path) -> None:
    words = overrides(Budget(more=FAST), dict.fromkeys(ROLES, 7))
    words = shlex.split(shlex.join(words))
    loaded = load_experiment(family.schema(), command=family.command, overrides=words, family_directory=family.name)
    assert [stage.name for stage in loaded.stages] == list(ROLES)
    for stage in loaded.stages:
        data = stage.experiment.dataset_config
        assert data.rows_per_epoch == 7 * experts_results.BATCH_SIZE
        assert (data.batch_size, data.context_length) == (16, 256)
        assert stage.experiment.model.training_config.accumulate_grad_batches == 1


def test_shakespeare_is_measured_as_nanogpt_measures_it(few_texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = experts_results.train, []

    def shorter(of: object, words: list[str]) -> object:
        seen.append(words)
        short = (
            "model_config.training_config.max_epochs=1",
            "dataset_config.rows_per_epoch=24",
            "experiment_config.plot_metrics_n_epoch=1",
        )
        return real(family, [*words, *FAST, *short])

    monkeypatch.setattr(experts_results, "train", shorter)
    done = measure("experts_shakespeare")
    assert done.exit_code == 0, done.output
    printed = dict(line[7:].split("=") for line in done.stdout.splitlines() if line.startswith("RESULT "))
    assert 0 < float(printed["experts.shakespeare_cpu_nats"]) < math.log(259) + 0.5
    assert "dataset_config.rows_per_epoch=6000" in seen[0]
    assert "dataset_config=experts/shakespeare" in seen[0]
    page = (few_texts / "docs/results.md").read_text()
    assert "Tiny Shakespeare" in page
    assert "1.88" in page
    assert (few_texts / "docs/images/results/shakespeare_learning.png").stat().st_size > 1000


def test_texts_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(experts_results.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match="The public texts are not on this machine"):
        experts_results.find_texts()
    assert measure("experts_equal_budget").exit_code == 2
