"""A pretrained encoder of proteins that reads antigens: its own states, a checkpoint without its folder, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hand_made_pairs import SCALE, tokens_of
from transformers import AutoModel, EsmConfig, EsmModel, EsmTokenizer

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_antibody
from tabstar_lit.errors import EncoderError
from tabstar_lit.families.antibody.architecture import Seq2SeqArchitecture
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.protein import read_protein_encoder
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.toy import AntibodyToy, ensure_toy
from tabstar_lit.families.antibody.restore import restore

VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ESM-2 is published in, with a small random network."""
    folder = tmp_path_factory.mktemp("esm")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = EsmConfig(vocab_size=len(VOCABULARY), pad_token_id=1, position_embedding_type="rotary", **sizes)
    torch.manual_seed(0)
    EsmModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def architecture(folder: Path) -> Seq2SeqArchitecture:
    return Seq2SeqArchitecture(size="tiny", width=16, heads=2, feed_forward=32, antigen_encoder=str(folder))


def test_states_are_those_of_the_encoder_on_its_own_tokens(folder: Path) -> None:
    own = read_protein_encoder(folder, 16).eval()
    texts = ("ACDEFGHIKLMNPQRSTVWY", "MKX")
    theirs = EsmTokenizer.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
    antigens = tokens_of(texts)
    assert torch.equal(own.ids[antigens], theirs["input_ids"])
    expected = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()(**theirs).last_hidden_state
    there = theirs["attention_mask"].bool()
    torch.testing.assert_close(own(antigens)[there], own.project(expected)[there])


def test_padding_of_antigens_changes_no_logit(folder: Path) -> None:
    network = build_network(architecture(folder), SCALE).eval()
    antibodies, pkd = tokens_of(("EVQL",)), torch.tensor([8.0])
    alone = network(Asked(tokens_of(("MKTA",)), pkd), antibodies)
    beside = network(Asked(tokens_of(("MKTA", "ACDEFGHIKL")), pkd.expand(2)), antibodies.expand(2, -1))
    torch.testing.assert_close(beside[:1], alone, rtol=0, atol=1e-5)


def test_a_checkpoint_is_enough_without_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = shutil.copytree(folder, tmp_path / "esm")
    ensure_toy(tmp_path / "data/small.h5", AntibodyToy(n_antigens=40, antibodies_each=2))
    overrides = ("size=tiny", "width=16", "heads=2", "feed_forward=32", f"antigen_encoder={encoder}")
    done = CliRunner().invoke(
        train_antibody,
        [
            *(f"model_config.architecture_config.{own}" for own in overrides),
            "model_config.freeze=[protein.encoder]",
            "model_config.training_config.max_steps=2",
            "dataset_config.files=small.h5",
            "dataset_config.max_samples=16",
            "tracking_config.samples=2",
            "tracking_config.bootstraps=10",
            "experiment_config.accelerator=cpu",
            "experiment_config.tracker=none",
            "experiment_config.plot_metrics_n_epoch=null",
            "experiment_config.run_name=esm",
        ],
    )
    assert done.exit_code == 0, done.output
    (checkpoint,) = Path("runs/models").rglob("esm_last.ckpt")
    shutil.rmtree(encoder)
    protein = restore(checkpoint).network.protein
    published = AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    for name, value in protein.encoder.state_dict().items():
        assert torch.equal(value, published[name]), name
    (tmp_path / "antigens.fasta").write_text(">one\nMKTAYIAKQR\n")
    asked = ["generate", str(checkpoint), "--antigen", "antigens.fasta", "-n", "2", "--device", "cpu"]
    assert CliRunner().invoke(main, asked).exit_code == 0


def test_what_is_no_encoder_of_proteins_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"antigen_encoder: .*missing is no folder"):
        read_protein_encoder(tmp_path / "missing", 16)
    with pytest.raises(EncoderError, match="cannot be read as an encoder of proteins"):
        read_protein_encoder(tmp_path, 16)
    words = shutil.copytree(folder, tmp_path / "words")
    (words / "vocab.txt").write_text("\n".join(["<cls>", "<pad>", "<eos>", "<unk>", "word", "X", "<mask>"]))
    with pytest.raises(EncoderError, match="has no A, C, D"):
        read_protein_encoder(words, 16)
