"""Bad input to `train_experts` and its verbs: exit code 2, a message with place and remedy, nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from checks import assert_refused
from click.testing import CliRunner, Result
from hand_made_texts import trees, write_texts
from trained_experts import DOMAINS, SHORT, best_checkpoints, train, write_trees

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_experts

FIFTY_MB = 50 * 2**20
OTHER_TOKENIZER = ("was trained with another tokenizer", "bytes of 259 tokens", "tabstar_lit convert text")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a transformer."""
    folder = tmp_path_factory.mktemp("trained")
    write_trees(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = train("stages=[transformer]")
    assert done.exit_code == 0, done.output
    return best_checkpoints(folder)["transformer"]


def invoke(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def files() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{'text': 'quoted as Python'}", "is not JSON"),
    "no text": (b'{"source": "nowhere"}', "has no key 'text'"),
    "a number": (b'{"text": 3.5}', "'text' is a number, 3.5, not a string"),
    "no UTF-8": (b'{"text": "caf\xe9"}', "byte 13 (0xe9) is not UTF-8"),
    "50 MB": (b'{"text": "' + b"y" * FIFTY_MB, "the line is longer than 16 MiB"),
}


@pytest.mark.parametrize("bad", BAD_LINES)
@pytest.mark.parametrize("way", ["convert", "train"])
def test_a_bad_line_is_named(bad: str, way: str) -> None:
    write_texts(Path("texts"), DOMAINS)
    line, words = BAD_LINES[bad]
    with Path("texts/wood/wood.jsonl").open("ab") as file:
        file.write(line + b"\n")
    before = files()
    if way == "convert":
        done = invoke(main, "convert", "text", "texts", "-o", "corpus.h5")
        place = "texts/wood/wood.jsonl:41"
    else:
        done = train("stages=[transformer]", "--check")
        place = "texts/wood/wood.jsonl:41"
    assert_refused(done, place, words)
    assert files() == before
    assert len(done.stderr) < 2000


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, ("texts", "no such folder", "ROOT/<domain>/*.jsonl")),
        (lambda: Path("texts").mkdir(), ("there is no domain in it",)),
        (lambda: Path("texts/void").mkdir(parents=True), ("the domain 'void' has no *.jsonl file",)),
        (lambda: write_texts(Path("texts"), {"void": []}), ("the domain 'void' has no document", "void.jsonl")),
        (
            lambda: shutil.copy(write_texts(Path("texts"), DOMAINS) / "wood/wood.jsonl", "texts/stray.jsonl"),
            ("stray.jsonl stands in no domain",),
        ),
        (lambda: Path("texts").write_text("a file"), ("texts: is a file",)),
    ],
)
def test_a_root_without_domains_is_refused(make: Any, words: tuple[str, ...]) -> None:
    make()
    before = files()
    assert_refused(invoke(main, "convert", "text", "texts", "-o", "corpus.h5"), *words)
    assert files() == before


def test_two_tokenizers_are_one_too_many() -> None:
    write_texts(Path("texts"), DOMAINS)
    done = invoke(main, "convert", "text", "texts", "-o", "c.h5", "--tokenizer", "bytes", "--train-bpe", "300")
    assert_refused(done, "give one of them")
    assert_refused(invoke(main, "convert", "text", "texts", "-o", "c.h5", "--train-bpe", "9"), "too small: 259")
    assert_refused(invoke(main, "convert", "text", "texts", "-o", "c.h5", "--tokenizer", "no/such"), "Use 'bytes'")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["dataset_config.corpus=none.h5"], ["dataset_config.corpus: none.h5: no such file", "convert text"]),
        (["dataset_config.domains=[wod]"], ["has no domain 'wod'", "Did you mean 'wood'"]),
        (["dataset_config.val_split=1.0"], ["dataset_config.val_split"]),
        (["dataset_config.documents=paked"], ["dataset_config.documents", "packed"]),
        (["dataset_config.contxt_length=9"], ["unknown key 'contxt_length'", "context_length"]),
        (["dataset_config.rows_per_epoch=1"], ["gets none of the 1 rows of an epoch"]),
        (["dataset_config.documents=joined", "dataset_config.context_length=4096"], ["less than two rows of 4096"]),
        (["dataset_config.tokenizer=nowhere/at-all"], ["tokenizer 'nowhere/at-all'", "Use 'bytes'"]),
        (["model_config.training_config.loss=ce"], ["training_config.loss", "follows from the role"]),
        (["stage_config.transformer.model_config.role=null"], ["model_config", "role", "transformer"]),
        (["stages=[pretrain]"], ["does not say what it trains"]),
    ],
)
def test_a_bad_configuration_is_refused_before_training(overrides: list[str], words: list[str]) -> None:
    write_texts(Path("texts"), DOMAINS)
    stages = [] if any(o.startswith("stages") for o in overrides) else ["stages=[transformer]"]
    assert_refused(train(*stages, *overrides), *words)
    assert not list(Path().rglob("*.ckpt"))


def test_a_file_that_is_no_corpus_is_refused() -> None:
    Path("other.h5").write_text("no HDF5")
    assert_refused(train("stages=[transformer]", "dataset_config.corpus=other.h5"), "other.h5", "is not an HDF5 file")


def test_a_checkpoint_of_another_tokenizer_is_refused(checkpoint: Path) -> None:
    write_texts(Path("texts"), DOMAINS)
    converted = invoke(main, "convert", "text", "texts", "-o", "bpe.h5", "--train-bpe", "270")
    assert converted.exit_code == 0, converted.output
    here = ("stages=[transformer]", "dataset_config.corpus=bpe.h5")
    assert_refused(train(*here, f"model_config.load_checkpoint={checkpoint}"), *OTHER_TOKENIZER)
    assert train("stages=[transformer]", "experiment_config.run_name=mine").exit_code == 0
    own = next(Path().rglob("mine*last.ckpt"))
    more = ("model_config.continue_training=true", "model_config.training_config.max_epochs=2")
    done = train(*here, f"model_config.load_checkpoint={own}", *more)
    assert_refused(done, *OTHER_TOKENIZER)


def test_a_checkpoint_of_the_same_vocabulary_and_another_tokenizer_is_refused(checkpoint: Path) -> None:
    write_texts(Path("texts"), DOMAINS)
    payload = torch.load(checkpoint, weights_only=True)
    payload["tabstar_lit"]["payload"]["tokenizer"]["end"] = False
    torch.save(payload, "other.ckpt")
    done = train("stages=[transformer]", "model_config.load_checkpoint=other.ckpt")
    assert_refused(done, *OTHER_TOKENIZER)


def test_wrong_checkpoints_are_refused(checkpoint: Path) -> None:
    write_texts(Path("texts"), DOMAINS)
    Path("noise.ckpt").write_bytes(b"noise" * 100)
    Path("x.jsonl").write_text('{"text": "x"}\n')
    for name, words in (("noise.ckpt", ("noise.ckpt",)), ("none.ckpt", ("none.ckpt",))):
        assert_refused(invoke(main, "generate", name, "once"), *words)
        assert_refused(invoke(main, "predict", name, "x.jsonl", "-o", "p.parquet"), *words)
        assert_refused(train("stages=[transformer]", f"model_config.load_checkpoint={name}"), *words)
    wider = train(
        "stages=[transformer]",
        "model_config.architecture_config.width=32",
        f"model_config.load_checkpoint={checkpoint}",
    )
    assert_refused(wider, "do not fit the network", "embedding.weight")
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["network.embedding.weight"][3, 3] = float("nan")
    torch.save(content, "nan.ckpt")
    assert_refused(invoke(main, "generate", "nan.ckpt", "once"), "nan.ckpt")
    assert not Path("p.parquet").exists()


def test_options_of_writing_have_bounds(checkpoint: Path) -> None:
    for option, value, words in (
        ("--temperature", -1, "temperature is -1.0"),
        ("--top-k", 0, "top_k is 0"),
        ("--top-p", 1.5, "top_p is 1.5"),
        ("--seed", -2, "seed is -2"),
        ("--device", "quantum", "--device quantum"),
    ):
        assert_refused(invoke(main, "generate", checkpoint, "once", option, value), words)


@pytest.mark.parametrize("bad", [name for name in BAD_LINES if name != "50 MB"])
def test_bad_documents_are_not_predicted(checkpoint: Path, bad: str) -> None:
    line, words = BAD_LINES[bad]
    Path("x.jsonl").write_bytes(b'{"text": "good"}\n' + line)
    assert_refused(invoke(main, "predict", checkpoint, "x.jsonl", "-o", "p.parquet"), "x.jsonl:2", words)
    assert files() == {"x.jsonl"}


def test_nothing_to_predict_is_refused(checkpoint: Path) -> None:
    Path("x.jsonl").write_text("\n")
    assert_refused(invoke(main, "predict", checkpoint, "x.jsonl", "-o", "p.parquet"), "there is no document in it")
    assert_refused(invoke(main, "predict", checkpoint, "y.jsonl", "-o", "p.parquet"), "y.jsonl: no such file or folder")


def test_a_check_leaves_nothing_behind() -> None:
    before = files()
    done = invoke(train_experts, *SHORT[1:], "dataset_config.context_length=32", "stages=[transformer]", "--check")
    assert done.exit_code == 0, done.output
    assert files() == before
    write_texts(Path("texts"), {"wood": trees(30)})
    before = files()
    assert train("stages=[transformer]", "--check").exit_code == 0
    assert files() == before


def test_a_checkpoint_of_another_family_has_no_texts(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["tabstar_lit"]["payload"]["family"] = "signal"
    torch.save(content, "signal.ckpt")
    assert_refused(invoke(main, "generate", "signal.ckpt", "once"), "family signal, for which there is no 'generate'")
