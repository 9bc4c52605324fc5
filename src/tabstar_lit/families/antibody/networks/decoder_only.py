"""A causal transformer with rotary positions (arXiv 2104.09864) that reads the antigen and goes on with the antibody.

Shapes: ``B`` pairs, ``S`` tokens of the prefix, ``T`` of the longest antibody, ``E`` the width, ``V`` tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabstar_lit.families.antibody.architecture import DecoderOnlyArchitecture
from tabstar_lit.families.antibody.networks.conditioning import PkdModulation, PkdToken, PkdVector
from tabstar_lit.families.antibody.networks.source import Asked, Source, Writer, Writing
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD, VOCABULARY_SIZE
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.positions import rotation
from tabstar_lit.nn.transformer import TransformerBlock


class DecoderOnly(Writer):
    """Write an antibody after an antigen, told a pKd before it.

    Padding of the antigen stands between both; nothing looks at it and it takes no position.

    Parameters
    ----------
    config : DecoderOnlyArchitecture
        Sizes and conditioning.
    scale : PkdScale
        Standardisation of pKd.
    """

    def __init__(self, config: DecoderOnlyArchitecture, scale: PkdScale) -> None:
        super().__init__()
        sizes, dropout = config.sizes, config.dropout
        self.dim_head, self.conditioning = sizes.width // sizes.heads, config.conditioning
        self.antigen_embedding = nn.Embedding(VOCABULARY_SIZE, sizes.width, padding_idx=PAD)
        self.antibody_embedding = nn.Embedding(VOCABULARY_SIZE, sizes.width, padding_idx=PAD)
        self.decoder = nn.ModuleList(
            TransformerBlock(
                MultiHeadAttention(sizes.width, sizes.heads, dropout=dropout),
                PointwiseFeedForward(sizes.width, sizes.hidden, dropout=dropout),
                sizes.width,
                dropout=dropout,
            )
            for _ in range(sizes.layers)
        )
        self.decoder_norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, VOCABULARY_SIZE)
        self.dropout = nn.Dropout(dropout)
        self.pkd = _conditioned(config, scale)

    def encode(self, asked: Asked) -> Source:
        """Return the prefix: embeddings of the antigen, told the affinity."""
        x, mask = self.dropout(self.antigen_embedding(asked.antigens)), asked.antigens != PAD
        match self.conditioning:
            case "source_add":
                return Source(x + self.pkd(asked.pkd)[:, None], mask)
            case "prefix":
                there = torch.ones_like(mask[:, :1])
                return Source(torch.cat([self.pkd(asked.pkd), x], dim=1), torch.cat([there, mask], dim=1))
            case "film":
                return Source(x, mask, self.pkd(asked.pkd))
        return Source(x, mask)

    def decode(self, source: Source, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of the token that follows each of ``tokens`` ``[B, T]``."""
        state = Writing(DecoderCache([]), source.modulation)
        x = torch.cat([source.memory, self._embed(tokens)], dim=1)
        mask = torch.cat([source.mask, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
        x = self._read(x, mask, state)[:, source.memory.shape[1] :]
        logits: Tensor = self.head(self.decoder_norm(x))
        return logits

    # -- token by token, see tabstar_lit.nn.decoders.Decoder ----------------------------------------------------------

    def start(self, context: Asked) -> Writing:
        """Read the prefix."""
        source = self.encode(context)
        state = Writing(DecoderCache([KeyValueCache() for _ in self.decoder]), source.modulation)
        self._read(source.memory, source.mask, state)
        return state

    def step(self, tokens: Tensor, state: Writing, mask: Tensor | None = None) -> tuple[Tensor, Writing]:
        """Return the logits ``[B, V]`` of the token after ``tokens`` ``[B, T]``."""
        x = self._read(self._embed(tokens), mask, state)
        logits: Tensor = self.head(self.decoder_norm(x[:, -1]))
        return logits, state

    def _read(self, x: Tensor, mask: Tensor | None, state: Writing) -> Tensor:
        """Run the blocks on tokens ``[B, T, E]`` that follow those remembered, if anything is to be remembered."""
        cache, modulation = state
        positions, mask = cache.admit(x[..., 0], mask)
        turned = rotation(positions, self.dim_head)
        layers = cache.layers or [None] * len(self.decoder)
        for index, (block, layer) in enumerate(zip(self.decoder, layers, strict=True)):
            x = x if modulation is None else modulation.at(index, x)
            x = block(x, mask=mask, causal=True, rotation=turned, cache=layer)
        return x

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.antibody_embedding(tokens))
        return embedded


def _conditioned(config: DecoderOnlyArchitecture, scale: PkdScale) -> nn.Module:
    sizes = config.sizes
    match config.conditioning:
        case "source_add":
            return PkdVector(scale, sizes.width)
        case "prefix":
            return PkdToken(scale, sizes.width)
        case "film":
            return PkdModulation(scale, sizes.width, sizes.layers)
        case "none":
            return nn.Identity()
