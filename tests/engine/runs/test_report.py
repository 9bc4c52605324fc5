from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from runs_fixture import write_run

from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.report import write_report


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
    assert section(text, "Metrics per epoch") == [
        ["epoch", "lr", "train_loss", "val_loss"],
        ["---"] * 4,
        ["0", "0.001", "1", "2.1"],
        ["1", "0.001", "0.5", "1.1"],
        ["2", "0.001", "0.33333", "0.1"],
    ]
    assert section(text, "By source")[2:] == [["iris", "val_auc", "0.5", "0.7", "2"]]
    assert section(text, "Time and memory per epoch")[2:] == [
        ["0", "1.5", "200"],
        ["1", "1.5", "201"],
        ["2", "1.5", "202"],
    ]
    assert "4.5 s in 3 epochs; at most 202 MiB" in text
    assert dict(section(text, "Stage pretrain")[2:])["best val_loss"] == "0.1"
    assert ["torch", "2.13.0"] in section(text, "Versions")
    assert ["git commit", "c0ffee (with changes)"] in section(text, "Versions")
    assert ["`model_config.training_config.optimizer.optimizer_name`", "AdamW"] in section(text, "Configuration")
    assert dict(section(text, "Stage pretrain")[2:])["data fingerprint"] == "f00d"
    assert "train_tabstar --resume RUN_DIRECTORY" in text


def test_what_is_to_be_doubted_stands_beside_the_result(run: RunDirectory) -> None:
    assert "To look at" not in write_report(run).read_text()
    run.update_stage("pretrain", notes=["1 of 2 heads is lost."])
    text = write_report(run).read_text()
    assert (
        text.index("## Stage pretrain")
        < text.index("**To look at:** 1 of 2 heads is lost.\n")
        < text.index("### Metrics")
    )


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
    rows = dict(section(text, "Evaluation")[2:])
    assert (rows["status"], rows["test: test_loss"], rows["configured as stage"]) == ("finished", "0.25", "train")
    link = re.search(r"\]\((.*)\)", rows["checkpoint"])
    assert link is not None
    assert (run.root / unquote(link[1])).resolve() == checkpoint.resolve()
    for absent in ("Stage train", "per epoch", "--resume", "load_checkpoint="):
        assert absent not in text


def test_a_stage_without_timings_has_no_table_of_them(run: RunDirectory) -> None:
    lines = [json.loads(line) for line in (run.root / "metrics.jsonl").read_text().splitlines()]
    kept = [json.dumps(line) for line in lines if "epoch_seconds" not in line]
    (run.root / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    text = write_report(run).read_text()
    assert "Metrics per epoch" in text
    assert "Time and memory" not in text


def test_a_run_without_figures_or_git(run: RunDirectory) -> None:
    record = json.loads((run.root / "run.json").read_text())
    (run.root / "run.json").write_text(json.dumps(record | {"git": None}))
    bare = SimpleNamespace(root=run.root, figures=run.root / "none", checkpoints=run.checkpoints, write=run.write)
    text = write_report(bare).read_text()  # type: ignore[arg-type]  # the four attributes it uses
    assert "## Figures" not in text
    assert "git commit" not in text
