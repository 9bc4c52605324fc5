"""The encoder-decoder against torch's own, and what must not change a logit."""

from __future__ import annotations

import pytest
import torch
from hand_made_pairs import ANTIBODIES, SCALE, SMALL, architectures, asked, lively, tokens_of
from torch import Tensor, nn

from tabstar_lit.families.antibody.architecture import Seq2SeqArchitecture, Size
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.seq2seq import Seq2Seq
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD

WAYS = architectures()


@pytest.mark.parametrize(
    ("size", "count"), [("tiny", 952_601), ("small", 5_616_153), ("medium", 44_442_649), ("large", 132_970_009)]
)
def test_has_the_sizes_of_the_original(size: Size, count: int) -> None:
    with torch.device("meta"):
        network = build_network(Seq2SeqArchitecture(size=size), PkdScale())
    assert sum(parameter.numel() for parameter in network.parameters()) == count


class ByTorch(nn.Module):
    """The same network of ``torch.nn.Transformer``, with the mask of the memory."""

    def __init__(self, own: Seq2Seq) -> None:
        super().__init__()
        self.own = own
        width, heads = own.width, own.decoder[0].attention.heads
        self.transformer = nn.Transformer(
            width, heads, len(own.encoder), len(own.decoder), SMALL["feed_forward"],
            dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
        )  # fmt: skip

    def forward(self, antigens: Tensor, tokens: Tensor, pkd: Tensor) -> Tensor:
        own, padding = self.own, antigens == PAD
        source = own._embed(own.antigen_embedding, antigens) + own.pkd(pkd)[:, None]
        written = self.transformer(
            source,
            own._embed(own.antibody_embedding, tokens),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(tokens.shape[1]),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return own.head(written)


def copy_attention(theirs: nn.MultiheadAttention, own: nn.Module) -> None:
    theirs.in_proj_weight.data = torch.cat([own.query.weight, own.key_value.weight])
    theirs.in_proj_bias.data = torch.cat([own.query.bias, own.key_value.bias])
    theirs.out_proj.load_state_dict(own.out.state_dict())


def by_torch(own: Seq2Seq) -> ByTorch:
    network = ByTorch(own).eval()
    for theirs, block in zip(network.transformer.encoder.layers, own.encoder, strict=True):
        copy_attention(theirs.self_attn, block.attention)
        for ours, name in ((block.attention_norm, "norm1"), (block.feed_forward_norm, "norm2"),
                           (block.feed_forward[0], "linear1"), (block.feed_forward[3], "linear2")):  # fmt: skip
            getattr(theirs, name).load_state_dict(ours.state_dict())
    for theirs, block in zip(network.transformer.decoder.layers, own.decoder, strict=True):
        copy_attention(theirs.self_attn, block.attention)
        copy_attention(theirs.multihead_attn, block.cross_attention)
        for ours, name in ((block.attention_norm, "norm1"), (block.cross_attention_norm, "norm2"),
                           (block.feed_forward_norm, "norm3"), (block.feed_forward[0], "linear1"),
                           (block.feed_forward[3], "linear2")):  # fmt: skip
            getattr(theirs, name).load_state_dict(ours.state_dict())
    network.transformer.encoder.norm.load_state_dict(own.encoder_norm.state_dict())
    network.transformer.decoder.norm.load_state_dict(own.decoder_norm.state_dict())
    return network


def test_computes_what_torchs_transformer_computes() -> None:
    own = lively(WAYS["seq2seq_source_add"])
    question, tokens = asked(), tokens_of(ANTIBODIES)
    with torch.no_grad():
        expected = by_torch(own)(question.antigens, tokens, question.pkd)
        found = own(question, tokens)
    torch.testing.assert_close(found[tokens != PAD], expected[tokens != PAD], rtol=1e-4, atol=1e-5)


def test_padding_changes_no_logit_in_single_precision() -> None:
    torch.manual_seed(0)
    network = build_network(Seq2SeqArchitecture(size="tiny"), SCALE).eval()
    with torch.no_grad():
        together, tight = (network(asked(width), tokens_of(ANTIBODIES)) for width in (512, None))
    torch.testing.assert_close(together, tight, rtol=0, atol=1e-5)
