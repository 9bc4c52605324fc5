"""A bidirectional LSTM that reads the antigen, and one with attention (arXiv 1409.0473) that writes the antibody.

Shapes: ``B`` pairs, ``A`` tokens of the longest antigen, ``T`` of the longest antibody, ``L`` layers, ``H`` the width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tabstar_lit.families.antibody.architecture import LstmArchitecture
from tabstar_lit.families.antibody.networks.conditioning import StandardPkd
from tabstar_lit.families.antibody.networks.source import Asked, Writer
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD, VOCABULARY_SIZE
from tabstar_lit.nn.masking import masked_softmax


class Reading(NamedTuple):
    """What the decoder remembers.

    Attributes
    ----------
    hidden, cell : Tensor
        ``[B, L, H]``.
    memory : Tensor
        ``[B, A, 2 H]`` what the encoder made of the antigen.
    keys : Tensor
        ``[B, A, H]`` what attention makes of that.
    mask : Tensor
        ``[B, A]`` bool, True where there is something.
    """

    hidden: Tensor
    cell: Tensor
    memory: Tensor
    keys: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Reading:
        """Return these rows, in this order; a row may be taken more than once."""
        return Reading(*(part.index_select(0, rows) for part in self))


class Lstm(Writer):
    """Write an antibody residue by residue from a recurrent state, which pKd is added to at the start.

    After a token it predicts the next one, in training and in writing alike.

    Parameters
    ----------
    config : LstmArchitecture
        Sizes, conditioning, and how often training tells the true residue.
    scale : PkdScale
        Standardisation of pKd.
    """

    def __init__(self, config: LstmArchitecture, scale: PkdScale) -> None:
        super().__init__()
        embedding, width, layers = config.sizes
        self.teacher_forcing, self.conditioned = config.teacher_forcing, config.conditioning != "none"
        between = config.dropout if layers > 1 else 0.0
        self.antigen_embedding = nn.Embedding(VOCABULARY_SIZE, embedding, padding_idx=PAD)
        self.antibody_embedding = nn.Embedding(VOCABULARY_SIZE, embedding, padding_idx=PAD)
        self.encoder = nn.LSTM(embedding, width, layers, dropout=between, bidirectional=True, batch_first=True)
        self.hidden_projection = nn.Linear(2 * width, width)
        self.cell_projection = nn.Linear(2 * width, width)
        self.standard = StandardPkd(scale)
        if self.conditioned:
            self.pkd = nn.Linear(1, width)
        self.attention = nn.Linear(3 * width, width)
        self.decoder = nn.LSTM(embedding + 2 * width, width, layers, dropout=between, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY_SIZE)
        self.dropout = nn.Dropout(config.dropout)

    def encode(self, asked: Asked) -> Reading:
        """Read antigens and pKd."""
        mask = asked.antigens != PAD
        embedded = self.dropout(self.antigen_embedding(asked.antigens))
        # Packing is what keeps padding out of the backward direction; it wants lengths on the host.
        packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states, (hidden, cell) = self.encoder(packed)
        memory, _ = pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])
        hidden, cell = self.hidden_projection(_joined(hidden)), self.cell_projection(_joined(cell))
        if self.conditioned:
            scores, known = self.standard(asked.pkd)
            told = torch.where(known, self.pkd(scores), 0.0)
            hidden = torch.cat([hidden[:, :-1], hidden[:, -1:] + told[:, None]], dim=1)
        width = hidden.shape[2]
        keys = functional.linear(memory, self.attention.weight[:, width:], self.attention.bias)
        return Reading(hidden, cell, memory, keys, mask)

    def decode(self, source: Reading, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of the token that follows each of ``tokens`` ``[B, T]``.

        In training some tokens are replaced by the likeliest of those that were predicted there, see
        ``teacher_forcing``.
        """
        told = torch.rand(tokens.shape[1], device=tokens.device) < self.teacher_forcing
        state, given, predicted = source, tokens[:, 0], list[Tensor]()
        for place in range(tokens.shape[1]):
            if place:
                own = predicted[-1].argmax(-1)
                given = torch.where(told[place], tokens[:, place], own) if self.training else tokens[:, place]
            logits, state = self._next(given, state)
            predicted.append(logits)
        return torch.stack(predicted, dim=1)

    # -- token by token, see tabstar_lit.nn.decoders.Decoder ----------------------------------------------------------

    def start(self, context: Asked) -> Reading:
        """Read what is asked for once."""
        return self.encode(context)

    def step(self, tokens: Tensor, state: Reading, mask: Tensor | None = None) -> tuple[Tensor, Reading]:
        """Return the logits ``[B, V]`` of the token after ``tokens`` ``[B, T]``; padding leaves the state alone."""
        for place in range(tokens.shape[1]):
            logits, after = self._next(tokens[:, place], state)
            if mask is not None:
                there = mask[:, place, None, None]
                hidden, cell = (
                    torch.where(there, after.hidden, state.hidden),
                    torch.where(there, after.cell, state.cell),
                )
                after = after._replace(hidden=hidden, cell=cell)
            state = after
        return logits, state

    def _next(self, tokens: Tensor, state: Reading) -> tuple[Tensor, Reading]:
        """Read one token ``[B]`` and return the logits of the next, ``[B, V]``."""
        width = state.hidden.shape[2]
        query = functional.linear(state.hidden[:, -1], self.attention.weight[:, :width])
        scores = torch.tanh(state.keys + query[:, None]).sum(-1)
        context = torch.einsum("ba,bae->be", masked_softmax(scores, state.mask), state.memory)
        given = torch.cat([self.dropout(self.antibody_embedding(tokens)), context], dim=-1)
        hidden, cell = (part.transpose(0, 1).contiguous() for part in (state.hidden, state.cell))
        out, (hidden, cell) = self.decoder(given[:, None], (hidden, cell))
        logits: Tensor = self.head(out[:, 0])
        return logits, state._replace(hidden=hidden.transpose(0, 1), cell=cell.transpose(0, 1))


def _joined(states: Tensor) -> Tensor:
    """Put both directions ``[2 L, B, H]`` of each layer side by side: ``[B, L, 2 H]``."""
    return states.view(-1, 2, *states.shape[1:]).permute(2, 0, 1, 3).flatten(2)
