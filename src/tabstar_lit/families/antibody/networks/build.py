"""The network that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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


def build_network(architecture: Any, scale: PkdScale, protein: Mapping[str, Any] | None = None) -> Writer:
    """Return the network of an ``architecture_config``.

    Parameters
    ----------
    architecture : AntibodyArchitecture
        Which, and its sizes.
    scale : PkdScale
        That of pKd.
    protein : Mapping or None
        What a checkpoint keeps of a pretrained encoder, see :meth:`.ProteinEncoder.payload`; None: it is read from the
        folder that the architecture names.

    Raises
    ------
    EncoderError
        The folder of the pretrained encoder cannot be read.
    """
    folder = getattr(architecture, "antigen_encoder", None)
    if folder is None:
        network: Writer = NETWORKS[architecture.model][0](architecture, scale)
        return network
    from tabstar_lit.families.antibody.networks.protein import of_payload, read_protein_encoder

    width = architecture.sizes.width
    reader = read_protein_encoder(Path(folder).expanduser(), width) if protein is None else of_payload(protein, width)
    return Seq2Seq(architecture, scale, reader)


def network_lines() -> dict[str, str]:
    """Return the networks and a line about each."""
    return {name: line for name, (_, line) in NETWORKS.items()}
