"""The package in docs/architecture.md, built and installed as its author would: it trains, stops, resumes, predicts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from checks import assert_equal

from tabstar_lit.engine.runs.records import COSTS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "architecture.md"
FILE = re.compile(r'^```\w+ title="(?P<path>[^"]+)"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
SETTINGS = (
    "experiment_config.run_name=run",
    "experiment_config.accelerator=cpu",
    "model_config.training_config.max_epochs=40",
)
MACHINE = {"time", *COSTS}

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write the package of the page, build and install it without a network, and return what finds it."""
    source, target = tmp_path_factory.mktemp("waves"), tmp_path_factory.mktemp("installed")
    for match in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (source / match["path"]).parent.mkdir(parents=True, exist_ok=True)
        (source / match["path"]).write_text(match["text"])
    (source / "src/waves/__init__.py").touch()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", source], cwd=source, check=True)
    (wheel,) = source.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    path = os.pathsep.join([str(target), str(REPOSITORY / "src")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WAVES": str(target / "bin" / "train_waves")}


@pytest.fixture(scope="module")
def typed(environment: dict[str, str]) -> Typed:
    """Run ``train_waves`` or ``tabstar_lit`` in a folder, and return what it printed."""

    def run(folder: Path, name: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = words(environment, name, *arguments)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def words(environment: dict[str, str], name: str, *arguments: str) -> list[str]:
    """Return a command line: the script that pip made, or the program's own."""
    if name == "train_waves":
        return [sys.executable, environment["WAVES"], *arguments]
    return [
        sys.executable,
        "-c",
        "from tabstar_lit.commands.cli import main; main(prog_name='tabstar_lit')",
        *arguments,
    ]


@pytest.fixture(scope="module")
def unbroken(typed: Typed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    typed(folder, "train_waves", *SETTINGS)
    return folder


def content(folder: Path) -> dict[str, Any]:
    path = folder / "runs/models/checkpoints/waves/run/run_last.ckpt"
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def logged(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "runs/logs/waves/run/metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in MACHINE} for line in lines]


def stop(process: subprocess.Popen[str], metrics: Path) -> None:
    """Wait until the third epoch has been logged, and terminate the run."""
    while process.poll() is None and '"epoch": 2' not in (metrics.read_text() if metrics.exists() else ""):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143, process.communicate()


def test_a_stopped_run_ends_as_an_unbroken_one(
    unbroken: Path, typed: Typed, environment: dict[str, str], tmp_path: Path
) -> None:
    command = words(environment, "train_waves", *SETTINGS)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    stop(process, tmp_path / "runs/logs/waves/run/metrics.jsonl")
    assert len({line["epoch"] for line in logged(tmp_path)}) < 40
    typed(tmp_path, "train_waves", "--resume")
    ours, theirs = content(tmp_path), content(unbroken)
    assert ours["epoch"] == theirs["epoch"]
    for part in ("state_dict", "optimizer_states"):
        assert_equal(ours[part], theirs[part])
    assert logged(tmp_path) == logged(unbroken)


def test_the_run_shows_and_has_its_report_and_figures(unbroken: Path, typed: Typed) -> None:
    listed = typed(unbroken, "tabstar_lit", "runs", "list").stdout
    assert re.search(r"waves/run\s+finished\s+train\s+40\s+val_rmse", listed)
    assert "val_rmse over steps" in typed(unbroken, "tabstar_lit", "runs", "show", "run").stdout
    assert "val_rmse" in (unbroken / "runs/logs/waves/run/report.md").read_text()
    assert list((unbroken / "runs/results/waves/run").rglob("curve*"))
    assert [line["val_rmse"] for line in logged(unbroken) if "val_rmse" in line][-1] < 0.3


def test_its_checkpoints_predict(unbroken: Path, typed: Typed, environment: dict[str, str]) -> None:
    pd.DataFrame({"x": [-1.5, 0.0, 1.5]}).to_csv(unbroken / "points.csv", index=False)
    done = typed(unbroken, "tabstar_lit", "predict", "run_last", "points.csv", "-o", "out.csv")
    assert "wrote out.csv: 3 points" in done.stdout
    predicted = pd.read_csv(unbroken / "out.csv")["y"]
    assert predicted.tolist() == pytest.approx([-1, 0, 1], abs=0.35)
    code = (
        "import pandas as pd, tabstar_lit; model = tabstar_lit.load('run_last'); "
        "print(model.family, *model.predict(pd.read_csv('points.csv'))['y'])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=unbroken, env=environment, capture_output=True, check=True
    )
    family, *values = printed.stdout.decode().split()
    assert family == "waves"
    assert [float(value) for value in values] == pytest.approx(predicted.tolist(), abs=1e-6)


def test_options_of_others_are_refused(unbroken: Path, typed: Typed) -> None:
    done = typed(unbroken, "tabstar_lit", "predict", "run_last", "points.csv", "-o", "x", "--device", "cpu", code=2)
    assert "--device is an option for checkpoints of tabstar and signal" in done.stderr
    assert "and run_last is one of waves" in done.stderr
    assert "no 'export'" in typed(unbroken, "tabstar_lit", "export", "run_last", "-o", "x", code=2).stderr


def test_its_commands_are_listed_and_light(typed: Typed, environment: dict[str, str], tmp_path: Path) -> None:
    assert "train_waves" in typed(tmp_path, "tabstar_lit", "--help").stdout
    assert "For checkpoints of waves" in typed(tmp_path, "tabstar_lit", "predict", "--help").stdout
    assert "Curve  one hidden layer" in typed(tmp_path, "train_waves", "--list", "models").stdout
    assert "noisy points of a sine" in typed(tmp_path, "train_waves", "--help").stdout
    code = (
        "import sys; from tabstar_lit.commands.train import train_waves\n"
        "try: train_waves(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'pydantic', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_its_configuration_is_checked_copied_out_and_found_again(typed: Typed, tmp_path: Path) -> None:
    wrong = typed(tmp_path, "train_waves", "dataset_config.n_pints=3", code=2)
    assert "Did you mean 'n_points'" in wrong.stderr
    assert "everything fits" in typed(tmp_path, "train_waves", "--check").stdout
    assert list(tmp_path.iterdir()) == []
    typed(tmp_path, "tabstar_lit", "init")
    assert "max_epochs: 5" in typed(tmp_path, "train_waves", "--print-config").stdout
    edited = tmp_path / "waves/model_config/waves/small.yaml"
    edited.write_text(edited.read_text().replace("max_epochs: 5", "max_epochs: 7"))
    assert "max_epochs: 7" in typed(tmp_path, "train_waves", "--print-config").stdout
