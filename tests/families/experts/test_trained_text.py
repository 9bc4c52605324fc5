"""Checkpoints by themselves: documents get the likelihood that validation gave them, and texts are written."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from exported import loaded_from_weights
from trained_experts import DOMAINS, RECORDS, best_checkpoints, train, write_trees

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.data.splits import Split, document_ids
from tabstar_lit.families.experts.networks.decoding import decoder_without_memory
from tabstar_lit.families.experts.trained import TrainedText
from tabstar_lit.families.experts.writing import MARK
from tabstar_lit.nn.generation import Stop, generate, pad_left
from tabstar_lit.nn.sampling import GREEDY, Sampling

ROLES = ("transformer", "state_space", "diffuser", "mixture")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of all stages, with figures and samples, made without a network."""
    made = tmp_path_factory.mktemp("trees")
    write_trees(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setattr(socket.socket, "connect", _no_network)
        done = train("dataset_config.documents=padded", "experiment_config.plot_metrics_n_epoch=1")
    assert done.exit_code == 0, done.output
    return made


def _no_network(*_: Any) -> None:
    raise AssertionError("something wants to reach a network")


@pytest.fixture(scope="module", params=ROLES)
def trained(request: pytest.FixtureRequest, folder: Path) -> TrainedText:
    loaded = tabstar_lit.load(best_checkpoints(folder)[request.param])
    assert isinstance(loaded, TrainedText)
    return loaded


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def held_out(name: str) -> list[str]:
    sides = Split(42, {"val": 0.1}).sides(document_ids(DOMAINS[name]))
    return [text for text, side in zip(DOMAINS[name], sides, strict=True) if side]


def test_documents_get_the_bits_that_validation_gave_them(trained: TrainedText, folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / RECORDS / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "val_bits_per_byte" in line and line.get("stage") == trained.config["role"]][-1]
    for name in DOMAINS:
        scores = trained.predict(held_out(name), device="cpu")
        bits = scores["nats"].sum() / math.log(2) / scores["bytes"].sum()
        assert bits == pytest.approx(last[f"val_bits_per_byte/{name}"], rel=1e-5)


def test_exported_weights_load_back_to_the_same_scores(trained: TrainedText, tmp_path: Path) -> None:
    again = loaded_from_weights(trained.path, tmp_path)
    texts = DOMAINS["forest"][:5]
    pd.testing.assert_frame_equal(again.predict(texts, device="cpu"), trained.predict(texts, device="cpu"))


def test_a_document_has_the_same_score_alone_and_among_others(trained: TrainedText) -> None:
    texts = [*DOMAINS["forest"][:9], "x" * 100]
    together = trained.predict(texts, batch_size=4, device="cpu")
    alone = pd.concat([trained.predict([text], device="cpu") for text in texts], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-5)
    assert together["tokens"].tolist() == [len(text) + 1 for text in texts]
    assert together["bits_per_byte"].iloc[0] == pytest.approx(together["nats"].iloc[0] / math.log(2) / len(texts[0]))


def test_the_same_seed_writes_the_same_and_the_memory_changes_nothing(trained: TrainedText) -> None:
    prompts = ["1: ash", "", "99: oak pine willow"]
    sampling = Sampling(temperature=1.0, top_k=20, seed=5)
    first, again = (trained.generate(prompts, max_new_tokens=12, sampling=sampling, device="cpu") for _ in range(2))
    assert first == again
    assert first != trained.generate(prompts, max_new_tokens=12, sampling=Sampling(seed=6), device="cpu")
    framing = trained.framing
    tokens = pad_left([framing.prompt(prompt) for prompt in prompts])
    slow = generate(
        decoder_without_memory(trained.network), tokens, Stop(12, framing.end, framing.end), GREEDY, context=None
    )
    expected = [
        framing.tokenizer.decode(row[:length].tolist())
        for row, length in zip(slow.tokens, slow.lengths.tolist(), strict=True)
    ]
    assert trained.generate(prompts, max_new_tokens=12, sampling=GREEDY, device="cpu") == expected


def test_samples_of_an_epoch_begin_as_held_out_documents(folder: Path) -> None:
    for role in ROLES:
        text = (folder / f"runs/results/trees/run/{role}/samples/epoch_0000.md").read_text()
        for name in DOMAINS:
            beginning = held_out(name)[0].encode()[:15].decode()
            assert f"### {name}\n\n```text\n{beginning}{MARK}" in text
    assert (folder / "runs/results/trees/run/mixture/router/epoch_0000.png").stat().st_size > 1000


def test_predict_writes_a_row_for_each_document(folder: Path, tmp_path: Path) -> None:
    checkpoint, output = best_checkpoints(folder)["transformer"], tmp_path / "scores.parquet"
    done = run("predict", checkpoint, folder / "texts", "-o", output, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert f"wrote {output}: 100 documents, " in done.output
    scores = pd.read_parquet(output)
    assert scores.columns.tolist() == [
        "domain", "file", "line", "nats", "tokens", "bytes", "loss", "bits_per_byte"
    ]  # fmt: skip
    assert scores["domain"].tolist() == ["forest"] * 60 + ["wood"] * 40
    assert scores["line"].tolist() == [*range(1, 61), *range(1, 41)]
    one = run("predict", checkpoint, folder / "texts/wood/wood.jsonl", "-o", output, "--device", "cpu")
    assert "40 documents" in one.output
    again = pd.read_parquet(output)
    pd.testing.assert_frame_equal(again, scores[60:].reset_index(drop=True), rtol=1e-5)


def test_generate_prints_prompts_with_what_follows(folder: Path) -> None:
    checkpoint = best_checkpoints(folder)["mixture"]
    arguments = ("generate", checkpoint, "1: ash", "2: elm", "-n", 2, "--max-new-tokens", 5, "--device", "cpu")
    done = run(*arguments, "--seed", 3)
    assert done.exit_code == 0, done.output
    begun = [text.split("\n")[0][:6] for text in done.stdout.split("---\n")]
    assert begun == ["1: ash", "1: ash", "2: elm", "2: elm"]
    assert run(*arguments, "--seed", 3).stdout == done.stdout
    assert run(*arguments, "--seed", 4).stdout != done.stdout
    assert done.stderr == ""
    long = run("generate", checkpoint, "--max-new-tokens", 40, "--device", "cpu")
    assert "note: texts of up to 41 tokens are longer than the rows of 32" in long.stderr


@pytest.mark.parametrize(("ending", "written"), [(True, ["", ""]), (False, ["x" * 9, "x" * 9])])
def test_texts_end_where_the_model_ends_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ending: bool, written: list[str]
) -> None:
    trained = tabstar_lit.load(best_checkpoints(folder)["transformer"])
    assert isinstance(trained, TrainedText)
    token = trained.framing.end if ending else ord("x") + 3
    always = torch.nn.functional.one_hot(torch.tensor(token), 259) * 50.0
    monkeypatch.setattr(trained.network, "logits", lambda states: always.expand(len(states), -1))
    assert trained.generate(["a", ""], max_new_tokens=9, sampling=GREEDY, device="cpu") == written


def test_what_fills_in_nothing_refuses_to_fill_in(folder: Path) -> None:
    done = run("generate", best_checkpoints(folder)["transformer"], "1: ash", "--at-once", 2, "--device", "cpu")
    assert done.exit_code == 2
    assert "only masked diffusers fill in tokens at once" in done.stderr


def test_a_masked_diffuser_writes_several_tokens_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    masked = ("stages=[diffuser]", "model_config.architecture_config.diffuser.kind=masked")
    assert train(*masked, "dataset_config.documents=padded", "experiment_config.run_name=masked").exit_code == 0
    stages = json.loads((folder / "runs/logs/trees/masked/run.json").read_text())["stages"]
    checkpoint = folder / "runs/models/checkpoints/trees/masked" / stages["diffuser"]["best_checkpoint"]
    arguments = ("generate", checkpoint, "1: ash", "2: elm pine", "--max-new-tokens", 9, "--device", "cpu")
    several = run(*arguments, "--at-once", 4)
    assert several.exit_code == 0, several.output
    assert [text[:6] for text in several.stdout.split("---\n")] == ["1: ash", "2: elm"]
    assert run(*arguments, "--at-once", 4).stdout == several.stdout
    assert run(*arguments).stdout != several.stdout
