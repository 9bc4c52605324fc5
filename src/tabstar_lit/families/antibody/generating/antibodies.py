"""New antibodies for antigens: written, scored, and compared with those of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.data.plans import cut
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.families.antibody.generating.decoding import Decoding, Guidance, write
from tabstar_lit.families.antibody.generating.scoring import Question, table
from tabstar_lit.families.antibody.networks.source import Writer
from tabstar_lit.families.antibody.pairs.tokens import START
from tabstar_lit.nn.generation import Generated


class Written(NamedTuple):
    """``M`` antibodies.

    Attributes
    ----------
    question : NDArray of int64
        ``[M]`` the row of the question each one answers, in rising order.
    tokens : Ragged
        Token rows, from START to END where there is one.
    ended : NDArray of bool
        ``[M]`` False where the greatest length cut it.
    """

    question: Int64
    tokens: Ragged
    ended: Bool


def write_antibodies(
    network: Writer,
    question: Question,
    decoding: Decoding,
    guidance: Guidance,
    *,
    batch_size: int,
    device: torch.device,
    template: Int64 | None = None,
    progress: Progress = no_progress,
) -> Written:
    """Write an antibody for each row of a question, or in a beam search as many as there are beams.

    Those for antigens of similar length are written together, which changes nothing but the time it takes: draws
    depend on the row's number.

    Parameters
    ----------
    network : Writer
        The network, in evaluation mode.
    question : Question
        What is asked for.
    decoding, guidance
        See :func:`tabstar_lit.families.antibody.generating.decoding.write`.
    batch_size : int
        Rows that are written together.
    device : torch.device
        Of the network.
    template : NDArray of int64 or None
        ``[T]`` tokens of an antibody in which UNKNOWN is to be filled in.
    progress : callable
        For a progress bar.
    """
    tokens, ended = dict[int, list[Int64]](), dict[int, list[bool]]()
    with progress(len(question.antigen)) as advance:
        for rows_of_batch in cut(question.by_length(), batch_size):
            asked = question.asked(rows_of_batch, device)
            if template is not None:
                asked = asked._replace(templates=table(template, device).expand(len(rows_of_batch), -1))
            written = write(network, asked, decoding, guidance, rows_of_batch.tolist())
            for row, texts, ends in zip(rows_of_batch.tolist(), *_texts(written), strict=True):
                tokens[row], ended[row] = texts, ends
            advance(len(rows_of_batch))
    order = sorted(tokens)
    rows = np.repeat(order, [len(tokens[row]) for row in order])
    return Written(
        rows,
        Ragged.of((text for row in order for text in tokens[row]), np.int32),
        np.array([end for row in order for end in ended[row]], dtype=bool),
    )


def _texts(written: Generated) -> tuple[list[list[Int64]], list[list[bool]]]:
    """Return the token rows of each question, START first, and whether they ended; a beam search has several."""
    tokens, lengths, ended = (part.cpu().numpy() for part in (written.tokens, written.lengths, written.ended))
    if tokens.ndim == 2:
        tokens, lengths, ended = tokens[:, None], lengths[:, None], ended[:, None]
    texts = [
        [np.concatenate([[START], text[:length]]) for text, length in zip(row, long, strict=True) if length]
        for row, long in zip(tokens, lengths, strict=True)
    ]
    ends = [[bool(end) for end, length in zip(row, long, strict=True) if length]
            for row, long in zip(ended, lengths, strict=True)]  # fmt: skip
    return texts, ends


def numbered(names: Sequence[str], question: Int64) -> list[str]:
    """Return ``name_1``, ``name_2``, ... for rows ``[M]`` of the names of their questions."""
    seen: dict[str, int] = {}
    labels = []
    for name in (names[row] for row in question):
        seen[name] = seen.get(name, 0) + 1
        labels.append(f"{name}_{seen[name]}")
    return labels
