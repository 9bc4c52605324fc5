"""A BERT encoder (arXiv 1810.04805) that hardly pads, and trains only its upper layers.

Weights, names and configuration are those of ``transformers``; only the order of the work is different.
The tokens of all strings lie end to end: as one ragged stream where attention has a kernel for that, else, sorted by
length, in blocks of (nearly) equal length. Every token-wise layer runs once on all tokens, and only attention sees
where a string ends. Where the first token's vector is asked for, the last layer is computed for that token only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tabstar_lit.arrays import Int64
from tabstar_lit.errors import EncoderError
from tabstar_lit.nn.ragged_attention import has_kernel
from tabstar_lit.nn.text_layout import (
    CPU_PACKING,
    GPU_PACKING,
    Layout,
    Packing,
    RaggedLayout,
    block_layouts,
)


class TextEncoder(nn.Module):
    """Encode unique strings, given as token ids, to one vector each.

    The frozen lower part (embeddings and all layers but the last ``unfreeze_layers``) has no gradient **and
    no dropout**, also while the rest trains: its output for a string is a constant. (The official code leaves
    dropout on there.) What is frozen is read from ``requires_grad`` at each call, so freezing from the
    outside counts too.

    Parameters
    ----------
    bert : PreTrainedModel
        Whose embeddings, layers and pooler are taken over; the pooler is kept for its names and never
        computed.
    tokenizer : str
        The text of the ``tokenizer.json`` that belongs to it; travels with the encoder into checkpoints.
    pooling : str
        ``"cls"``: the vector of the first token; ``"mean"``: the mean over the tokens.
    unfreeze_layers : int or "all"
        How many of the last layers are trained.

    Attributes
    ----------
    layout : str or None
        ``"ragged"`` or ``"blocks"``; None: ragged where there is a kernel for it.
    """

    # transformers states no types for its parts.
    embeddings: Any
    encoder: Any

    def __init__(
        self, bert: PreTrainedModel, tokenizer: str, *, pooling: str = "cls", unfreeze_layers: int | str = 0
    ) -> None:
        super().__init__()
        self.config = bert.config
        self.embeddings = bert.embeddings
        self.encoder = bert.encoder
        self.pooler = bert.pooler
        self.tokenizer = tokenizer
        self.pooling = pooling
        # RoBERTa counts positions from behind the padding token's.
        self._first_position = 0 if bert.config.model_type == "bert" else int(bert.config.pad_token_id or 0) + 1
        self.layout: Literal["ragged", "blocks"] | None = None
        self._copies = LayerCopies()
        self._compiled: Any = None
        self._parts: list[tuple[nn.Module, tuple[nn.Parameter, ...]]] = []
        self.recount()
        self._freeze(unfreeze_layers)

    def recount(self) -> None:
        """Look again at the parameters of the layers; call this when modules were put into them, such as adapters."""
        # Asked for in every step, and slow to collect.
        self._parts = [(part, tuple(part.parameters())) for part in (self.embeddings, *self.encoder.layer)]

    @property
    def width(self) -> int:
        """Width ``D`` of a string's vector."""
        return int(self.config.hidden_size)

    @property
    def is_frozen(self) -> bool:
        """Whether a string's vector is a constant of the run."""
        return self._first_trainable() > len(self.encoder.layer)

    def forward(
        self, token_ids: Tensor, lengths: Sequence[int], starts: Tensor | None = None, frozen: Tensor | None = None
    ) -> Tensor:
        """Encode strings.

        Parameters
        ----------
        token_ids : Tensor of int64
            ``[T]``, string after string, or ``[U, L]``, padded anyhow behind each string's length.
        lengths : sequence of int
            ``[U]`` number of tokens of each string, on the host. Fastest when ascending.
        starts : Tensor of int32 or None
            ``[U + 1]`` where each string begins in ``[T]``, and its end, on the device; None: made of ``lengths``.
        frozen : Tensor or None
            ``[T, D]``: what :meth:`frozen_states` gave for these tokens, where that is known.

        Returns
        -------
        Tensor
            ``[U, D]``.
        """
        if token_ids.ndim == 2:
            token_ids = _end_to_end(token_ids, lengths)
        first = self._settle_frozen()
        numbers = range(first if first else 1, len(self.encoder.layer) + 1)
        if self.is_ragged(token_ids.device, frozen):
            ragged = RaggedLayout(_starts(lengths, starts, token_ids.device), lengths)
            below = self._below(token_ids, ragged, first) if frozen is None else frozen
            above = self._compiled or self._above
            return above(below, ragged, numbers)
        if any(lengths[i] > lengths[i + 1] for i in range(len(lengths) - 1)):
            order = sorted(range(len(lengths)), key=lengths.__getitem__)
            places = torch.from_numpy(_tokens_of(order, lengths)).to(token_ids.device)
            known = None if frozen is None else frozen[places]
            vectors = self(token_ids[places], [lengths[i] for i in order], frozen=known)
            return torch.empty_like(vectors).index_copy(0, torch.tensor(order, device=vectors.device), vectors)
        parts = []
        for own, layout in block_layouts(lengths, self._packing(token_ids.device), token_ids.device):
            below = self._below(token_ids[own], layout, first) if frozen is None else layout.spread(frozen[own])
            parts.append(self._above(below, layout, numbers))
        return torch.cat(parts)

    @torch.no_grad()
    def frozen_states(self, token_ids: Tensor, lengths: Sequence[int], starts: Tensor | None = None) -> Tensor:
        """Return what the frozen lower part makes of tokens: ``[T]`` of strings, ascending in length, to ``[T, D]``.

        It is a constant of the run, of the precision that training has.
        """
        first = self._settle_frozen()
        if self.is_ragged(token_ids.device):
            return self._below(token_ids, RaggedLayout(_starts(lengths, starts, token_ids.device), lengths), first)
        layouts = block_layouts(lengths, self._packing(token_ids.device), token_ids.device)
        return torch.cat([layout.stream(self._below(token_ids[own], layout, first)) for own, layout in layouts])

    @property
    def frozen_layers(self) -> int:
        """Layers below the lowest trained one: embeddings and all of these are frozen; 0 where nothing is."""
        return max(0, self._first_trainable() - 1)

    def compile_layers(self, backend: str = "inductor") -> None:
        """Let ``torch.compile`` make kernels for the trained layers, for any number of strings and tokens in a stream.

        Blocks are left as they are: every number of them would be compiled anew.
        """
        self._compiled = torch.compile(self._above, dynamic=True, backend=backend)

    def _below(self, token_ids: Tensor, layout: Layout, first_trainable: int) -> Tensor:
        """Return what the trained layers start from, ``[P, D]``: embeddings and frozen layers, without a gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and first_trainable == 0):
            hidden = self._embed(layout.spread(token_ids), layout.positions())
        layers = list(self.encoder.layer)[: max(0, first_trainable - 1)]
        dtype = compute_dtype(hidden)
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            copies = self._copies.of(layers, dtype)
            hidden = hidden.to(dtype) if layers else hidden
            for number, layer in enumerate(copies, start=1):
                hidden = self._layer(layer, hidden, layout, first_only=self._reads_first(number))
        return hidden

    def _above(self, hidden: Tensor, layout: Layout, numbers: range) -> Tensor:
        """Return the vectors of the strings, ``[U, D]``, from what the layers ``numbers`` start from, ``[P, D]``."""
        for number in numbers:
            hidden = self._layer(self.encoder.layer[number - 1], hidden, layout, first_only=self._reads_first(number))
        return hidden if self.pooling == "cls" else layout.means(hidden)

    def _reads_first(self, number: int) -> bool:
        return number == len(self.encoder.layer) and self.pooling == "cls"

    def _embed(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        part = self.embeddings
        vectors = part.word_embeddings(token_ids) + part.token_type_embeddings.weight[0]
        vectors = vectors + part.position_embeddings(positions + self._first_position)
        return part.dropout(part.LayerNorm(vectors))  # type: ignore[no-any-return]  # transformers is untyped here

    def _layer(self, layer: Any, hidden: Tensor, layout: Layout, *, first_only: bool) -> Tensor:
        part = layer.attention.self
        asking = layout.first(hidden) if first_only else hidden
        context = layout.attend(
            part.query(asking),
            part.key(hidden),
            part.value(hidden),
            heads=part.num_attention_heads,
            dropout=part.dropout.p if layer.training else 0.0,
        )
        attended = layer.attention.output(context, asking)
        return layer.output(layer.intermediate(attended), attended)  # type: ignore[no-any-return]  # as above

    def _packing(self, device: torch.device) -> Packing:
        return CPU_PACKING if device.type == "cpu" else GPU_PACKING

    def is_ragged(self, device: torch.device, frozen: Tensor | None = None) -> bool:
        """Say whether the tokens are one stream, for which attention then has a kernel."""
        if self.layout is not None:
            return self.layout == "ragged"
        weight = self.embeddings.word_embeddings.weight
        return has_kernel(device, compute_dtype(weight) if frozen is None else frozen.dtype)

    def _freeze(self, unfreeze_layers: int | str) -> None:
        if self.pooler is not None:
            self.pooler.requires_grad_(False)
        if unfreeze_layers == "all":
            return
        layers = self.encoder.layer
        if not 0 <= int(unfreeze_layers) <= len(layers):
            raise EncoderError(
                f"text_encoder.unfreeze_layers: {unfreeze_layers} asks for more layers than the encoder has; "
                f"it has {len(layers)}. Give a number from 0 to {len(layers)}, or 'all'."
            )
        self.embeddings.requires_grad_(False)
        for layer in layers[: len(layers) - int(unfreeze_layers)]:
            layer.requires_grad_(False)

    def _first_trainable(self) -> int:
        """Lowest trained part: 0 the embeddings, n the n-th layer, one more than all layers: none."""
        trained = (i for i, (_, own) in enumerate(self._parts) if any(p.requires_grad for p in own))
        return next(trained, len(self._parts))

    def _settle_frozen(self) -> int:
        """Switch dropout off below the lowest trained part, as the parameters now stand."""
        first = self._first_trainable()
        for part, _ in self._parts[:first]:
            if part.training:
                part.eval()
        return first


def encode_strings(encoder: TextEncoder, strings: Sequence[str], max_tokens: int) -> Tensor:
    """Return the vectors of a few strings, ``[U, D]``, as constants.

    Parameters
    ----------
    encoder : TextEncoder
        Frozen as a whole.
    strings : sequence of str
        ``[U]`` strings.
    max_tokens : int
        Longer ones are cut.
    """
    tokenizer = Tokenizer.from_str(encoder.tokenizer)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(strings))
    with torch.no_grad():
        return encoder(  # type: ignore[no-any-return]  # nn.Module calls are untyped
            torch.tensor([encoding.ids for encoding in encoded]), [sum(encoding.attention_mask) for encoding in encoded]
        )


class LayerCopies:
    """Copies of frozen layers in the precision that is computed in, so that no pass casts their weights anew.

    They are made again when the layers have changed: been loaded, or moved to another device.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._layers: list[nn.Module] = []

    def of(self, layers: list[nn.Module], dtype: torch.dtype) -> list[nn.Module]:
        """Return the layers in ``dtype``: themselves, where they are."""
        weights = [weight for layer in layers for weight in layer.parameters()]
        if all(weight.dtype == dtype for weight in weights):
            return layers
        key = (dtype, *((id(weight), weight._version, weight.device) for weight in weights))
        if key != self._key:
            self._key, self._layers = key, [copy.deepcopy(layer).to(dtype) for layer in layers]
        return self._layers


def compute_dtype(like: Tensor) -> torch.dtype:
    """Return the type that matrix products have now: autocast's, else that of ``like``."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def _starts(lengths: Sequence[int], starts: Tensor | None, device: torch.device) -> Tensor:
    if starts is not None:
        return starts
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32)).to(device, non_blocking=True)


def _end_to_end(padded: Tensor, lengths: Sequence[int]) -> Tensor:
    """Turn ``[U, L]`` into ``[T]``."""
    kept = np.arange(padded.shape[1]) < np.asarray(lengths)[:, None]
    return padded.flatten().index_select(0, torch.from_numpy(np.flatnonzero(kept)).to(padded.device))


def _tokens_of(order: Sequence[int], lengths: Sequence[int]) -> Int64:
    """Return where the tokens of strings in another ``order`` are in the stream: ``[T]``."""
    sizes, own = np.asarray(lengths), np.asarray(order)
    begins = np.cumsum(sizes) - sizes
    shift = begins[own] - (np.cumsum(sizes[own]) - sizes[own])
    return np.repeat(shift, sizes[own]) + np.arange(sizes.sum())
