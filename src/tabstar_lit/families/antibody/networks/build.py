"""The network that a configuration describes."""

from __future__ import annotations

from typing import Any

from tabstar_lit.families.antibody.networks.decoder_only import DecoderOnly
from tabstar_lit.families.antibody.networks.lstm import Lstm
from tabstar_lit.families.antibody.networks.seq2seq import Seq2Seq
from tabstar_lit.families.antibody.networks.source import Writer
from tabstar_lit.families.antibody.pairs.scale import PkdScale

NETWORKS: dict[str, tuple[type[Any], str]] = {
    "Seq2Seq": (Seq2Seq, "a transformer reads the antigen, another writes the antibody"),
    "DecoderOnly": (DecoderOnly, "one causal transformer reads the antigen and goes on with the antibody"),
    "LSTM": (Lstm, "a bidirectional LSTM reads the antigen, another with attention writes the antibody"),
}
"""Class of each network, and a line about it."""


def build_network(architecture: Any, scale: PkdScale) -> Writer:
    """Return the network of an ``architecture_config``; ``scale`` is that of pKd."""
    network: Writer = NETWORKS[architecture.model][0](architecture, scale)
    return network


def network_lines() -> dict[str, str]:
    """Return the networks and a line about each."""
    return {name: line for name, (_, line) in NETWORKS.items()}
