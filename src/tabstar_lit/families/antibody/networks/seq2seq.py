"""The transformer of "Attention Is All You Need" (arXiv 1706.03762), pre-norm: antigen in, antibody out.

Shapes: ``B`` pairs, ``A`` tokens of the longest antigen, ``T`` of the longest antibody, ``E`` the width, ``V`` tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tabstar_lit.families.antibody.architecture import Seq2SeqArchitecture, TransformerSizes
from tabstar_lit.families.antibody.networks.conditioning import PkdModulation, PkdToken, PkdVector
from tabstar_lit.families.antibody.networks.source import Asked, Source, Writer, Writing
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import PAD, VOCABULARY_SIZE
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.feed_forward import PointwiseFeedForward
from tabstar_lit.nn.positions import sinusoids
from tabstar_lit.nn.transformer import DecoderBlock, TransformerBlock

if TYPE_CHECKING:
    from tabstar_lit.families.antibody.networks.protein import ProteinEncoder


class Seq2Seq(Writer):
    """Write an antibody residue by residue, reading an antigen and told a pKd.

    Padding of antigens is masked in the encoder and in the decoder, so that no logit depends on it.

    Parameters
    ----------
    config : Seq2SeqArchitecture
        Sizes and conditioning.
    scale : PkdScale
        Standardisation of pKd.
    protein : ProteinEncoder or None
        Reads antigens before the blocks do, instead of embeddings.
    """

    def __init__(self, config: Seq2SeqArchitecture, scale: PkdScale, protein: ProteinEncoder | None = None) -> None:
        super().__init__()
        sizes, dropout = config.sizes, config.dropout
        self.width, self.conditioning = sizes.width, config.conditioning
        self.antigen_embedding = (
            nn.Embedding(VOCABULARY_SIZE, sizes.width, padding_idx=PAD) if protein is None else None
        )
        self.antibody_embedding = nn.Embedding(VOCABULARY_SIZE, sizes.width, padding_idx=PAD)
        self.encoder = nn.ModuleList(_reading(sizes, dropout) for _ in range(config.encoder_depth))
        self.encoder_norm = nn.LayerNorm(sizes.width)
        self.decoder = nn.ModuleList(_writing(sizes, dropout) for _ in range(sizes.layers))
        self.decoder_norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, VOCABULARY_SIZE)
        self.dropout = nn.Dropout(dropout)
        self.pkd = _conditioned(config, scale)
        start_evenly(self)
        if isinstance(self.pkd, PkdModulation):
            self.pkd.start_as_nothing()
        self.protein = protein  # keeps the weights it comes with

    def encode(self, asked: Asked) -> Source:
        """Read antigens and pKd."""
        x, mask = self._read(asked.antigens), asked.antigens != PAD
        if (
            asked.templates is not None
        ):  # in the letters and at the places of the antibody, whatever the antigen's length
            x = torch.cat([x, self._embed(self.antibody_embedding, asked.templates)], dim=1)
            mask = torch.cat([mask, asked.templates != PAD], dim=1)
        modulation = None
        match self.conditioning:
            case "source_add":
                x = x + self.pkd(asked.pkd)[:, None]
            case "prefix":
                x, mask = _before(self.pkd(asked.pkd), x, mask)
            case "film":
                modulation = self.pkd(asked.pkd)
        for block in self.encoder:
            x = block(x, mask=mask)
        x = self.encoder_norm(x)
        if self.conditioning == "cross_attention":
            x, mask = _before(self.pkd(asked.pkd), x, mask)
        return Source(x, mask, modulation)

    def decode(self, source: Source, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of the token that follows each of ``tokens`` ``[B, T]``."""
        x = self._embed(self.antibody_embedding, tokens)
        for index, block in enumerate(self.decoder):
            x = x if source.modulation is None else source.modulation.at(index, x)
            x = block(x, source.memory, source_mask=source.mask)
        logits: Tensor = self.head(self.decoder_norm(x))
        return logits

    # -- token by token, see tabstar_lit.nn.decoders.Decoder ----------------------------------------------------------

    def start(self, context: Asked) -> Writing:
        """Read what is asked for once, and keep what each block makes of it."""
        source = self.encode(context)
        blocks = cast("Iterable[DecoderBlock]", self.decoder)
        read = [block.cross_attention.keys_values(source.memory) for block in blocks]
        return Writing(DecoderCache([KeyValueCache() for _ in self.decoder], read, source.mask), source.modulation)

    def step(self, tokens: Tensor, state: Writing, mask: Tensor | None = None) -> tuple[Tensor, Writing]:
        """Return the logits ``[B, V]`` of the token after ``tokens`` ``[B, T]``."""
        cache, modulation = state
        positions, mask = cache.admit(tokens, mask)
        x = self._embed(self.antibody_embedding, tokens, positions)
        for index, (block, layer, source) in enumerate(zip(self.decoder, cache.layers, cache.sources, strict=True)):
            x = x if modulation is None else modulation.at(index, x)
            x = block(x, source, mask=mask, source_mask=cache.source_mask, cache=layer)
        logits: Tensor = self.head(self.decoder_norm(x[:, -1]))
        return logits, state

    def _read(self, antigens: Tensor) -> Tensor:
        """Return vectors of the antigens' residues, ``[B, A, E]``."""
        if self.protein is None or self.antigen_embedding is not None:
            return self._embed(cast("nn.Module", self.antigen_embedding), antigens)
        read: Tensor = self.dropout(self.protein(antigens))
        return read

    def _embed(self, table: nn.Module, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Return embeddings and sinusoids of the positions, ``[B, T, E]``."""
        places = torch.arange(tokens.shape[1], device=tokens.device) if positions is None else positions
        embedded: Tensor = self.dropout(table(tokens) * math.sqrt(self.width) + sinusoids(places, self.width))
        return embedded


def start_evenly(network: nn.Module) -> None:
    """Draw all matrices from Glorot's uniform distribution, and leave the vector of padding at zero."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    for module in network.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])


def _reading(sizes: TransformerSizes, dropout: float) -> TransformerBlock:
    attention, layers = _attention(sizes, dropout), _layers(sizes, dropout)
    return TransformerBlock(attention, layers, sizes.width, dropout=dropout)


def _writing(sizes: TransformerSizes, dropout: float) -> DecoderBlock:
    attention, reading = _attention(sizes, dropout), _attention(sizes, dropout)
    return DecoderBlock(attention, reading, _layers(sizes, dropout), sizes.width, dropout=dropout)


def _attention(sizes: TransformerSizes, dropout: float) -> MultiHeadAttention:
    return MultiHeadAttention(sizes.width, sizes.heads, dropout=dropout)


def _layers(sizes: TransformerSizes, dropout: float) -> PointwiseFeedForward:
    return PointwiseFeedForward(sizes.width, sizes.hidden, dropout=dropout)


def _conditioned(config: Seq2SeqArchitecture, scale: PkdScale) -> nn.Module:
    sizes = config.sizes
    match config.conditioning:
        case "source_add":
            return PkdVector(scale, sizes.width)
        case "prefix" | "cross_attention":
            return PkdToken(scale, sizes.width)
        case "film":
            return PkdModulation(scale, sizes.width, sizes.layers)
        case "none":
            return nn.Identity()


def _before(token: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put a token ``[B, 1, E]`` before the others, and say that it is there."""
    return torch.cat([token.to(x.dtype), x], dim=1), torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
