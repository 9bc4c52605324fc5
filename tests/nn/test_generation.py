"""Texts written greedily and by sampling: as `transformers` does, with and without a memory, alone and together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from borrowed_decoders import Borrowed, borrowed, gpt2
from small_decoders import RAGGED, WIDTH, SmallRecurrent, SmallTransformer, SmallTranslator, lively, only
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError, DataError, NonFiniteError
from tabstar_lit.nn.beam_search import Beams, beam_search
from tabstar_lit.nn.decoders import Guided, Recomputed
from tabstar_lit.nn.generation import Generated, Prompts, Stop, generate, pad_left
from tabstar_lit.nn.sampling import GREEDY, Sampling

STOP = Stop(max_new_tokens=12, end=1)


MODELS = {"gpt2": gpt2, "llama": lambda: borrowed(lively(SmallTransformer()))}


@pytest.mark.parametrize("prompts", [RAGGED, [[3, 4], [5, 6]]], ids=["ragged", "equal"])
@pytest.mark.parametrize("end", [1, None])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_texts_are_those_of_transformers(name: str, end: int | None, prompts: list[list[int]]) -> None:
    theirs, given = MODELS[name](), pad_left(prompts)
    expected = theirs.generate(
        given.tokens, attention_mask=None if given.mask is None else given.mask.long(), do_sample=False,
        max_new_tokens=12, eos_token_id=end, pad_token_id=0, use_cache=True,
    )[:, given.tokens.shape[1] :]  # fmt: skip
    ours = generate(Borrowed(theirs), given, Stop(max_new_tokens=12, end=end), context=None)
    assert ours.tokens.tolist() == expected.tolist()


@pytest.mark.parametrize("end", range(1, 11))
def test_our_own_blocks_write_what_llama_writes(end: int) -> None:
    ours, given = lively(SmallTransformer()), pad_left(RAGGED)
    expected = borrowed(ours).generate(
        given.tokens, attention_mask=given.mask.long(), do_sample=False, max_new_tokens=12, eos_token_id=end,
        pad_token_id=0,
    )[:, 4:]  # fmt: skip
    assert generate(ours, given, Stop(12, end=end), context=None).tokens.tolist() == expected.tolist()


def cases() -> dict[str, tuple[nn.Module, Any, Any]]:
    """Decoders with a memory, what they start from, and what the same network without a memory starts from."""
    source, there = torch.randint(11, (3, 6)), torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    vectors = torch.randn(3, WIDTH)
    return {
        "transformer": (lively(SmallTransformer()), None, None),
        "translator": (lively(SmallTranslator(), 0.2), (source, there), (source, there)),
        "recurrent": (lively(SmallRecurrent()), vectors, (vectors,)),
    }


HOW = [GREEDY, Sampling(seed=3), Sampling(0.7, top_k=5, top_p=0.8, seed=4)]
NAMES = ["transformer", "translator", "recurrent"]


@pytest.mark.parametrize("how", [*HOW, Beams(3)], ids=["greedy", "sampled", "cut", "beams"])
@pytest.mark.parametrize("name", NAMES)
def test_a_memory_changes_no_token(name: str, how: Sampling | Beams) -> None:
    network, context, again = cases()[name]
    write: Any = beam_search if isinstance(how, Beams) else generate
    cached = write(network, pad_left(RAGGED), STOP, how, context=context)
    recomputed = write(Recomputed(network), pad_left(RAGGED), STOP, how, context=again)
    assert cached.tokens.tolist() == recomputed.tokens.tolist()
    torch.testing.assert_close(cached.log_probabilities, recomputed.log_probabilities, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", [*HOW, Beams(3)], ids=["greedy", "sampled", "cut", "beams"])
@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_the_same_alone_and_in_a_batch(name: str, how: Sampling | Beams) -> None:
    network, context, _ = cases()[name]
    write: Any = beam_search if isinstance(how, Beams) else generate
    together = write(network, pad_left(RAGGED), STOP, how, context=context)
    for row in range(3):
        of_row = context if context is None else one_row(context, row)
        numbered = {} if isinstance(how, Beams) else {"rows": [row]}
        alone = write(network, pad_left([RAGGED[row]]), STOP, how, context=of_row, **numbered)
        length = alone.tokens.shape[-1]
        assert alone.lengths[0].tolist() == together.lengths[row].tolist()
        assert alone.tokens[0].tolist() == together.tokens[row, ..., :length].tolist()
        torch.testing.assert_close(alone.scores[0], together.scores[row], atol=1e-4, rtol=1e-4)


def one_row(context: Tensor | tuple[Tensor, ...], row: int) -> Tensor | tuple[Tensor, ...]:
    return context[row : row + 1] if isinstance(context, Tensor) else tuple(part[row : row + 1] for part in context)


def test_a_text_ends_at_its_end_and_padding_follows() -> None:
    texts = generate(lively(SmallTransformer()), pad_left(RAGGED * 20), Stop(12, end=1, pad=6), HOW[1], context=None)
    assert 0 < texts.ended.sum() < 60
    for tokens, likelihoods, length, ended in zip(*texts[:4], strict=True):
        written = tokens[:length].tolist()
        assert (1 in written) == bool(ended)
        assert 1 not in written[:-1]
        assert ended or length == 12
        assert tokens[length:].eq(6).all()
        assert likelihoods[length:].eq(0).all()
    torch.testing.assert_close(texts.scores, texts.log_probabilities.sum(1))


def test_writing_stops_when_all_texts_have_ended() -> None:
    network = counted(lively(SmallTransformer()))
    texts = generate(network, Prompts(torch.tensor([[3], [3]])), STOP, context=None, process=only(1))
    assert texts.tokens.tolist() == [[1], [1]]
    assert network.steps == 1


def counted(network: Any) -> Any:
    network.steps, step = 0, network.step

    def one_more(*arguments: Any) -> Any:
        network.steps += 1
        return step(*arguments)

    network.step = one_more
    return network


@pytest.mark.parametrize("how", HOW)
def test_log_probabilities_are_those_of_the_network(how: Sampling) -> None:
    network: Any = lively(SmallTransformer())
    texts = generate(network, Prompts(torch.tensor([[3, 4], [5, 6]])), Stop(8), how, context=None)
    whole = torch.cat([torch.tensor([[3, 4], [5, 6]]), texts.tokens], dim=1)
    expected = network(whole[:, :-1])[:, 1:].log_softmax(-1).gather(2, texts.tokens[..., None]).squeeze(2)
    torch.testing.assert_close(texts.log_probabilities, expected, atol=1e-4, rtol=1e-4)


def test_a_seed_fixes_the_texts_and_a_longer_text_begins_as_a_shorter() -> None:
    network, prompts = lively(SmallTransformer(), 0.1), pad_left(RAGGED)
    first, again, longer, other = (
        generate(network, prompts, Stop(length), Sampling(seed=seed), context=None).tokens
        for length, seed in ((6, 1), (6, 1), (9, 1), (6, 2))
    )
    assert torch.equal(first, again)
    assert torch.equal(first, longer[:, :6])
    assert not torch.equal(first, other)


def test_torchs_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    generate(SmallTransformer(), Prompts(torch.tensor([[3]])), STOP, Sampling(), context=None)
    assert not torch.equal(torch.rand(3), expected)  # building the network drew
    torch.manual_seed(5)
    network = lively(SmallTransformer())
    torch.manual_seed(5)
    generate(network, Prompts(torch.tensor([[3]])), STOP, Sampling(), context=None)
    assert torch.equal(torch.rand(3), expected)


def test_texts_follow_the_distribution_of_the_network() -> None:
    network: Any = lively(SmallTransformer(), 0.1)
    texts = generate(network, Prompts(torch.tensor([[3]] * 5000)), Stop(1), Sampling(0.8), context=None)
    expected = (network(torch.tensor([[3]]))[0, 0] / 0.8).softmax(-1)
    seen = torch.bincount(texts.tokens[:, 0], minlength=11) / 5000
    assert ((seen - expected).abs() <= 5 * (expected * (1 - expected) / 5000).sqrt()).all()


def test_a_process_sees_the_tokens_so_far_and_changes_the_logits() -> None:
    seen: list[Tensor] = []

    def never_twice(tokens: Tensor, logits: Tensor) -> Tensor:
        seen.append(tokens.clone())
        return logits.scatter(1, tokens, float("-inf"))

    texts = generate(lively(SmallTransformer()), pad_left([[3, 4], [5]]), Stop(6), context=None, process=never_twice)
    whole = torch.cat([torch.tensor([[3, 4], [0, 5]]), texts.tokens], dim=1)
    assert [tokens.tolist() for tokens in seen] == [whole[:, : 2 + n].tolist() for n in range(6)]
    assert all(len(set(row)) == 8 for row in whole.tolist())
    assert texts.log_probabilities.isfinite().all()


def test_the_network_is_in_evaluation_meanwhile_and_as_before_afterwards() -> None:
    network: Any = SmallTransformer().train()
    network.blocks[0].eval()
    before = [module.training for module in network.modules()]
    meanwhile: list[bool] = []

    def look(tokens: Tensor, logits: Tensor) -> Tensor:
        meanwhile.extend(module.training for module in network.modules())
        assert torch.is_inference_mode_enabled()
        return logits

    generate(network, Prompts(torch.tensor([[3]])), Stop(1), context=None, process=look)
    assert not any(meanwhile)
    assert [module.training for module in network.modules()] == before
    with pytest.raises(NonFiniteError, match="no numbers"):
        generate(network, Prompts(torch.tensor([[3]])), Stop(1), context=None, process=lambda t, x: x * float("nan"))
    assert [module.training for module in network.modules()] == before


@pytest.mark.parametrize("how", [*HOW, Beams(2)])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_logits_that_are_no_numbers_are_refused(how: Sampling | Beams, value: float) -> None:
    def spoil(tokens: Tensor, logits: Tensor) -> Tensor:
        spoilt = logits.clone()
        spoilt[tokens[:, 0] == 5] = value
        return spoilt

    write: Any = beam_search if isinstance(how, Beams) else generate
    prompts = Prompts(torch.tensor([[3], [5], [4]]))
    with pytest.raises(NonFiniteError, match="text 1 of this batch has log-probability"):
        write(lively(SmallTransformer()), prompts, Stop(3), how, context=None, process=spoil)


@pytest.mark.parametrize(("scale", "same_as"), [(0.0, "untold"), (1.0, "told"), (3.0, None)])
def test_guidance_goes_from_the_text_without_condition_to_the_one_with_and_on(
    scale: float, same_as: str | None
) -> None:
    network: Any = lively(SmallRecurrent())
    contexts = {"told": torch.randn(3, WIDTH) * 2, "untold": torch.zeros(3, WIDTH)}
    prompts, both = pad_left(RAGGED), (contexts["told"], contexts["untold"])
    guided = generate(Guided(network, scale), prompts, Stop(1), Sampling(), context=both)
    logits, _ = Guided(network, scale).step(prompts.tokens, Guided(network, scale).start(both), prompts.mask)
    told, untold = (
        network.step(prompts.tokens, network.start(context), prompts.mask)[0].log_softmax(-1) for context in both
    )
    torch.testing.assert_close(logits, untold + scale * (told - untold))
    if same_as is not None:
        plain = generate(network, prompts, Stop(1), Sampling(), context=contexts[same_as])
        torch.testing.assert_close(guided.log_probabilities, plain.log_probabilities)


def test_guidance_goes_through_a_beam_search() -> None:
    network: Any = lively(SmallRecurrent())
    contexts = torch.randn(3, WIDTH), torch.zeros(3, WIDTH)
    guided = beam_search(Guided(network, 2.0), pad_left(RAGGED), STOP, Beams(3), context=contexts)
    alone = beam_search(
        Guided(network, 2.0), pad_left(RAGGED[1:2]), STOP, Beams(3), context=(contexts[0][1:2], contexts[1][1:2])
    )
    assert guided.lengths[1].tolist() == alone.lengths[0].tolist()


def test_prompts_are_padded_on_the_left() -> None:
    prompts = pad_left(RAGGED, pad=9)
    assert prompts.tokens.tolist() == [[3, 4, 5, 6], [9, 9, 9, 7], [9, 8, 2, 9]]
    assert prompts.mask is not None
    assert prompts.mask.int().tolist() == [[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1]]
    assert pad_left([[1, 2], [3, 4]]).mask is None


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match="prompt 1 is empty; begin every prompt"):
        pad_left([[3], []])
    with pytest.raises(ConfigError, match="max_new_tokens is 0; let at least 1"):
        Stop(0)
    with pytest.raises(ValueError, match="there are 3 prompts and the numbers of 1 rows"):
        generate(SmallTransformer(), pad_left(RAGGED), STOP, Sampling(), context=None, rows=[4])


@pytest.mark.parametrize("how", [*HOW, Beams(2)])
def test_texts_may_be_trained_on(how: Sampling | Beams) -> None:
    network: Any = lively(SmallTransformer())
    write: Any = beam_search if isinstance(how, Beams) else generate
    texts = write(network, pad_left(RAGGED), STOP, how, context=None)
    assert not any(part.is_inference() for part in texts)
    (network(texts.tokens.flatten(0, -2)).sum() + texts.scores.sum()).backward()
    assert network.embed.weight.grad.isfinite().all()


def test_half_precision_writes_too() -> None:
    texts: Generated = generate(SmallTransformer().bfloat16(), pad_left(RAGGED), STOP, Sampling(), context=None)
    assert texts.log_probabilities.dtype == torch.float32
    assert texts.log_probabilities.isfinite().all()
