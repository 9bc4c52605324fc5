"""Every shipped network of `train_signal` on every shipped data set: trained where they fit, else refused."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
from pathlib import Path

import h5py
import pytest
import torch
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_signal
from tabstar_lit.families.hep.events.toys import toy_events
from tabstar_lit.families.hep.networks.build import FLAT_NETWORKS, JAGGED_NETWORKS

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS, DATASETS = (
    [f"signal/{path.stem}" for path in sorted((REPOSITORY / group / "signal").glob("*.yaml"))]
    for group in ("model_config", "dataset_config")
)
READS_EVENTS = {"signal/mlp", "signal/resnet", "signal/event_transformer", "signal/tabstar"}
READS_OBJECTS = {"signal/builtin", "signal/set_transformer", "signal/particle_transformer"}
WITHOUT_OBJECTS = {"signal/events", "signal/higgsml", "signal/higgs_uci"}
N_EVENTS = 500
SHORT = (
    "dataset_config.dataloader_kwargs.batch_size=256",
    "model_config.training_config.max_epochs=1",
    "experiment_config.accelerator=cpu",
    "experiment_config.tracker=none",
    "experiment_config.log_every_n_steps=1",
    "experiment_config.plot_metrics_n_epoch=null",
)
"""One epoch, which has two steps with so few events."""


def fits(pair: tuple[str, str]) -> bool:
    model, dataset = pair
    return model not in (READS_OBJECTS if dataset in WITHOUT_OBJECTS else READS_EVENTS)


def named(pair: tuple[str, str]) -> str:
    return "-".join(name.removeprefix("signal/") for name in pair)


PAIRS = list(itertools.product(MODELS, DATASETS))
FITTING = [pair for pair in PAIRS if fits(pair)]
OTHER = [pair for pair in PAIRS if not fits(pair)]
FLAT = [pair for pair in OTHER if pair[0] in READS_EVENTS]


def train(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(train_signal, arguments, catch_exceptions=False)


def convert(example: str, folder: Path) -> None:
    """Convert a source beside a copy of its example, as the first lines of the shipped data set say."""
    shutil.copyfile(REPOSITORY / "examples/events" / f"{example}.yaml", folder / f"{example}.yaml")
    arguments = ["convert", "events", str(folder / f"{example}.yaml"), "-o", str(folder / f"data/{example}.h5")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to work in, with toy events under the name the default looks for."""
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def toy_file(folder: Path) -> Path:
    return toy_events(folder / "few.h5", N_EVENTS).path


@pytest.fixture(scope="module")
def real_files(folder: Path, shared_data: Path) -> None:
    """Make small files of real events under the names that the shipped data sets look for."""
    for table in ("higgsml_atlas.csv.gz", "higgs_uci.csv.gz"):
        with gzip.open(shared_data / "hep" / table, "rt") as source, gzip.open(folder / table, "wt") as target:
            target.writelines(itertools.islice(source, N_EVENTS + 1))
    name = "pythia_top_qcd_jets.h5"
    with h5py.File(shared_data / "hep" / name) as source, h5py.File(folder / name, "w") as target:
        last = source["constituents/offsets"][N_EVENTS]
        for key, column in source["constituents"].items():
            target[f"constituents/{key}"] = column[: N_EVENTS + 1 if key == "offsets" else last]
        for key, column in source["jets"].items():
            target[f"jets/{key}"] = column[:N_EVENTS]
    for example in ("higgsml", "higgs_uci", "jets"):
        convert(example, folder)


@pytest.fixture
def choose(request: pytest.FixtureRequest, toy_file: Path) -> tuple[str, ...]:
    """Return the arguments that choose a pair of files, whose events are there then."""
    model, dataset = request.param
    if dataset != "signal/toy":
        request.getfixturevalue("real_files")
    files = {"signal/toy": toy_file, "signal/events": "higgsml.h5"}
    own = (f"dataset_config.files={files[dataset]}",) if dataset in files else ()
    return (f"model_config={model}", f"dataset_config={dataset}", *own)


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in that folder."""
    monkeypatch.chdir(folder)


def filed_under(choose: tuple[str, ...]) -> str:
    """Return the experiment of a pair of files: own events in place of the toys give it their name."""
    dataset = choose[1].removeprefix("dataset_config=signal/")
    return "signal_few" if dataset == "toy" else f"signal_{dataset}"


def assert_trained(folder: Path, experiment: str, run_name: str) -> None:
    """Two steps were made, the events were scored, and the best checkpoint is on disk, filed under the data set."""
    place = Path(experiment, run_name)
    run = folder / "runs/logs" / place
    stage = json.loads((run / "run.json").read_text())["stages"]["train"]
    assert (stage["status"], stage["steps"], stage["monitor"]) == ("finished", 2, "val_auroc")
    assert 0 <= stage["best_score"] <= 1
    best = folder / "runs/models/checkpoints" / place / stage["best_checkpoint"]
    content = torch.load(best, weights_only=True)
    assert content["tabstar_lit"]["payload"]["family"] == "signal"
    assert all(bool(values.isfinite().all()) for values in content["state_dict"].values())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"train_loss_step", "train_loss", "val_loss", "val_auroc"} <= {name for line in lines for name in line}
    assert (run / "report.md").exists()


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("choose", "name"), [(pair, named(pair)) for pair in FITTING], indirect=["choose"], ids=map(named, FITTING)
)
def test_a_network_trains_on_a_data_set_that_fits(choose: tuple[str, ...], name: str, folder: Path) -> None:
    before = files(folder)
    checked = train("--check", *choose, *SHORT)
    assert checked.exit_code == 0, checked.output
    assert "gradient norm" in checked.stdout
    assert files(folder) == before
    done = train(*choose, *SHORT, f"experiment_config.run_name={name}")
    assert done.exit_code == 0, done.output
    assert_trained(folder, filed_under(choose), name)


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (pair, ("reads event features only", "has objects") if pair[0] in READS_EVENTS else ("needs objects",))
        for pair in OTHER
    ],
    indirect=["choose"],
    ids=map(named, OTHER),
)
@pytest.mark.parametrize("option", [(), ("--check",)], ids=["train", "check"])
def test_a_network_is_refused_for_features_it_cannot_read(
    choose: tuple[str, ...], words: tuple[str, ...], option: tuple[str, ...], folder: Path
) -> None:
    before = files(folder)
    done = train(*option, *choose, *SHORT, "experiment_config.run_name=refused")
    assert done.exit_code == 2, done.output
    for word in (*words, "Networks for these features"):
        assert word in done.stderr
    assert "Traceback" not in done.output
    assert not list(folder.rglob("refused_*.ckpt"))
    assert not option or files(folder) == before
    for left in folder.glob("runs/logs/*/refused"):
        shutil.rmtree(left)


@pytest.mark.parametrize(
    ("choose", "name"), [(pair, f"flat-{named(pair)}") for pair in FLAT], indirect=["choose"], ids=map(named, FLAT)
)
def test_a_network_of_event_features_trains_once_objects_are_left_out(
    choose: tuple[str, ...], name: str, folder: Path
) -> None:
    flat = ("dataset_config.features=['*']", "dataset_config.max_objects=null", "dataset_config.order_by={}")
    done = train(*choose, *flat, *SHORT, f"experiment_config.run_name={name}")
    assert done.exit_code == 0, done.output
    assert_trained(folder, filed_under(choose), name)


def test_the_default_generates_toys_and_trains(folder: Path) -> None:
    """Nothing is chosen: what a newcomer gets who types the command alone, only shorter."""
    large = "dataset_config.dataloader_kwargs.batch_size=15000"
    done = train(*SHORT, large, "experiment_config.run_name=default")
    assert done.exit_code == 0, done.output
    assert_trained(folder, "signal_toy", "default")
    assert (folder / "data/signal_toy.h5").exists()


def test_networks_and_losses_are_listed() -> None:
    models = train("--list", "models")
    assert models.exit_code == 0, models.output
    assert {line.split()[0] for line in models.stdout.splitlines()} == {*FLAT_NETWORKS, *JAGGED_NETWORKS}
    losses = train("--list", "losses")
    assert losses.exit_code == 0, losses.output
    assert {"bce", "ce", "mse", "sigmoid_focal", "multiclass_focal", "focalloss"} <= set(losses.stdout.lower().split())
