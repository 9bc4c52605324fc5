"""Antibodies that the network writes for validation antigens, beside those that are known for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from tabstar_lit.arrays import Int64
from tabstar_lit.families.antibody.generating.antibodies import write_antibodies
from tabstar_lit.families.antibody.generating.decoding import Decoding, Guidance
from tabstar_lit.families.antibody.generating.scoring import Question
from tabstar_lit.families.antibody.numbering.texts import Numbered, number_texts
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.tokens import TOKENIZER
from tabstar_lit.families.antibody.tracking_config import AntibodyTracking
from tabstar_lit.nn.sampling import Sampling

BATCH_SIZE = 64
LONGER = 1.25
"""Antibodies may be longer than the longest of training by this factor; one without END is cut there."""


class Samples(NamedTuple):
    """What was written.

    Attributes
    ----------
    written : list of Numbered
        Antibodies with regions and flaws.
    rows : NDArray of int64
        ``[M]`` the pair each was asked like: with its antigen and its affinity.
    """

    written: list[Numbered]
    rows: Int64


def asked_rows(data: AntibodyData, tracking: AntibodyTracking, side: str) -> Int64:
    """Return the pairs that antibodies are asked like: one of each of some clusters, each several times."""
    rows = data.split[side]
    clusters = data.pairs.clusters[data.pairs.antigen[rows]]
    _, first = np.unique(clusters, return_index=True)
    chosen = rows[np.sort(first)][: tracking.antigens]
    return np.asarray(np.resize(chosen, tracking.samples))


def write_samples(
    network: Any, data: AntibodyData, tracking: AntibodyTracking, device: torch.device, side: str
) -> Samples:
    """Let a network write antibodies for a side of the split, always with the same noise."""
    rows = asked_rows(data, tracking, side)
    longest = max(len(data.pairs.antibodies[row]) for row in data.split["train"])
    decoding = Decoding(
        sampling=Sampling(temperature=tracking.temperature, top_p=tracking.top_p if tracking.top_p < 1 else None),
        max_tokens=min(int(LONGER * longest) + 2, data.dataset.max_antibody_tokens),
    )
    antigens = data.antigens_of(rows)
    question = Question(antigens, np.arange(len(rows)), data.pairs.pkd[rows])
    found = write_antibodies(
        network, question, decoding, Guidance(pkd=False, antigen=False), batch_size=BATCH_SIZE, device=device
    )
    texts = [TOKENIZER.decode(found.tokens[row].tolist()) for row in range(len(found.tokens))]
    numbered = number_texts(texts, data.germlines, ended=found.ended.tolist(), max_run=tracking.max_run)
    return Samples(numbered, rows[found.question])


def real_antibodies(data: AntibodyData, side: str) -> list[Numbered]:
    """Return the known antibodies of a side of the split, with their regions."""
    pairs = data.pairs
    return [Numbered(pairs.antibodies[row], pairs.regions[row], ()) for row in data.split[side]]
