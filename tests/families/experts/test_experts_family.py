"""What the family hands to the engine and to the commands."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from experts_networks import NETWORKS, small_network
from hand_made_texts import make_text_corpus, trees, write_texts
from trained_experts import train, write_trees

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_experts
from tabstar_lit.config.schema import LoaderOptions
from tabstar_lit.data.mixing import MixedBatch
from tabstar_lit.data.plans import PlanSampler
from tabstar_lit.data.tokenizers import ByteTokenizer
from tabstar_lit.families import get_family
from tabstar_lit.families.experts.networks.objectives import token_nats
from tabstar_lit.families.experts.scoring import document_scores
from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.data import TextData
from tabstar_lit.families.experts.text.dataset_config import TextDataset
from tabstar_lit.families.experts.text.tokenizing import Framing

TEXTS = {"forest": trees(70), "wood": trees(50, longest=4, first=700)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TextCorpus:
    return make_text_corpus(tmp_path_factory.mktemp("corpus"), TEXTS)


def invoke(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def data_of(corpus: TextCorpus, **options: object) -> TextData:
    return TextData(TextDataset(name="test", **({"context_length": 96} | options)), corpus, batch_size=4, seed=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_document_is_as_likely_packed_as_alone(name: str, corpus: TextCorpus) -> None:
    """Packing changes no sum of a network that reads documents apart, whatever stands beside them."""
    network = small_network(name, vocabulary=259).eval()
    framing = Framing(ByteTokenizer(begin=True))
    data = data_of(corpus, val_split=0.4)
    packed: dict[str, float] = {}
    for key in data.val_plan().batches(0):
        batch = data.val_dataset()[key]
        with torch.no_grad():
            nats = token_nats(network, batch).double().sum()
        packed[batch.source] = packed.get(batch.source, 0.0) + float(nats)
    for side in data._val:
        texts = [framing.decode(side.tokens[row].tolist()) for row in range(len(side.tokens))]
        alone = document_scores(network, framing, texts, 96, 3)
        assert packed[side.domain] == pytest.approx(alone["nats"].sum(), rel=2e-5)


def test_ranks_share_no_row_and_miss_none(corpus: TextCorpus) -> None:
    data = data_of(corpus, strategy="proportional")
    shares = []
    for rank in range(3):
        sampler: PlanSampler[MixedBatch] = PlanSampler(data.train_plan(), rank, 3)
        shares.append([(part.source, int(row)) for key in sampler for part in key for row in part.rows])
    rows = [row for share in shares for row in share]
    assert len(rows) == len(set(rows)) == sum(len(side.rows.numbers) for side in data._train)


def test_loader_workers_serve_the_same_batches(corpus: TextCorpus) -> None:
    alone = list(data_of(corpus).train_dataloader())
    helped = data_of(corpus, dataloader_kwargs=LoaderOptions(num_workers=1, prefetch_factor=2))
    loader = helped.train_dataloader()
    for one, two in zip(alone, loader, strict=True):
        assert torch.equal(one.tokens, two.tokens)
        assert torch.equal(one.targets, two.targets)
        assert one.n_targets == two.n_targets


def test_a_loader_begins_where_the_run_was_stopped(corpus: TextCorpus) -> None:
    data = data_of(corpus)
    whole = list(data.train_dataloader())
    resumed = data_of(corpus)
    resumed.load_state_dict({"epoch": 0, "batches": 3})
    rest = list(resumed.train_dataloader())
    assert len(rest) == len(whole) - 3
    assert all(torch.equal(one.tokens, two.tokens) for one, two in zip(whole[3:], rest, strict=True))


def test_bytes_of_training_are_those_of_its_documents(corpus: TextCorpus) -> None:
    data = data_of(corpus, strategy="proportional")
    trained = sum(int(batch.n_bytes.sum()) for batch in data.train_dataloader())
    validated = sum(int(batch.n_bytes.sum()) for batch in data.val_dataloader())
    assert trained + validated == sum(len(text.encode()) for texts in TEXTS.values() for text in texts)
    assert "domain forest: " in data.summary()
    assert np.isclose(data.training_tokens, sum(batch.n_targets for batch in data.train_dataloader()))


def test_beginnings_are_of_held_out_documents(corpus: TextCorpus) -> None:
    data = data_of(corpus)
    begun = data.beginnings(9)
    assert set(begun) == set(TEXTS)
    for name, tokens in begun.items():
        assert tokens[0] == 2
        text = Framing(ByteTokenizer(begin=True)).decode(tokens)
        assert any(own.startswith(text) for own in TEXTS[name])


def test_the_command_converts_shows_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", {**TEXTS, "twice": ["the same", "the same", "another"]})
    done = invoke(main, "convert", "text", "texts", "-o", "c.h5")
    assert done.exit_code == 0, done.output
    assert "wrote c.h5: 3 domains converted, 0 kept, vocabulary of 259 tokens" in done.stdout
    assert "note: domain 'twice': 1 documents repeat another one word for word" in done.stderr
    again = invoke(main, "convert", "text", "texts", "-o", "c.h5")
    assert "c.h5 is up to date: nothing was written" in again.stdout
    assert "  new" not in again.stdout
    shown = invoke(main, "data", "show", "c.h5")
    assert "c.h5: text, 3 domains, tokenizer bytes of 259 tokens" in shown.stdout
    assert "twice: 'the same'" in shown.stdout


def test_help_answers_and_lists_what_there_is() -> None:
    listed = invoke(train_experts, "--list", "models").stdout
    assert all(role in listed for role in ("transformer", "state_space", "diffuser", "mixture"))
    assert "cross-entropy" in invoke(train_experts, "--list", "losses").stdout
    written = invoke(main, "generate", "--help").stdout
    assert "For checkpoints of experts" in written
    assert "--max-new-tokens" in written
    assert "For checkpoints of experts" in invoke(main, "predict", "--help").stdout


def test_a_configuration_is_printed_for_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_trees(tmp_path)
    done = train("--print-config")
    assert done.exit_code == 0, done.output
    assert "role: mixture" in done.output
    assert not (tmp_path / "runs").exists()


def test_the_family_says_what_it_is() -> None:
    family = get_family("experts")
    assert family.command == "train_experts"
    assert set(family.verbs()) == {"predict", "generate", "export"}
    assert {command.name for command in family.converters()} >= {"text"}
    assert set(family.viewers()) == {"tabstar_lit.text"}
