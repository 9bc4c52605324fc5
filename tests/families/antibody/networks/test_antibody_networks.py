"""What is asked of every network: what must not change a logit, and what must."""

from __future__ import annotations

import pytest
import torch
from hand_made_pairs import ANTIBODIES, architectures, asked, lively, tokens_of

from tabstar_lit.families.antibody.architecture import LstmArchitecture, Size
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD

WAYS = architectures()


def row_alone(question: Asked, row: int) -> Asked:
    """Return one row of a question without its padding."""
    antigen = question.antigens[row]
    return Asked(antigen[antigen != PAD][None], question.pkd[row, None])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_logit(way: str, training: bool) -> None:
    network = lively(WAYS[way].model_copy(update={"dropout": 0.0})).train(training).double()
    tokens = tokens_of(ANTIBODIES)
    with torch.no_grad():
        together = network(asked(512), tokens_of(ANTIBODIES, 40))
        for row, own in enumerate(tokens):
            alone = network(row_alone(asked(), row), own[own != PAD][None])[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_a_token_sees_none_after_it(way: str) -> None:
    network, tokens = lively(WAYS[way]), tokens_of(ANTIBODIES)
    other = tokens.clone()
    other[:, 4:] = 7
    with torch.no_grad():
        assert torch.equal(network(asked(), tokens)[:, :4], network(asked(), other)[:, :4])


@pytest.mark.parametrize("way", [way for way in WAYS if not way.endswith("none")])
def test_pkd_changes_what_is_written_and_none_is_not_the_mean(way: str) -> None:
    network, tokens = lively(WAYS[way]), tokens_of(ANTIBODIES)
    with torch.no_grad():
        asked_for = [network(asked()._replace(pkd=torch.full((4,), pkd)), tokens) for pkd in (5.0, 7.5, torch.nan)]
    low, mean, unknown = asked_for
    assert all(logits.isfinite().all() for logits in asked_for)
    assert (low - mean).abs().amax() > 1e-2
    assert (unknown - mean).abs().amax() > 1e-2


@pytest.mark.parametrize("way", [way for way in WAYS if way.endswith("none")])
def test_without_conditioning_pkd_changes_nothing(way: str) -> None:
    network, tokens = lively(WAYS[way]), tokens_of(ANTIBODIES)
    with torch.no_grad():
        low, high = (network(asked()._replace(pkd=torch.full((4,), pkd)), tokens) for pkd in (5.0, 9.0))
    assert torch.equal(low, high)


@pytest.mark.parametrize("way", WAYS)
def test_the_antigen_changes_what_is_written(way: str) -> None:
    network, tokens = lively(WAYS[way]), tokens_of(ANTIBODIES)
    swapped = asked()._replace(antigens=asked().antigens[[1, 0, 3, 2]])
    with torch.no_grad():
        assert ((network(asked(), tokens) - network(swapped, tokens)).abs().amax((1, 2)) > 1e-2).all()


@pytest.mark.parametrize("way", ["seq2seq_film", "decoder_only_film"])
def test_film_starts_as_no_change(way: str) -> None:
    network = build_network(WAYS[way], PkdScale()).eval()
    tokens = tokens_of(ANTIBODIES)
    with torch.no_grad():
        low, high = (network(asked()._replace(pkd=torch.full((4,), pkd)), tokens) for pkd in (5.0, 9.0))
    assert torch.equal(low, high)


@pytest.mark.parametrize(
    ("size", "count"), [("tiny", 616_601), ("small", 4_548_889), ("medium", 18_141_721), ("large", 106_038_297)]
)
def test_the_lstm_has_the_sizes_of_the_original_but_for_a_layer_that_was_never_used(size: Size, count: int) -> None:
    architecture = LstmArchitecture(size=size)
    with torch.device("meta"):
        network = build_network(architecture, PkdScale())
    unused = 2 * architecture.sizes.width
    assert sum(parameter.numel() for parameter in network.parameters()) == count - unused * (unused + 1)


def test_an_lstm_that_is_told_nothing_goes_on_from_its_own_residues() -> None:
    architecture = LstmArchitecture(size="tiny", teacher_forcing=0.0, dropout=0.0)
    network, tokens = lively(architecture).train(), tokens_of(ANTIBODIES)
    other = tokens.clone()
    other[:, 1:] = 7
    with torch.no_grad():
        assert torch.equal(network(asked(), tokens), network(asked(), other))
        assert not torch.equal(network.eval()(asked(), tokens), network(asked(), other))
