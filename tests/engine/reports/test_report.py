from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from runs_fixture import append, write_run
from toy import ToyFamily

from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, output_option
from tabstar_lit.engine.reports.report import write_report
from tabstar_lit.engine.runs.directory import RunDirectory


class WithVerb(ToyFamily):
    """A toy that predicts."""

    def verbs(self) -> dict[str, click.Command]:
        @click.command()
        @checkpoint_argument
        @click.argument("rows")
        @output_option("The file.")
        @batch_size_option(8)
        def predict(**given: object) -> None:
            """Predict."""

        return {"predict": predict}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    root = write_run(tmp_path / "logs")
    figures, checkpoints = tmp_path / "my results" / "physics", tmp_path / "models"
    for name in ("heat map.png", "roc/iris/epoch_0001.png", "roc/iris/epoch_0002.png", "roc/wine/epoch_0002.png"):
        path = figures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    checkpoints.mkdir()
    (checkpoints / "a|b.ckpt").touch()
    return RunDirectory(root=root, figures=figures, checkpoints=checkpoints, mlruns=tmp_path / "mlruns")


def section(text: str, title: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    rows = re.search(rf"#+ {re.escape(title)}\n\n((?:\|.*\n)+)", text)
    assert rows is not None, title
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in rows[1].splitlines()]


def test_the_report_says_what_was_trained_and_how_it_went(run: RunDirectory) -> None:
    text = write_report(run).read_text()
    assert text.startswith("# physics/first\n")
    assert section(text, "Metrics of pretrain") == [
        ["epoch", "0", "1", "2 (best)"],
        ["---"] * 4,
        ["`lr`", "0.001", "0.001", "0.001"],
        ["`train_loss`", "1", "0.5", "0.33333"],
        ["`val_loss`", "2.1", "1.1", "0.1"],
    ]
    assert section(text, "By source")[2:] == [["iris", "val_auc", "0.5", "0.7", "2"]]
    assert section(text, "Time and memory")[2:] == [
        ["`epoch_seconds`", "1.5", "1.5", "1.5"],
        ["`rss_mib`", "200", "201", "202"],
    ]
    assert "4.5 s in 3 epochs; at most 202 MiB" in text
    assert text.index("**Best val_loss: 0.1**, in epoch 2 of 3 (12 steps).") < text.index("## Figures")
    assert ["torch", "2.13.0"] in section(text, "Versions")
    assert ["git commit", "c0ffee (with changes)"] in section(text, "Run")
    training = "model_config.training_config"
    assert section(text, "Configuration")[2:] == [
        ["`dataset_config.name`", "builtin"],
        ["`model_config.name`", "mlp"],
        [f"`{training}.optimizer.optimizer_name`", "AdamW"],
        [f"`{training}.optimizer.optimizer_params.lr`", "0.001"],
        [f"`{training}.max_epochs`", "3"],
    ]
    assert section(text, "Data")[2:] == [["name", "builtin"], ["fingerprint", "f00d"]]
    assert "train_tabstar --resume RUN_DIRECTORY" in text


def test_data_of_several_stages_have_a_line_where_they_are_the_same(run: RunDirectory) -> None:
    run.update_stage("finetune", status="finished", data_fingerprint="f00d")
    assert section(write_report(run).read_text(), "Data")[2:] == [["name", "builtin"], ["all stages", "f00d"]]
    run.update_stage("finetune", data_fingerprint="beef")
    rows = section(write_report(run).read_text(), "Data")[2:]
    assert rows == [["name", "builtin"], ["pretrain", "f00d"], ["finetune", "beef"]]


def test_what_is_to_be_doubted_stands_beside_the_result(run: RunDirectory) -> None:
    assert "To look at" not in write_report(run).read_text()
    run.update_stage("pretrain", notes=["1 of 2 heads is lost."])
    text = write_report(run).read_text()
    assert text.index("**To look at:** 1 of 2 heads is lost.\n") < text.index("## Figures")


def test_the_best_checkpoint_is_evaluated_as_it_was_trained_and_in_a_run_of_its_own(run: RunDirectory) -> None:
    record = json.loads((run.root / "run.json").read_text())
    record["argv"] += ["dataset_config=my data", "experiment_config.run_name=first"]
    (run.root / "run.json").write_text(json.dumps(record))
    line = next(line for line in write_report(run).read_text().splitlines() if "load_checkpoint=" in line)
    assert shlex.split(line) == [
        "train_tabstar",
        "dataset_config=my data",
        "model_config.load_checkpoint=a|b.ckpt",
        "experiment_config.run_name=first_test",
    ]


def test_links_are_relative_and_lead_to_files(run: RunDirectory) -> None:
    text = write_report(run).read_text()
    links = [unquote(link) for link in re.findall(r"\]\(([^)]*)\)", text)]
    exist = {link: (run.root / link).exists() for link in links if link != "provenance.yaml"}
    assert all(exist.values()), exist
    assert not any(Path(link).is_absolute() for link in links)
    pictures = [unquote(link) for link in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)]
    assert [Path(link).relative_to("../../../my results/physics").as_posix() for link in pictures] == [
        "heat map.png",
        "roc/iris/epoch_0002.png",
        "roc/wine/epoch_0002.png",
    ]


def test_nothing_secret_and_no_absolute_path(run: RunDirectory, tmp_path: Path) -> None:
    text = write_report(run).read_text()
    assert "canary" not in text
    assert str(tmp_path) not in text


def test_an_evaluation_names_its_checkpoint_and_nothing_of_a_training(run: RunDirectory) -> None:
    record = json.loads((run.root / "run.json").read_text())
    checkpoint = run.checkpoints / "a|b.ckpt"
    record["evaluated"] = str(checkpoint)
    record["stages"] = {
        "train": {"status": "finished", "evaluated": str(checkpoint), "test": {"test_loss": 0.25}, "mlflow_run_id": "x"}
    }
    (run.root / "run.json").write_text(json.dumps(record))
    (run.root / "metrics.jsonl").write_text(
        '{"stage": "train", "epoch": 0, "step": 0, "time": 1.8e9, "test_loss": 0.25}\n'
    )
    text = write_report(run).read_text()
    assert "| `test_loss` | 0.25 |" in text
    link = re.search(r"\*\*Evaluation\*\* of \[a\|b.ckpt\]\((.*)\)", text)
    assert link is not None
    assert (run.root / unquote(link[1])).resolve() == checkpoint.resolve()
    for absent in ("Metrics of", "--resume", "load_checkpoint=", "kept no best"):
        assert absent not in text


def test_a_stage_without_timings_has_no_table_of_them(run: RunDirectory) -> None:
    lines = [json.loads(line) for line in (run.root / "metrics.jsonl").read_text().splitlines()]
    kept = [json.dumps(line) for line in lines if "epoch_seconds" not in line]
    (run.root / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    text = write_report(run).read_text()
    assert "## Metrics of pretrain" in text
    assert "Time and memory" not in text


def test_the_command_line_begins_with_the_name_of_the_program(run: RunDirectory) -> None:
    run.update(argv=["/somewhere/bin/train_toy", "a=1", "b c=2"])
    assert "\ntrain_toy a=1 'b c=2'\n" in write_report(run).read_text()


def test_an_epoch_whose_seconds_are_not_known_counts_none(run: RunDirectory) -> None:
    lines = [json.loads(line) for line in (run.root / "metrics.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "epoch_seconds" in line)
    first["epoch_seconds"] = None
    (run.root / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "3.0 s in 3 epochs" in write_report(run).read_text()


def test_a_run_without_figures_or_git(run: RunDirectory) -> None:
    record = json.loads((run.root / "run.json").read_text())
    (run.root / "run.json").write_text(json.dumps(record | {"git": None}))
    text = write_report(replace(run, figures=run.root / "none")).read_text()
    assert "## Figures" not in text
    assert "git commit" not in text


def test_the_verdict_says_how_to_predict_and_what_the_test_rows_said(run: RunDirectory) -> None:
    run.update_stage("pretrain", test={"test_loss": 0.5, "test_auc/iris": 0.9}, test_side="val", stopped_early=True)
    text = write_report(run, WithVerb()).read_text()
    top = text[: text.index("## Figures")]
    assert "tabstar_lit predict 'a|b.ckpt' ROWS -o predictions.parquet" in top
    assert "score on the validation rows: there are no test rows | value |" in top
    assert "| `test_loss` | 0.5 |" in top
    assert "test_auc/iris" not in top
    assert "(12 steps, and stopped early)" in top
    assert "test_" not in text[text.index("## Metrics") :]


def test_many_epochs_are_thinned_to_a_page_with_the_best_among_them(run: RunDirectory) -> None:
    for epoch in range(3, 200):
        append(run.root, epoch, 4 * epoch + 4, val_loss=1.0)
    run.update_stage("pretrain", best_epoch=101)
    header = section(write_report(run).read_text(), "Metrics of pretrain")[0]
    assert header[0] == "epoch"
    assert (header[1], header[-1]) == ("0", "199")
    assert "101 (best)" in header
    assert len(header) == 10


def test_figures_stand_in_the_order_of_the_tracker_and_a_test_before_an_epoch(run: RunDirectory) -> None:
    (run.figures / "roc/iris/test.png").touch()
    (run.figures / "paper.pdf").touch()
    run.update_stage("pretrain", figures=["roc/wine", "gone", "roc/iris"])
    text = write_report(run).read_text()
    assert re.findall(r"(!?)\[([^]]*)\]\(\S*/([^/]*)\)", text[text.index("## Figures") : text.index("## Metrics")]) == [
        ("!", "roc/wine", "epoch_0002.png"),
        ("!", "roc/iris", "test.png"),
        ("!", "heat map", "heat%20map.png"),
        ("", "paper", "paper.pdf"),
    ]
