"""The likelihood of given antibodies, batch by batch, in an order that wastes little on padding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Array, Float32, Int64
from tabstar_lit.data.plans import cut
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.families.antibody.likelihood import token_losses
from tabstar_lit.families.antibody.networks.source import Asked, Writer


class Question(NamedTuple):
    """What ``N`` antibodies are asked for; many may be asked for one antigen.

    Attributes
    ----------
    antigens : Ragged
        Token rows, START to END.
    antigen : NDArray of int64
        ``[N]`` which of them.
    pkd : NDArray of float32
        ``[N]``, NaN where none is asked for.
    """

    antigens: Ragged
    antigen: Int64
    pkd: Float32

    def asked(self, rows: Int64, device: torch.device) -> Asked:
        """Return some rows for the network."""
        tokens, _ = self.antigens.padded(self.antigen[rows])
        return Asked(table(tokens, device), torch.from_numpy(self.pkd[rows]).to(device))

    def by_length(self, more: Int64 | None = None) -> Int64:
        """Return the rows in rising order of the antigens' lengths; ``more`` ``[N]`` counts too."""
        lengths = self.antigens.lengths[self.antigen]
        return np.argsort(lengths if more is None else lengths + more, kind="stable")


class Scores(NamedTuple):
    """Of ``N`` antibodies.

    Attributes
    ----------
    log_likelihood : NDArray of float32
        ``[N]`` in nats, END counted.
    tokens : NDArray of int64
        ``[N]`` how many were to be predicted.
    """

    log_likelihood: Float32
    tokens: Int64


def score(
    network: Writer,
    question: Question,
    antibodies: Ragged,
    *,
    batch_size: int,
    device: torch.device,
    progress: Progress = no_progress,
) -> Scores:
    """Return the log-likelihood of each antibody, token rows from START to END, for its antigen and pKd."""
    found = np.zeros(len(antibodies), dtype=np.float32)
    batches = cut(question.by_length(antibodies.lengths), batch_size)
    with torch.inference_mode(), progress(len(antibodies)) as advance:
        for rows in batches:
            tokens = table(antibodies.padded(rows)[0], device)
            losses = token_losses(network(question.asked(rows, device), tokens[:, :-1]), tokens)
            found[rows] = -losses.nll.double().sum(1).float().cpu().numpy()
            advance(len(rows))
    return Scores(found, antibodies.lengths - 1)


def table(tokens: Array, device: torch.device) -> Tensor:
    """Return a table of token ids as int64 on a device."""
    return torch.from_numpy(tokens.astype(np.int64)).to(device)
