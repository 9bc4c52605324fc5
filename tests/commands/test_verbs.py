"""``tabstar_lit predict``, ``calibrate``, ``export`` and evaluation as typed, on a classifier trained for a moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_signal

TRAIN = (
    "model_config=signal/mlp",
    "model_config.architecture_config.n_hidden=8",
    "model_config.architecture_config.n_layers=1",
    "model_config.training_config.max_epochs=3",
    "dataset_config.dataloader_kwargs.batch_size=32",
    "dataset_config.features=[met,n_jets,ht]",
    "dataset_config.files=toy.h5",
    "experiment_config.run_name=run",
    "experiment_config.experiment_name=toys",
    "experiment_config.tracker=none",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a working directory with events and a run of ``train_signal``, without the tracking service."""
    from tabstar_lit.families.hep.events.toys import toy_events

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("signal"))
        toy_events(Path("toy.h5"), 1500)
        done = CliRunner().invoke(train_signal, [*TRAIN, "experiment_config.plot_metrics_n_epoch=null"])
        assert done.exit_code == 0, done.output
        yield Path.cwd()


@pytest.fixture
def here(folder: Path) -> Path:
    return folder


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_predict_by_name(here: Path) -> None:
    done = typed("predict", "run_last", "toy.h5", "-o", "out/scores.parquet", "--split", "test", "--spectators")
    assert done.exit_code == 0, done.output
    assert "wrote out/scores.parquet: scores of " in done.stdout
    assert (here / "out" / "scores.parquet").exists()


def test_the_checkpoint_is_found_behind_options(here: Path) -> None:
    """Options with values before it, as a shell's history has them."""
    done = typed("predict", "-o", "first.parquet", "--split", "test", "--batch-size", "7", "run_last", "toy.h5")
    assert done.exit_code == 0, done.output
    assert (here / "first.parquet").exists()


def test_calibrate_then_use_what_it_wrote(here: Path) -> None:
    done = typed("calibrate", "run_last", "-m", "matrix")
    assert done.exit_code == 0, done.output
    assert "with two classes, matrix and vector scaling are the same" in done.stdout
    assert "ECE before" in done.stdout
    assert "run_last_calibrated.ckpt" in done.stdout
    assert typed("predict", "run_last_calibrated", "toy.h5", "-o", "calibrated.parquet").exit_code == 0
    exported = typed("export", "run_last_calibrated", "--safetensors", "-o", "model.safetensors")
    assert exported.exit_code == 0, exported.output


def test_evaluation_of_a_calibrated_checkpoint(here: Path) -> None:
    """The test stage gives metrics, figures and a report, and the loss that calibration printed for these events."""
    printed = typed("calibrate", "run_last", "-o", "scaled.ckpt").stdout
    after = float(next(line for line in printed.splitlines() if line.startswith("test")).split()[3])
    overrides = ["experiment_config.run_name=evaluated", "model_config.load_checkpoint=scaled.ckpt"]
    done = CliRunner().invoke(train_signal, [*TRAIN, *overrides])
    assert done.exit_code == 0, done.output
    root = here / "runs/logs/toys/evaluated"
    (stage,) = json.loads((root / "run.json").read_text())["stages"].values()
    assert stage["test"]["test_loss"] == pytest.approx(after, abs=1e-5)
    assert 0 < stage["test"]["test_auroc"] <= 1
    assert list((here / "runs/results/toys/evaluated").rglob("*.png"))
    assert "test_auroc" in (root / "report.md").read_text()


def test_export(here: Path) -> None:
    done = typed("export", "run_last", "--onnx", "--raw", "-o", "model.onnx")
    assert done.exit_code == 0, done.output
    assert "onnxruntime and torch agree to" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("predict", "run_lost", "toy.h5", "-o", "x"), "There is no checkpoint 'run_lost'"),
        (("predict", "run_last", "lost.h5", "-o", "x"), "lost.h5"),
        (("predict", "run_last", "table.csv", "-o", "x"), "table.csv"),
        (("predict", "run_last", "toy.h5", "-o", "x", "--split", "tset"), "Did you mean 'test'?"),
        (("predict", "other.ckpt", "toy.csv", "-o", "x"), "other.ckpt keeps no architecture_config"),
        (
            ("calibrate", "other.ckpt"),
            "of the family tabstar, for which there is no 'calibrate'. Families with it: signal",
        ),
        (("export", "foreign.ckpt", "-o", "x"), "foreign.ckpt does not say of which family it is"),
        (("export", "stranger.ckpt", "-o", "x"), "a checkpoint of the family waves. There is no family 'waves'"),
        (
            ("predict", "run_last", "toy.h5", "-o", "x", "--table", "iris"),
            "--table is an option for checkpoints of tabstar",
        ),
        (("predict", "--spectators", "other.ckpt", "t.csv", "-o", "x"), "and other.ckpt is one of tabstar"),
        (("predict", "run_last", "toy.h5", "-o", "x", "--tabel", "iris"), "No such option '--tabel'"),
        (("predict", "-o", "x"), "Missing argument 'CHECKPOINT'"),
        (("predict", "run_last", "-o", "x"), "Missing argument 'DATA'"),
        (("predict", "run_last", "toy.h5"), "Missing option '-o'"),
        (("export", "toy.h5", "-o", "x"), "toy.h5 is not a usable checkpoint"),
        (("calibrate", "run_last", "--split", "all"), "name it with --data"),
        (("calibrate", "run_last", "-m", "platt"), "'platt' is not one of"),
        (("export", "run_last", "--safetensors", "--raw", "-o", "x"), "--raw puts the scaling into a graph"),
    ],
)
def test_mistakes_end_with_code_2_and_leave_nothing(here: Path, arguments: tuple[str, ...], words: str) -> None:
    (here / "table.csv").write_text("met,ht\n1,2\n")
    torch.save({"tabstar_lit": {"schema_version": 1, "payload": {"family": "tabstar"}}}, here / "other.ckpt")
    torch.save({"tabstar_lit": {"schema_version": 1, "payload": {"family": "waves"}}}, here / "stranger.ckpt")
    torch.save({"state_dict": {}}, here / "foreign.ckpt")
    done = typed(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (here / "x").exists()


def test_help_tells_what_each_family_takes() -> None:
    done = typed("predict", "--help")
    assert done.exit_code == 0
    _, *parts = done.stdout.split("For checkpoints of ")
    told = {part.partition(":")[0]: part for part in parts}
    assert "--table" in told["tabstar"]
    assert "--split" not in told["tabstar"]
    assert "--spectators" in told["signal"]
    assert "predict [OPTIONS] CHECKPOINT EVENTS" in told["fakes"]
    assert typed("predict", "no_such_checkpoint", "--help").stdout == done.stdout


def test_help_is_light(tmp_path: Path) -> None:
    script = (
        "import sys; from tabstar_lit.commands.cli import main\n"
        "for verb in ('predict', 'calibrate', 'export'):\n"
        "    try: main([verb, '--help'])\n"
        "    except SystemExit: pass\n"
        "print('HEAVY', [name for name in ('torch', 'numpy', 'h5py', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "temperature|vector|matrix" in done.stdout
    assert "HEAVY []" in done.stdout
