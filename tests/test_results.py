"""The quality experiments: what they measure is what the command does, and the page says what was measured."""

from __future__ import annotations

import csv
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from benchmarks import results, tabstar_results
from benchmarks.experiment import NOTHING_LEARNED, Trained, train
from benchmarks.page import Section, one_word_a_line, write_section
from click.testing import CliRunner

from tabstar_lit.commands.train import load
from tabstar_lit.engine.callbacks.seeding import seed_generators
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.families.tabstar.family import TabstarFamily

TINY = (
    "model_config=tabstar/tiny",
    "model_config.training_config.max_epochs=2",
    "model_config.architecture_config.text_encoder.unfreeze_layers=0",
    "experiment_config.tqdm_refresh_rate=0",
)
IRIS = (
    *TINY,
    "experiment_config.plot_metrics_n_epoch=null",
    "dataset_config.tables=[iris]",
    "dataset_config.rows_per_dataset=32",
)


class Runs(NamedTuple):
    """The same training: before its first step, alone, and with the strings read by the run before it."""

    start: Trained
    alone: Trained
    shared: Trained


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        once = tabstar_results.ReadingOnce()
        start = train(once, (*IRIS, *NOTHING_LEARNED))
        yield Runs(start, train(TabstarFamily(), IRIS), train(once, IRIS))


def weights(run: Trained) -> dict[str, torch.Tensor]:
    folder = Path(run.files.record["checkpoints_dir"])
    return load_weights(folder / run.files.record["stages"]["pretrain"]["best_checkpoint"])


# -- measuring ---------------------------------------------------------------------------------------------------------


def test_start_is_the_untrained_network_of_the_same_seed(runs: Runs) -> None:
    family, experiment = TabstarFamily(), load(TabstarFamily(), IRIS, None).experiment
    seed_generators(seed := experiment.experiment_config.seed)
    fresh = family.module(experiment, family.data(experiment, seed)).network.state_dict()
    start = weights(runs.start)
    assert start.keys() == fresh.keys()
    assert [name for name, tensor in fresh.items() if not torch.equal(start[name], tensor)] == []


def test_reading_strings_once_changes_no_number(runs: Runs) -> None:
    for metric in ("val_score", "val_loss"):
        assert runs.shared.value(metric) == runs.alone.value(metric)
    alone = weights(runs.alone)
    assert [name for name, tensor in weights(runs.shared).items() if not torch.equal(tensor, alone[name])] == []


def test_training_changes_the_score(runs: Runs) -> None:
    assert runs.start.value("val_score") != runs.alone.value("val_score")


def test_command_is_what_a_user_types(runs: Runs) -> None:
    assert shlex.split(runs.alone.command) == ["train_tabstar", *IRIS]
    assert runs.alone.files.record["argv"] == ["train_tabstar", *IRIS]


# -- the page ----------------------------------------------------------------------------------------------------------


def section(title: str, **images: Path) -> Section:
    return Section(title, ["text"], {"figure": 0.5}, images)


def test_sections_stand_in_order_and_replace_their_older_selves(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "results.md"
    order = ["first", "second"]
    for name, title in (("second", "B"), ("first", "A"), ("second", "B again")):
        write_section(page, name, section(title), order)
    headings = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert headings == ["# Results", "## A", "## B again"]


def test_section_of_an_experiment_that_is_gone_is_dropped(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    write_section(page, "old", section("Old"), ["old"])
    write_section(page, "new", section("New"), ["new"])
    assert "Old" not in page.read_text(encoding="utf-8")


def test_figures_are_copied_beside_the_page(tmp_path: Path) -> None:
    drawn = tmp_path / "runs" / "epoch_0003.png"
    drawn.parent.mkdir()
    drawn.write_bytes(b"picture")
    write_section(tmp_path / "docs" / "results.md", "new", section("New", scores=drawn), ["new"])
    assert (tmp_path / "docs" / "images" / "results" / "scores.png").read_bytes() == b"picture"


def test_printed_command_can_be_pasted() -> None:
    command = "train_tabstar 'dataset_config.tables=[iris, wine]' seed=1"
    shown = one_word_a_line(command)
    assert len(shown.splitlines()) == 3
    assert shlex.split(shown.replace("\\\n", "")) == shlex.split(command)


def test_tables_that_were_not_learned_are_named() -> None:
    scores = {"up": (0.5, 0.6), "down": (0.6, 0.5), "same": (0.5, 0.5)}
    assert tabstar_results.what_was_learned(scores) == "1 of 3 tables score higher at the end; not: down, same."
    assert tabstar_results.what_was_learned({"up": (0.5, 0.6)}) == "1 of 1 tables score higher at the end."


def test_best_table_is_drawn_on_top() -> None:
    scores = {"poor": (0.5, 0.6), "good": (0.5, 0.9), "lost": (-7.0, -5.0)}
    axes = tabstar_results.draw_start_and_end(scores, dict.fromkeys(scores, "classification")).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lost", "poor", "good"]
    drawn = [float(x) for line in axes.lines for x in line.get_xdata()]
    assert min(drawn) == tabstar_results.LOWEST_SHOWN


# -- the command -------------------------------------------------------------------------------------------------------


def write_tables(folder: Path) -> None:
    """Two tables that can be learned, with their manifest."""
    draw = random.Random(0)
    rows = [(draw.choice(("red", "green")), draw.gauss(0, 1)) for _ in range(120)]
    tables = {
        "colors": [("color", "size", "kind"), *((c, s, "warm" if c == "red" else "cold") for c, s in rows)],
        "sizes": [("color", "size", "weight"), *((c, s, 2 * s + (c == "red")) for c, s in rows)],
    }
    for name, lines in tables.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
    shared = {"rows": 120, "columns": 3, "licence": "CC0", "commit": "0123456789abcdef"}
    entries = [
        {
            "name": "colors",
            "file": "colors.csv",
            "target": "kind",
            "task": "classification",
            "source": "A",
            "n_classes": 2,
        },
        {"name": "sizes", "file": "sizes.csv", "target": "weight", "task": "regression", "source": "B"},
    ]
    (folder / "tabular.yaml").write_text(yaml.safe_dump([entry | shared for entry in entries]), encoding="utf-8")


def test_real_tables_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (data := tmp_path / "tables").mkdir()
    write_tables(data)
    page = tmp_path / "docs" / "results.md"
    monkeypatch.setenv(tabstar_results.DATA_VARIABLE, str(data))
    monkeypatch.setattr(results, "PAGE", page)
    public = ("dataset_config=tabstar/public_tables", *TINY)
    monkeypatch.setattr(tabstar_results, "PUBLIC_TABLES", public)
    done = CliRunner().invoke(results.main, ["real_tables"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    printed = dict(line[7:].split("=") for line in done.stdout.splitlines() if line.startswith("RESULT "))
    assert printed.keys() == {"tabstar.val_score_start", "tabstar.val_score_end"}
    text = page.read_text(encoding="utf-8")
    for said in ("2 public tables", "| colors |", "kind (2 classes)", "B (0123456789)", "CC0", *printed.values()):
        assert said in text
    assert str(tmp_path) not in text
    for image in ("start_and_end", "score_heat_map", "predicted_vs_true", "calibration"):
        assert f"images/results/{image}.png" in text
        assert (page.parent / "images" / "results" / f"{image}.png").stat().st_size > 1000


def test_without_the_public_tables_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(tabstar_results.DATA_VARIABLE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    done = CliRunner().invoke(results.main, [])
    assert done.exit_code == 2
    assert tabstar_results.DATA_VARIABLE in done.stderr
    assert "make results ARGS=builtin" in done.stderr
    assert list(tmp_path.iterdir()) == []
