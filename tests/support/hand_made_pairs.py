"""Small batches of pairs, made by hand, and small networks for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.families.antibody.architecture import (
    AntibodyArchitecture,
    DecoderOnlyArchitecture,
    LstmArchitecture,
    Seq2SeqArchitecture,
)
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.batch import PairBatch
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD, TOKENIZER

ANTIGENS = ("ACDEFGHIK", "WYV", "MMKLPQRST", "ACDEFGHIK")
ANTIBODIES = ("EVQLVESW|DIQMT", "QVQLKR", "EVQ|DIVLT", "QVKLVE|SYVLT")
PKDS = (9.0, 6.5, float("nan"), 7.5)
SMALL: dict[str, Any] = {"size": "tiny", "width": 16, "heads": 2, "feed_forward": 24, "decoder_layers": 2}
SCALE = PkdScale(7.5, 1.2)


def tokens_of(texts: tuple[str, ...], width: int | None = None) -> Tensor:
    """Return START, letters, END, padded to the longest or to ``width``: ``[B, T]``."""
    ragged = TOKENIZER.encode(list(texts))
    rows = [torch.tensor(ragged[row]).long() for row in range(len(ragged))]
    table = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    return table if width is None else nn.functional.pad(table, (0, width - table.shape[1]))


def asked(antigen_width: int | None = None) -> Asked:
    """Return what :func:`pairs` asks for."""
    return Asked(tokens_of(ANTIGENS, antigen_width), torch.tensor(PKDS))


def pairs() -> PairBatch:
    """Return four pairs: two of one antigen, one without light chain, one without pKd; regions in turn."""
    antibodies = tokens_of(ANTIBODIES)
    places = torch.arange(antibodies.shape[1])
    regions = torch.where(antibodies > 4, places % 15, 0).to(torch.int8)
    germline = torch.where(antibodies > 4, places % 2, -1).to(torch.int8)
    return PairBatch(
        tokens_of(ANTIGENS),
        antibodies,
        torch.tensor(PKDS),
        regions,
        germline,
        torch.arange(len(antibodies)),
        int((antibodies[:, 1:] != PAD).sum()),
    )


def architectures() -> dict[str, AntibodyArchitecture]:
    """Return a small architecture of each kind, with each way of telling it the affinity."""
    ways = ("source_add", "prefix", "film", "cross_attention", "none")
    translators = {f"seq2seq_{way}": Seq2SeqArchitecture(**SMALL, encoder_layers=2, conditioning=way) for way in ways}
    prefixed = {
        f"decoder_only_{way}": DecoderOnlyArchitecture(**SMALL, conditioning=way)
        for way in ("source_add", "prefix", "film", "none")
    }
    return {**translators, **prefixed, "lstm_state_add": LstmArchitecture(size="tiny")}


def lively(architecture: AntibodyArchitecture, scale: float = 0.3) -> nn.Module:
    """Return its network in evaluation, with weights far from their start."""
    torch.manual_seed(0)
    network = build_network(architecture, SCALE)
    for parameter in network.parameters():
        parameter.data += (scale if parameter.ndim > 1 else 0.02) * torch.randn_like(parameter)
    return network.eval()
