"""Antibodies written token by token: the same as step by step without a memory, alone and in any batch."""

from __future__ import annotations

import pytest
import torch
from hand_made_pairs import architectures, asked, lively

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.antibody.generating.decoding import Decoding, Guidance, allowed, write
from tabstar_lit.families.antibody.networks.source import Asked, Writer
from tabstar_lit.families.antibody.pairs.tokens import END, FIRST_LETTER, PAD, SEPARATOR, START, TOKENIZER, UNKNOWN
from tabstar_lit.nn.beam_search import Beams
from tabstar_lit.nn.sampling import GREEDY, Sampling

WAYS = architectures()
BOTH = Guidance(pkd=True, antigen=True)
ROWS = range(4)


def step_by_step(network: Writer, question: Asked, length: int) -> list[list[int]]:
    """Return the likeliest antibodies, each alone, the whole network run anew for each token."""
    antibodies = []
    for row in range(len(question.pkd)):
        own, tokens = question.select(torch.tensor([row])), [START]
        process = allowed("any")
        while len(tokens) < length and tokens[-1] != END:
            given = torch.tensor([tokens])
            with torch.no_grad():
                tokens.append(int(process(given, network(own, given)[:, -1]).argmax()))
        antibodies.append(tokens[1:])
    return antibodies


@pytest.mark.parametrize("way", WAYS)
def test_greedy_writing_is_that_without_a_memory(way: str) -> None:
    network = lively(WAYS[way], 0.8).double()
    written = write(network, asked(), Decoding(GREEDY, max_tokens=24), BOTH, ROWS)
    own = [row[:length].tolist() for row, length in zip(written.tokens, written.lengths.tolist(), strict=True)]
    assert own == step_by_step(network, asked(), 24)
    assert len({tuple(row) for row in own}) > 1


@pytest.mark.parametrize("way", WAYS)
def test_an_antibody_is_the_same_alone_and_among_others(way: str) -> None:
    network = lively(WAYS[way]).double()
    decoding = Decoding(Sampling(seed=3), max_tokens=24)
    together = write(network, asked(30), decoding, BOTH, ROWS)
    for row in ROWS:
        alone = write(network, asked().select(torch.tensor([row])), decoding, BOTH, [row])
        length = int(alone.lengths[0])
        assert length == int(together.lengths[row])
        assert alone.tokens[0, :length].tolist() == together.tokens[row, :length].tolist()


def test_seeds_and_rows_differ() -> None:
    network = lively(WAYS["seq2seq_film"], 0.8)
    same = asked().select(torch.zeros(4, dtype=torch.long))
    first, again, other = (write(network, same, Decoding(Sampling(seed=seed)), BOTH, ROWS) for seed in (0, 0, 1))
    assert torch.equal(first.tokens, again.tokens)
    assert first.tokens.tolist() != other.tokens.tolist()
    assert len({tuple(row.tolist()) for row in first.tokens}) == 4


@pytest.mark.parametrize("decoding", [Decoding(max_tokens=40), Decoding(beams=Beams(3), max_tokens=12)])
def test_what_no_antibody_is_made_of_is_never_written(decoding: Decoding) -> None:
    written = write(lively(WAYS["seq2seq_film"]), asked(), decoding, BOTH, ROWS)
    there = torch.arange(written.tokens.shape[-1]) < written.lengths[..., None]
    assert not torch.isin(written.tokens[there], torch.tensor([PAD, START, UNKNOWN])).any()


@pytest.mark.parametrize("chains", ["single", "paired"])
def test_chains_are_as_asked_for(chains: str) -> None:
    network = lively(WAYS["seq2seq_source_add"])
    written = write(network, asked(), Decoding(Sampling(seed=1), chains=chains, max_tokens=200), BOTH, ROWS)
    breaks = (written.tokens == SEPARATOR).sum(1)
    expected = torch.zeros(4) if chains == "single" else written.ended.float()
    assert written.ended.any()
    assert torch.equal(breaks[written.ended].float(), expected[written.ended])


def test_the_first_of_one_beam_is_greedy_and_more_beams_are_likelier() -> None:
    network = lively(WAYS["seq2seq_source_add"])
    greedy = write(network, asked(), Decoding(GREEDY, max_tokens=10), BOTH, ROWS)
    one, many = (write(network, asked(), Decoding(beams=Beams(k, 0.0), max_tokens=10), BOTH, ROWS) for k in (1, 6))
    assert one.tokens[:, 0].tolist() == greedy.tokens.tolist()
    assert (many.scores[:, 0] >= one.scores[:, 0] - 1e-4).all()


def test_guidance_of_one_changes_nothing_and_of_zero_forgets_the_condition() -> None:
    network, question = lively(WAYS["seq2seq_source_add"], 0.8), asked()
    plain, guided, forgotten = (
        write(network, question, Decoding(GREEDY, guidance=scale, max_tokens=16), BOTH, ROWS)
        for scale in (None, 1.0, 0.0)
    )
    alone = write(network, BOTH.untold(question), Decoding(GREEDY, max_tokens=16), BOTH, ROWS)
    assert guided.tokens.tolist() == plain.tokens.tolist()
    assert forgotten.tokens.tolist() == alone.tokens.tolist()
    assert alone.tokens.tolist() != plain.tokens.tolist()


def test_guidance_leaves_out_what_training_left_out() -> None:
    by_pkd = Guidance(pkd=True, antigen=False).untold(asked())
    assert by_pkd.pkd.isnan().all()
    assert torch.equal(by_pkd.antigens, asked().antigens)
    nothing = Guidance(pkd=False, antigen=True).untold(asked())
    assert nothing.antigens[:, :3].tolist() == [[START, END, PAD]] * 4
    with pytest.raises(ConfigError, match="condition_dropout"):
        Guidance(pkd=False, antigen=False).untold(asked())


@pytest.mark.parametrize("beams", [None, Beams(3)])
def test_a_template_is_kept_but_for_what_is_filled_in(beams: Beams | None) -> None:
    template = torch.tensor(TOKENIZER.encode(["EVXXL|DIXT"])[0]).long()
    question = asked()._replace(templates=template.expand(4, -1))
    written = write(lively(WAYS["seq2seq_source_add"]), question, Decoding(beams=beams), BOTH, ROWS)
    texts = written.tokens.reshape(-1, written.tokens.shape[-1])
    assert texts.shape[1] == len(template) - 1
    kept = template[1:] != UNKNOWN
    assert (texts[:, kept] == template[1:][kept]).all()
    assert (texts[:, ~kept] >= FIRST_LETTER).all()
    assert len({tuple(text.tolist()) for text in texts}) > 1


def test_negative_guidance_is_refused() -> None:
    with pytest.raises(ConfigError, match="guidance is -1"):
        Decoding(guidance=-1)
