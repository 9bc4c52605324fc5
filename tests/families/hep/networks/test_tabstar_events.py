"""TabSTAR over events computes what the network of tables does with the same texts, and takes its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.engine.weights.files import AtomicCheckpointIO
from tabstar_lit.engine.weights.transfer import transfer_modules
from tabstar_lit.errors import CheckpointError, ConfigError
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.batch import Columns, Features, Inputs
from tabstar_lit.families.hep.networks import tabstar as events_tabstar
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.networks.tabstar import TabSTAR, event_texts
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarArchitecture, TabstarModel
from tabstar_lit.families.tabstar.losses import build_loss
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_text_encoder

RANDOM = {"name": "random", "random": {"hidden_size": 24, "layers": 2}}
SIZES = {"fusion_heads": 2, "interaction_layers": 2, "interaction_heads": 4, "dropout": 0.0}
OPTIONS: dict[str, Any] = {"model": "TabSTAR", "text_encoder": RANDOM, **SIZES}
EVENTS = Columns(
    ("m_jj", "missing mass", "pt"), ("charge", "trigger"), (3, 4), categories=(("-1", "+1"), ("one", "two", "three"))
)
NUMBERS = Columns(("m_jj", "pt"))
TWO = Inputs(EVENTS, {}, classes=("qcd", "signal"), signal=("signal",))
THREE = Inputs(EVENTS, {}, classes=("qcd", "top", "higgs"), signal=("higgs",))
PRETRAINED = ("text_projection", "numerical_fusion", "tabular_encoder", "cls_head")


def build(inputs: Inputs = TWO, **options: Any) -> TabSTAR:
    architecture = TypeAdapter(SignalArchitecture).validate_json(json.dumps({**OPTIONS, **options}))
    network = build_network(architecture, inputs, 1 if len(inputs.classes) == 2 else len(inputs.classes))
    assert isinstance(network, TabSTAR)
    return network


def events(n: int, columns: Columns = EVENTS) -> Features:
    codes = [torch.randint(0, size, (n,)) for size in columns.cardinalities]
    categorical = torch.stack(codes, dim=1) if codes else torch.zeros((n, 0), dtype=torch.int64)
    return Features(torch.randn(n, len(columns.numerical)), categorical, {})


def table_network(**options: Any) -> TabStarNetwork:
    """Return a network of tables with weights that let all parts reach the output."""
    config = TextEncoderConfig.model_validate_json(json.dumps({**RANDOM, "unfreeze_layers": 0}))
    torch.manual_seed(3)
    network = TabStarNetwork(TabstarArchitecture(text_encoder=config, **SIZES, **options), load_text_encoder(config))
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def as_table(features: Features, inputs: Inputs, tokenizer: str) -> TableBatch:
    """Return the events as a batch of a table with constant texts, made cell by cell."""
    columns, n_classes = inputs.events, len(inputs.classes)
    same = [f"Target Feature: class\nFeature Value: {name}" for name in inputs.classes]
    same += [f"Predictive Feature: {name}" for name in columns.numerical]
    values = [("Unknown Value", *names) for names in columns.categories]
    cells = np.array([
        [*same, *(f"Predictive Feature: {name}\nFeature Value: {known[code]}"
                  for name, known, code in zip(columns.categorical, values, codes, strict=True))]
        for codes in features.categorical.tolist()
    ])  # fmt: skip
    unique, inverse = np.unique(cells, return_inverse=True)
    tokens = StringTokens({"t": JsonTokenizer(tokenizer, 512).encode(unique.tolist())})
    token_ids, lengths = tokens.gather(np.arange(len(unique)))
    n, n_codes = len(cells), len(columns.categorical)
    numbers = torch.cat([torch.zeros(n, n_classes), features.numerical, torch.zeros(n, n_codes)], dim=1)
    return TableBatch(
        source="t", task="classification", string_ids=np.arange(len(unique)), lengths=lengths,
        token_ids=torch.from_numpy(token_ids), numbers=numbers, targets=torch.zeros(n), n_targets=n_classes,
        index=torch.from_numpy(tokens.ranks("t")[inverse].reshape(cells.shape).astype(np.int64)),
    )  # fmt: skip


def with_weights_of(theirs: TabStarNetwork, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, **options: Any) -> TabSTAR:
    monkeypatch.setattr(events_tabstar, "load_text_encoder", lambda _: theirs.text_encoder)
    own = build(inputs, **options).eval()
    for name in PRETRAINED:
        own.get_submodule(name).load_state_dict(theirs.get_submodule(name).state_dict())
    return own


@pytest.mark.parametrize("width", [None, 16], ids=["encoder", "projected"])
@pytest.mark.parametrize("columns", [EVENTS, NUMBERS], ids=["categories", "numbers"])
def test_scores_equal_those_of_the_network_of_tables(
    columns: Columns, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = table_network(d_model=width)
    inputs = Inputs(columns, {}, THREE.classes, THREE.signal)
    own = with_weights_of(theirs, inputs, monkeypatch, d_model=width)
    features = events(40, columns)
    with torch.no_grad():
        expected = theirs(as_table(features, inputs, theirs.text_encoder.tokenizer))
        seen = own(features)
    assert seen.shape == (40, 3)
    assert expected.std(dim=0).min() > 1e-2, "the oracle must not be constant"
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("signal", ["qcd", "signal"])
def test_one_logit_is_the_log_odds_of_the_signal(signal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = table_network()
    inputs = Inputs(EVENTS, {}, TWO.classes, (signal,))
    own = with_weights_of(theirs, inputs, monkeypatch)
    features = events(9)
    with torch.no_grad():
        shares = theirs(as_table(features, inputs, theirs.text_encoder.tokenizer)).softmax(dim=1)
        logits = own(features)
    assert logits.shape == (9, 1)
    torch.testing.assert_close(logits.sigmoid()[:, 0], shares[:, TWO.classes.index(signal)], rtol=0, atol=1e-6)


def test_texts_are_worded_as_the_official_package_does() -> None:
    texts = event_texts(TWO)
    assert texts[:2] == [f"Target Feature: class\nFeature Value: {name}" for name in ("qcd", "signal")]
    assert texts[2:5] == [f"Predictive Feature: {name}" for name in EVENTS.numerical]
    assert texts[5:8] == [
        f"Predictive Feature: charge\nFeature Value: {value}" for value in ("Unknown Value", "-1", "+1")
    ]
    assert len(texts) == 2 + 3 + 3 + 4


@pytest.mark.parametrize("inputs", [TWO, THREE, Inputs(NUMBERS, {}, TWO.classes, TWO.signal)], ids=str)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_every_weight_is_trained_and_the_texts_are_not(inputs: Inputs, n: int) -> None:
    network = build(inputs, dropout=0.1, d_model=16)
    logits = network(events(n, inputs.events))
    assert logits.shape == (n, 1 if len(inputs.classes) == 2 else 3)
    logits.square().sum().backward()
    names = {name for name, _ in network.named_parameters()}
    assert {name.partition(".")[0] for name in names} == set(PRETRAINED)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert not network.texts.requires_grad
    assert "texts" in network.state_dict()


def test_events_do_not_see_each_other() -> None:
    network, features = build(d_model=16).eval().double(), events(7)
    numerical, categorical = features.numerical.double(), features.categorical
    alone = [network(Features(numerical[i : i + 1], categorical[i : i + 1], {})) for i in range(7)]
    torch.testing.assert_close(network(Features(numerical, categorical, {})), torch.cat(alone))


def test_it_trains_in_mixed_precision_and_compiles() -> None:
    network, features = build(d_model=16), events(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(features).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    torch.compiler.reset()
    compiled = build(d_model=16, compile=True, compile_kwargs={"backend": "eager"}).eval()
    compiled.load_state_dict(network.state_dict())
    torch.testing.assert_close(compiled(features), network.eval()(features))


def pretrained(network: TabStarNetwork, folder: Path) -> Path:
    """Write a checkpoint of `train_tabstar`."""
    module = TabstarModule(network, build_loss(None, {}), TabstarModel(name="TabSTAR"), {"family": "tabstar"})
    content: dict[str, Any] = {"state_dict": module.state_dict(), "epoch": 0, "global_step": 1, "optimizer_states": []}
    module.on_save_checkpoint(content)
    AtomicCheckpointIO().save_checkpoint(content, folder / "pretrained.ckpt")
    return folder / "pretrained.ckpt"


@pytest.mark.parametrize("columns", [EVENTS, NUMBERS], ids=["categories", "numbers"])
def test_modules_of_a_pretrained_network_of_tables_can_be_loaded(columns: Columns, tmp_path: Path) -> None:
    theirs = table_network(d_model=16)
    path = pretrained(theirs, tmp_path)
    own = build(Inputs(columns, {}, TWO.classes, TWO.signal), d_model=16)
    texts = own.texts.clone()
    transfer_modules(own, dict.fromkeys(PRETRAINED, str(path)), Path, strict=True)
    for name in PRETRAINED:
        for key, value in theirs.get_submodule(name).state_dict().items():
            assert torch.equal(own.get_submodule(name).state_dict()[key], value), f"{name}.{key}"
    assert torch.equal(own.texts, texts)


def test_modules_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = pretrained(table_network(d_model=16), tmp_path)
    with pytest.raises(CheckpointError, match=r"in_proj_weight +\[72, 24\] +\[48, 16\]"):
        transfer_modules(build(), {"tabular_encoder": str(path)}, Path, strict=True)


def test_heads_and_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"interaction_heads: 5 does not divide .* 24"):
        build(interaction_heads=5)
    with pytest.raises(ConfigError, match="TabSTAR reads event features only"):
        build(Inputs(EVENTS, {"jets": Columns(("pt",), max_objects=2)}, TWO.classes, TWO.signal))
    with pytest.raises(ValueError, match="unfreeze_layers"):
        build(text_encoder={**RANDOM, "unfreeze_layers": 2})
