"""A generator out of a checkpoint: what it writes, what it says of given antibodies, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hand_made_pairs import ANTIBODIES, ANTIGENS, SCALE, architectures, lively, tokens_of

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.generating.decoding import Decoding
from tabstar_lit.families.antibody.generating.identity import nearest
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.tokens import TOKENIZER
from tabstar_lit.families.antibody.restore import AntibodyGenerator
from tabstar_lit.nn.beam_search import Beams
from tabstar_lit.nn.sampling import GREEDY, Sampling


@pytest.fixture(scope="module")
def generator() -> AntibodyGenerator:
    rows = TOKENIZER.encode(list(ANTIBODIES))
    training = {"flat": torch.tensor(rows.flat, dtype=torch.uint8), "offsets": torch.tensor(rows.offsets), "total": 4}
    config: dict[str, Any] = {
        "family": "antibody",
        "pkd": SCALE._asdict(),
        "max_antigen": 12,
        "max_antibody": 24,
        "germlines": "none",
        "training": training,
        "trained_for": {"pkd_guidance": True, "antigen_guidance": False, "infilling": True},
    }
    return AntibodyGenerator(Path("toy.ckpt"), lively(architectures()["seq2seq_source_add"], 0.8), config)


@pytest.fixture
def given() -> pd.DataFrame:
    heavy, light = zip(*(text.split("|") if "|" in text else (text, "") for text in ANTIBODIES), strict=True)
    return pd.DataFrame({"antigen": ANTIGENS, "heavy": heavy, "light": light}, index=[7, 5, 3, 1])


def test_likelihood_is_that_of_the_network_token_by_token(generator: AntibodyGenerator, given: pd.DataFrame) -> None:
    found = generator.predict(given, pkd=8.0, batch_size=3, device="cpu")
    for row, (antigen, text) in enumerate(zip(ANTIGENS, ANTIBODIES, strict=True)):
        tokens = tokens_of((text,))
        with torch.no_grad():
            logits = generator.network(Asked(tokens_of((antigen,)), torch.tensor([8.0])), tokens[:, :-1])
        expected = logits[0].log_softmax(-1)[range(tokens.shape[1] - 1), tokens[0, 1:]].sum()
        assert found["log_likelihood"].iloc[row] == pytest.approx(float(expected), abs=1e-3)
    assert found.index.tolist() == [7, 5, 3, 1]
    assert found["tokens"].tolist() == [len(text) + 1 for text in ANTIBODIES]


def test_ranks_are_among_antibodies_of_one_antigen(generator: AntibodyGenerator, given: pd.DataFrame) -> None:
    found = generator.predict(given, device="cpu")
    assert found["rank"].iloc[[1, 2]].tolist() == [1, 1]
    best = found["per_token"].iloc[[0, 3]].argmax()
    assert found["rank"].iloc[[0, 3]].tolist() == ([1, 2] if best == 0 else [2, 1])


@pytest.mark.parametrize("decoding", [None, Decoding(GREEDY, max_tokens=24), Decoding(beams=Beams(3), max_tokens=24)])
def test_writes_as_many_as_were_asked_for(generator: AntibodyGenerator, decoding: Decoding | None) -> None:
    count = 1 if decoding is not None and decoding.beams is None else 3
    written = generator.generate(ANTIGENS[:3], count=count, pkd=9.0, decoding=decoding, device="cpu")
    names = [f"antigen_{number}_{copy}" for number in (1, 2, 3) for copy in range(1, count + 1)]
    assert written["name"].tolist() == names
    assert (written["pkd"] == 9.0).all()
    assert set("".join(written["heavy"] + written["light"])) <= set("ACDEFGHIKLMNPQRSTVWY")


def test_batches_of_any_size_give_the_same(generator: AntibodyGenerator) -> None:
    decoding = Decoding(Sampling(temperature=0.8, top_k=10, top_p=0.95, seed=5), max_tokens=24)
    small, large = (
        generator.generate(ANTIGENS, count=3, decoding=decoding, batch_size=size, device="cpu") for size in (2, 64)
    )
    pd.testing.assert_frame_equal(small, large, rtol=1e-4)


def test_the_reported_likelihood_is_that_of_the_network_whatever_it_was_sampled_by(
    generator: AntibodyGenerator,
) -> None:
    decoding = Decoding(Sampling(temperature=0.5, top_k=5), guidance=2.0, max_tokens=200)
    written = generator.generate([ANTIGENS[0]], count=12, pkd=7.0, decoding=decoding, device="cpu")
    written = written[written["ended"] & (written["tokens"] > 1)]
    scored = generator.predict(
        pd.DataFrame({"antigen": ANTIGENS[0], "heavy": written["heavy"], "light": written["light"]}),
        pkd=7.0, device="cpu",
    )  # fmt: skip
    clean = (written["heavy"].str.len() > 0) & (written["tokens"] == scored["tokens"])
    assert clean.any()
    np.testing.assert_allclose(written["log_likelihood"][clean], scored["log_likelihood"][clean], rtol=1e-4)


def test_the_nearest_of_the_training_is_named_with_its_identity() -> None:
    found = nearest(["EVQLVESW|DIQMT", "EVQ|DAVL"], list(ANTIBODIES))
    assert found.rows.tolist() == [0, 2]
    assert found.identity.tolist() == pytest.approx([1.0, 1 - 2 / 9])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 2, "decoding": Decoding(GREEDY)}, "would be the same"),
        ({"count": 4, "decoding": Decoding(beams=Beams(3))}, "3 beams"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(generator: AntibodyGenerator, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generator.generate(ANTIGENS, **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heavy": ["EVQ*"] * 4}, "row 1, column 'heavy': letter 4 is '\\*', a stop codon"),
        ({"antigen": ["ACD", "A-D", "ACD", "ACD"]}, "row 2, column 'antigen': letter 2 is '-', a gap"),
        ({"heavy": ["EVQ", "EVQ", "", "EVQ"], "light": ""}, "row 3: there is neither a heavy nor a light chain"),
        ({"light": ["", "", "DI1", ""]}, "row 3, column 'light': letter 3 is '1'"),
    ],
)
def test_bad_sequences_are_located(
    generator: AntibodyGenerator, given: pd.DataFrame, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        generator.predict(given.assign(**changed), device="cpu")


def test_a_missing_column_is_named(generator: AntibodyGenerator, given: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column 'heavy'; there are antigen"):
        generator.predict(given.drop(columns=["heavy", "light"]), device="cpu")


def test_long_antigens_are_cut_with_a_warning(
    generator: AntibodyGenerator, given: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    generator.predict(given.assign(antigen="ACDEFGHIKLMNPQ"), device="cpu")
    assert "1 antigens are longer than the 12 tokens" in caplog.text


def test_templates_are_filled_in_by_those_who_learned_it(generator: AntibodyGenerator) -> None:
    written = generator.generate(ANTIGENS, count=2, template="EVXXL|DIXT", device="cpu")
    assert written["heavy"].str.fullmatch("EV..L").all()
    assert written["light"].str.fullmatch("DI.T").all()
    for template, message in (("EVQL", "no X"), ("X" * 30, "32 tokens")):
        with pytest.raises(DataError, match=message):
            generator.generate(ANTIGENS, template=template, device="cpu")
    with pytest.raises(ConfigError, match="those of a template"):
        generator.generate(ANTIGENS, fill=("h_cdr3",), device="cpu")
    trained_for = {**generator.config["trained_for"], "infilling": False}
    unable = dataclasses.replace(generator, config={**generator.config, "trained_for": trained_for})
    with pytest.raises(ConfigError, match="infilling above 0"):
        unable.generate(ANTIGENS, template="EVX", device="cpu")
