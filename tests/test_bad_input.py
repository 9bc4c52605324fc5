"""Bad input of every kind through the real commands: exit code 2, a message with the place, nothing left behind."""

from __future__ import annotations

import pickle
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checks import assert_refused
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.track import track
from tabstar_lit.commands.train import train_tabstar

SHIPPED = ("training_config.yaml", "model_config", "dataset_config")
TINY = ("model_config=tabstar/tiny", "dataset_config=tabstar/corpus", "experiment_config.run_name=run")
OPTIMIZER = "optimizer_name: AdamW"
ROWS = "".join(f"{i % 7}.5,{'red' if i % 3 else 'blue'},{'ab'[i % 2]},{i}\n" for i in range(60))
TABLE = f"size,color,kind,price\n{ROWS}"
MANIFEST = """\
- name: toys
  file: toys.csv
  target: kind
  task: classification
"""


def invoke(command: str, *arguments: str) -> Result:
    """Run a command in this process, as its console script would."""
    commands = {"train_tabstar": train_tabstar, "tabstar_lit": main, "track": track}
    return CliRunner().invoke(commands[command], arguments, catch_exceptions=False)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that holds an editable copy of the configuration; the tracking store is left out."""
    for name in SHIPPED:
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copyfile
        copy(repository / name, tmp_path / name)  # type: ignore[operator]  # two signatures that agree here
    config = tmp_path / "training_config.yaml"
    config.write_text(config.read_text().replace("tracker: auto", "tracker: none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def good_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus without a fault, made by the real command."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "toys.csv").write_text(TABLE)
    (folder / "m.yaml").write_text(MANIFEST)
    done = invoke("tabstar_lit", "convert", "tables", str(folder / "m.yaml"), "-o", str(folder / "corpus.h5"))
    assert done.exit_code == 0, done.output
    return folder / "corpus.h5"


# -- configuration -----------------------------------------------------------------------------------------------------

TRAINING, MODEL, DATA = "training_config.yaml", "model_config/tabstar/tiny.yaml", "dataset_config/tabstar/corpus.yaml"
CONFIG_MISTAKES = {
    # what was typed wrong: the file, its text, what stands there instead (the place of ^ is where it must be found)
    "unknown section": (TRAINING, "experiment_config:\n", "^experimentconfig: {}\nexperiment_config:\n", "unknown key"),
    "misspelt in experiment_config": (TRAINING, "seed: 42", "^sede: 42", "Did you mean 'seed'"),
    "misspelt in model_config": (MODEL, "name: TabSTAR", "name: TabSTAR\n^freezze: []", "Did you mean 'freeze'"),
    "misspelt in architecture": (MODEL, "interaction_heads", "^interaction_head", "Did you mean 'interaction_heads'"),
    "misspelt in text_encoder": (MODEL, "max_tokens", "^max_token", "Did you mean 'max_tokens'"),
    "misspelt in encoder sizes": (MODEL, "hidden_size", "^hiddensize", "Did you mean 'hidden_size'"),
    "misspelt in training_config": (MODEL, "max_epochs", "^max_epoch", "Did you mean 'max_epochs'"),
    "misspelt in optimizer": (MODEL, OPTIMIZER, f"{OPTIMIZER}\n    ^optimizer_parms: {{}}", "mean 'optimizer_params'"),
    "misspelt optimizer parameter": (MODEL, "weight_decay: ", "^weight_deca: ", "Did you mean 'weight_decay'"),
    "misspelt optimizer": (MODEL, OPTIMIZER, "^optimizer_name: AdamV", "'Adam'"),
    "misspelt loss": (MODEL, "loss: multitask", "^loss: multitsk", "'multitask'"),
    "misspelt in dataset_config": (DATA, "batch_size", "^batchsize", "Did you mean 'batch_size'"),
    "misspelt in dataloader_kwargs": (DATA, "num_workers", "^num_worker", "Did you mean 'num_workers'"),
    "misspelt in a stage": (
        TRAINING,
        "stages: [pretrain]",
        "stages: [pretrain]\n    stage_config: {pretrain: {experiment_config: {^sede: 1}}}",
        "'seed'",
    ),
    "text for a number": (TRAINING, "seed: 42", "^seed: forty-two", "expected a whole number"),
    "fraction for a count": (MODEL, "max_epochs: 2", "^max_epochs: 2.5", "expected a whole number, got the number 2.5"),
    "number in quotes": (DATA, "batch_size: 16", "^batch_size: '16'", "remove the quotes"),
    "list for a number": (MODEL, "gradient_clip_val: 1.0", "^gradient_clip_val: [1.0]", "expected a number"),
    "text for truth": (TRAINING, "log_system_metrics: false", "^log_system_metrics: no", "write true or false"),
    "text for a list": (DATA, "tables: null", "^tables: iris", "expected a list"),
    "text for a section": (MODEL, "training_config:", "^training_config: fast\nx:", "expected a mapping"),
    "out of range": (DATA, "batch_size: 16", "^batch_size: 0", "got the number 0"),
    "not among the choices": (DATA, "strategy: uniform", "^strategy: unifrom", "Did you mean 'uniform'"),
    "duplicate key": (MODEL, "max_epochs: 2", "max_epochs: 2\n  ^max_epochs: 3", "duplicate key 'max_epochs'"),
    "broken YAML": (MODEL, "max_epochs: 2", "max_epochs: [2", MODEL),
    "a tab": (MODEL, "  max_epochs: 2", "^\tmax_epochs: 2", MODEL),
}


def located(text: str, old: str, new: str) -> tuple[str, str]:
    """Return ``text`` with ``new`` for ``old``, and ``line:column`` of the mark in it, empty without a mark."""
    assert text.count(old) >= 1, f"{old!r} is no longer in the shipped file"
    broken = text.replace(old, new, 1)
    if "^" not in new:
        return broken, ""
    before = broken[: broken.index("^", text.index(old))]
    place = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    return before + broken[len(before) + 1 :], place


@pytest.mark.parametrize("case", CONFIG_MISTAKES)
def test_a_mistake_in_a_configuration_file_is_located(case: str, workplace: Path) -> None:
    file, old, new, words = CONFIG_MISTAKES[case]
    broken, place = located((workplace / file).read_text(), old, new)
    (workplace / file).write_text(broken)
    before = files(workplace)
    assert_refused(invoke("train_tabstar", *TINY), f"{file}:{place}", words)
    assert files(workplace) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model_config=tabstar/tinny",), "Did you mean 'tabstar/tiny'"),
        (("no_such_group=mlp",), "no_such_group"),
        (("experiment_config.sede=1",), "Did you mean 'seed'"),
        (("experiment_config.seed=one",), "expected a whole number, got the text 'one'"),
        (("seed",), "expected key=value"),
        (("experiment_config.run_name=a/b",), "cannot name a folder"),
        (("model_config.continue_training=true",), "needs load_checkpoint"),
        (("--config-dir", "nowhere"), "'nowhere' is not a directory"),
        (("--resume", "nosuch"), "No run 'nosuch'"),
        (("--resume",), "No run of train_tabstar"),
        (("--list", "modles"), "models"),
        (("--no-such-option",), "No such option"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments: tuple[str, ...], words: str, workplace: Path) -> None:
    before = files(workplace)
    assert_refused(invoke("train_tabstar", *arguments), words)
    assert files(workplace) == before


@pytest.mark.parametrize("content", ["", "# nothing but a comment\n", "- a\n- list\n", "\x00\x01", "just words"])
def test_a_configuration_file_that_is_none_is_named(content: str, workplace: Path) -> None:
    (workplace / MODEL).write_text(content)
    before = files(workplace)
    assert_refused(invoke("train_tabstar", *TINY), "tiny.yaml" if content.strip("# \n") else "model_config")
    assert files(workplace) == before


def test_all_mistakes_are_told_at_once(workplace: Path) -> None:
    for file, old, new in ((MODEL, "max_epochs", "max_epoch"), (DATA, "batch_size", "batchsize")):
        (workplace / file).write_text((workplace / file).read_text().replace(old, new))
    done = invoke("train_tabstar", *TINY, "experiment_config.seed=one")
    assert_refused(done, "'max_epochs'", "'batch_size'", "'one'")


# -- tables ------------------------------------------------------------------------------------------------------------

TABLE_MISTAKES = {
    "missing column": (MANIFEST.replace("kind", "knid"), TABLE, "no column 'knid'"),
    "missing ignored column": (MANIFEST + "  ignore: [sise]\n", TABLE, "no column 'sise'"),
    "missing file": (MANIFEST.replace("toys.csv", "toy.csv"), TABLE, "m.yaml:2:3: no file 'toy.csv'"),
    "misspelt key": (MANIFEST.replace("target", "tarjet"), TABLE, "m.yaml:3:3"),
    "duplicate key": (MANIFEST + "  task: regression\n", TABLE, "m.yaml:5:3"),
    "impossible task": (MANIFEST.replace("classification", "ranking"), TABLE, "m.yaml:4:3"),
    "one name twice": (MANIFEST + MANIFEST, TABLE, "m.yaml:5:3"),
    "manifest of nothing": ("", TABLE, "m.yaml"),
    "duplicate column names": (MANIFEST, TABLE.replace("color", "size"), "column name 'size' stands over columns 1, 2"),
    "constant target": (MANIFEST, re.sub(",[ab],", ",a,", TABLE), "target 'kind' is constant"),
    "constant number": (
        MANIFEST.replace("kind", "price").replace("classification", "regression"),
        re.sub(r",\d+\n", ",5\n", TABLE),
        "target 'price' is constant",
    ),
    "missing target value": (MANIFEST, TABLE.replace(",a,0\n", ",,0\n"), "target 'kind' is missing in 1 row (1)"),
    "NaN target value": (
        MANIFEST.replace("kind", "price").replace("classification", "regression"),
        TABLE.replace(",3\n", ",NaN\n"),
        "target 'price' is missing in 1 row (4)",
    ),
    "empty file": (MANIFEST, "", "toys.csv"),
    "header only": (MANIFEST, "size,color,kind,price\n", "toys.csv"),
    "a row too long": (MANIFEST, TABLE + "1,2,3,4,5\n", "toys.csv:62"),
    "not a table": (MANIFEST, "\x00\x01\x02", "toys.csv"),
}


@pytest.mark.parametrize("case", TABLE_MISTAKES)
def test_a_mistake_in_a_table_or_its_manifest_is_located(case: str, workplace: Path) -> None:
    manifest, table, words = TABLE_MISTAKES[case]
    (workplace / "m.yaml").write_text(manifest)
    (workplace / "toys.csv").write_text(table)
    before = files(workplace)
    assert_refused(invoke("tabstar_lit", "convert", "tables", "m.yaml", "-o", "c.h5"), words)
    assert files(workplace) == before


def test_a_missing_manifest_is_named(workplace: Path) -> None:
    assert_refused(invoke("tabstar_lit", "convert", "tables", "no.yaml", "-o", "c.h5"), "no.yaml")
    assert not (workplace / "c.h5").exists()


def test_odd_tables_are_accepted_and_trained(workplace: Path) -> None:
    """Fewer rows than a batch, a class with one row, a column without any value: a warning at most."""
    lines = TABLE.splitlines()
    (workplace / "few.csv").write_text("\n".join(lines[:12]))
    (workplace / "rare.csv").write_text("\n".join([*lines, "1.5,red,c,5"]))
    (workplace / "hole.csv").write_text("\n".join(line.replace("red", "").replace("blue", "") for line in lines))
    (workplace / "m.yaml").write_text("".join(MANIFEST.replace("toys", name) for name in ("few", "rare", "hole")))
    done = invoke("tabstar_lit", "convert", "tables", "m.yaml", "-o", "c.h5")
    assert done.exit_code == 0, done.output
    assert "table 'hole': column 'color' is left out" in done.stderr
    assert "table 'rare'" in done.stderr
    done = invoke(
        "train_tabstar", *TINY, "dataset_config.corpus=c.h5", "model_config.training_config.max_epochs=1",
        "experiment_config.plot_metrics_n_epoch=null",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (workplace / "runs/logs/tabstar_corpus/run/report.md").exists()


# -- files to train on and to load -------------------------------------------------------------------------------------


def truncated(good: Path, target: Path) -> None:
    target.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def text_file(good: Path, target: Path) -> None:
    target.write_text("not HDF5 at all")


CORPORA: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "missing": (lambda good, target: None, "wrong.h5"),
    "truncated": (truncated, "wrong.h5"),
    "empty": (lambda good, target: target.touch(), "wrong.h5"),
    "text": (text_file, "wrong.h5"),
    "folder": (lambda good, target: target.mkdir(), "wrong.h5"),
}


@pytest.mark.parametrize("option", [(), ("--check",)], ids=["train", "check"])
@pytest.mark.parametrize("kind", CORPORA)
def test_a_corpus_that_is_none_is_named(kind: str, option: tuple[str, ...], good_corpus: Path, workplace: Path) -> None:
    make, words = CORPORA[kind]
    make(good_corpus, workplace / "wrong.h5")
    assert_refused(invoke("train_tabstar", *option, *TINY, "dataset_config.corpus=wrong.h5"), words)
    assert not list(workplace.rglob("*.ckpt"))
    assert not option or not (workplace / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dataset_config.tables=[toy]", "Did you mean 'toys'"),
        ("dataset_config.exclude=[toys]", "exclude"),
        ("model_config.architecture_config.interaction_heads=5", "interaction_heads"),
        ("model_config.architecture_config.text_encoder.unfreeze_layers=9", "unfreeze_layers"),
        ("model_config.freeze=[tabular_encodr.*]", "tabular_encodr"),
        ("model_config.load_modules={cls_head: nowhere.ckpt}", "nowhere.ckpt"),
        ("model_config.load_modules={cls_haed: run.ckpt}", "cls_haed"),
        ("model_config.architecture_config.text_encoder.name=nobody/no-such-model", "To work offline"),
    ],
)
def test_a_setting_that_does_not_fit_data_or_network(
    setting: str, words: str, good_corpus: Path, workplace: Path
) -> None:
    done = invoke("train_tabstar", "--check", *TINY, f"dataset_config.corpus={good_corpus}", setting)
    assert_refused(done, words)
    assert not (workplace / "runs").exists()


class Bomb:
    """Touches a file when it is unpickled by a careless loader."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


@pytest.fixture(params=["missing", "empty", "text", "bare pickle bomb", "archived pickle bomb", "another model"])
def wrong_checkpoint(request: pytest.FixtureRequest, workplace: Path) -> Path:
    """Return the path of a file that must not be loaded."""
    path, bomb = workplace / "wrong.ckpt", Bomb(workplace / "EXECUTED")
    match request.param:
        case "empty":
            path.touch()
        case "text":
            path.write_text("not a checkpoint")
        case "bare pickle bomb":
            path.write_bytes(pickle.dumps({"state_dict": bomb}))
        case "archived pickle bomb":
            torch.save({"state_dict": bomb}, path)
        case "another model":
            torch.save({"state_dict": {"network.body.weight": torch.zeros(2, 3)}}, path)
    return path


@pytest.mark.parametrize("way", ["evaluate", "load_modules", "resume"])
def test_a_checkpoint_that_cannot_be_used_is_named(
    way: str, wrong_checkpoint: Path, good_corpus: Path, workplace: Path
) -> None:
    arguments = {
        "evaluate": [f"model_config.load_checkpoint={wrong_checkpoint}"],
        "load_modules": [f"model_config.load_modules={{cls_head: {wrong_checkpoint}}}"],
        "resume": ["--resume", str(wrong_checkpoint)],
    }[way]
    done = invoke("train_tabstar", *TINY, f"dataset_config.corpus={good_corpus}", *arguments)
    assert_refused(done, "wrong.ckpt")
    assert not (workplace / "EXECUTED").exists()
    assert not list(workplace.rglob("*_last.ckpt"))


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "experiment_config.save_dir",
        "experiment_config.tracker_path",
        "model_config.training_config.model_save_path",
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(key: str, good_corpus: Path, workplace: Path) -> None:
    """Below a regular file, since permissions do not hold back an administrator."""
    (workplace / "file").touch()
    done = invoke("train_tabstar", *TINY, f"dataset_config.corpus={good_corpus}", f"{key}={workplace / 'file'}/x")
    assert_refused(done, f"Cannot write to {workplace / 'file'}", key.rpartition(".")[2])
    assert not list(workplace.rglob("run.json"))


def test_an_output_that_cannot_be_written_to_is_named(workplace: Path) -> None:
    (workplace / "toys.csv").write_text(TABLE)
    (workplace / "m.yaml").write_text(MANIFEST)
    (workplace / "file").touch()
    assert_refused(invoke("tabstar_lit", "convert", "tables", "m.yaml", "-o", "file/c.h5"), "file/c.h5")


def test_a_port_in_use_is_refused(workplace: Path) -> None:
    database = workplace / "runs/logs/mlruns/mlflow.db"
    database.parent.mkdir(parents=True)
    database.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_refused(invoke("track", "-p", str(port)), f"Port {port}", "address already in use", "track -p")
