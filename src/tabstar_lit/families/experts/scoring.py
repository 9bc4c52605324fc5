"""How likely each document is to a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from tabstar_lit.data.plans import RowBatch, cut
from tabstar_lit.families.experts.networks.objectives import token_nats
from tabstar_lit.families.experts.text.datasets import Side, TokenBatches
from tabstar_lit.families.experts.text.rows import lay_out
from tabstar_lit.families.experts.text.tokenizing import Framing


def document_scores(
    network: nn.Module, framing: Framing, texts: Sequence[str], context_length: int, batch_size: int
) -> pd.DataFrame:
    """Return the likelihood of each text, which is read in rows as in training.

    What follows the first row of a long document is predicted without what is before it.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    framing : Framing
        Its tokenizer.
    texts : sequence of str
        N documents, none of them empty.
    context_length : int
        Tokens in a row.
    batch_size : int
        Rows in a batch.

    Returns
    -------
    DataFrame
        N rows: ``nats``, ``tokens``, ``bytes``, ``loss``, ``bits_per_byte``.
    """
    tokens = framing.encode(texts)
    n_bytes = np.array([len(text.encode("utf-8", errors="replace")) for text in texts], dtype=np.int64)
    rows = lay_out(tokens, context_length, "padded")
    pieces = rows.pieces(rows.numbers)
    owners = np.searchsorted(tokens.offsets, pieces.starts, side="right") - 1
    batches = TokenBatches([Side("texts", tokens, n_bytes, rows)], None)
    device = next(network.parameters()).device
    by_row = np.zeros(len(owners))
    # Rows of like length stand together, so that little is padded.
    for part in cut(np.argsort(pieces.lengths, kind="stable"), batch_size):
        with torch.inference_mode():
            nats = token_nats(network, batches[RowBatch(0, part)].to(device))
        by_row[part] = nats.double().sum(1).cpu().numpy()
    nats_of = np.bincount(owners, weights=by_row, minlength=len(texts))
    targets = tokens.lengths - 1
    return pd.DataFrame(
        {
            "nats": nats_of,
            "tokens": targets,
            "bytes": n_bytes,
            "loss": nats_of / targets,
            "bits_per_byte": nats_of / np.log(2) / n_bytes,
        }
    )
