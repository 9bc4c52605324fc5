"""Operations that a training step of a generator of antibodies asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from torch import Tensor

from tabstar_lit.families.antibody.networks.decoder_only import DecoderOnly
from tabstar_lit.families.antibody.networks.lstm import Lstm
from tabstar_lit.families.antibody.networks.seq2seq import Seq2Seq
from tabstar_lit.families.antibody.networks.source import Writer
from tabstar_lit.families.antibody.pairs.batch import PairBatch
from tabstar_lit.families.antibody.pairs.tokens import PAD
from tabstar_lit.nn.flops import TRAINED, Cost, Number, attention_cost, causal_pairs, linear_cost, passes
from tabstar_lit.nn.transformer import DecoderBlock


class Read(NamedTuple):
    """How much a network reads.

    Attributes
    ----------
    antigens, antibodies : Tensor
        ``[B]`` tokens of each, padding left out, and of antibodies the last, after which nothing is written.
    """

    antigens: Tensor
    antibodies: Tensor

    @classmethod
    def of(cls, batch: PairBatch) -> Read:
        """Return it for a batch."""
        return cls((batch.antigens != PAD).sum(1), (batch.antibodies != PAD).sum(1) - 1)


Count = Callable[[Read], Number]
"""The operations of a training step that reads so much."""


def step_flops(network: Writer) -> Count:
    """Return what counts the operations of training steps of a network, as it is frozen now; one antigen for each."""
    if isinstance(network, Seq2Seq):
        return _seq2seq(network)
    if isinstance(network, DecoderOnly):
        return _decoder_only(network)
    return _lstm(cast(Lstm, network))


def _seq2seq(network: Seq2Seq) -> Count:
    blocks = cast("list[DecoderBlock]", list(network.decoder))
    of_source = [block.cross_attention.key_value for block in blocks]
    encoder = linear_cost(network.encoder) + attention_cost(network.width, len(network.encoder))
    crossed = linear_cost(*of_source) + attention_cost(network.width, len(blocks))
    decoder = linear_cost(network.decoder, network.head) + attention_cost(network.width, len(blocks))
    decoder += linear_cost(*of_source) * -1
    protein = Cost() if network.protein is None else linear_cost(network.protein) * passes(network.protein)

    def count(read: Read) -> Number:
        antigens, antibodies = read
        found = encoder.of(antigens.sum(), antigens.square().sum())
        found += crossed.of(antigens.sum(), (antigens * antibodies).sum())
        found += decoder.of(antibodies.sum(), causal_pairs(antibodies))
        return TRAINED * found + protein.of(antigens.sum())

    return count


def _decoder_only(network: DecoderOnly) -> Count:
    blocks = linear_cost(network.decoder) + attention_cost(network.head.in_features, len(network.decoder))
    head = linear_cost(network.head)

    def count(read: Read) -> Number:
        both = read.antigens + read.antibodies
        return TRAINED * (blocks.of(both.sum(), causal_pairs(both)) + head.of(read.antibodies.sum()))

    return count


def _lstm(network: Lstm) -> Count:
    width = network.head.in_features
    query = Cost(token=2 * width**2)  # of the weights of the attention; the others make keys of what is read
    encoder = linear_cost(network.encoder, network.attention) + query * -1
    decoder = linear_cost(network.decoder, network.head) + query + Cost(pair=4 * width)  # reads both directions

    def count(read: Read) -> Number:
        antigens, antibodies = read
        found = encoder.of(antigens.sum()) + decoder.of(antibodies.sum(), (antigens * antibodies).sum())
        return TRAINED * found

    return count
