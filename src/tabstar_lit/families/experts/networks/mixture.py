"""A mixture of frozen experts: an attention writes what they read, and a router weighs what they say at each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.families.experts.architecture import EXPERTS, ExpertsArchitecture
from tabstar_lit.families.experts.networks.diffusion_model import Caches
from tabstar_lit.families.experts.networks.expert import Expert, attention_mask, initialise, places
from tabstar_lit.families.experts.networks.latent_attention import LatentAttention, LatentCache
from tabstar_lit.families.experts.networks.memory import Memory
from tabstar_lit.families.experts.networks.prefixes import Seen, SeenCache
from tabstar_lit.families.experts.networks.vector_store import marks
from tabstar_lit.losses.classification import at_least_single
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.cache import DecoderCache, KeyValueCache
from tabstar_lit.nn.decoders import State
from tabstar_lit.nn.masking import masked_mean
from tabstar_lit.nn.norms import RMSNorm
from tabstar_lit.nn.positions import rotation


class Mixed(NamedTuple):
    """What a mixture makes of a text.

    Attributes
    ----------
    states : Tensor
        ``[B, T, D]``, the sums of the experts' states with their weights.
    weights : Tensor
        ``[B, T, E]``, in the order of :data:`~tabstar_lit.families.experts.architecture.EXPERTS`; they sum to 1.
    context : Tensor
        ``[B, T, D]``, what the experts read.
    """

    states: Tensor
    weights: Tensor
    context: Tensor


class Mixture(nn.Module):
    """Experts that read one context and write states of one space, weighed token by token.

    All experts were trained with the embedding of the transformer, and the attention begins by adding nothing to it: so
    the experts are first fed what they were trained on, and the attention learns to change that where it helps. The
    states share one head, so a weighted sum of them is a geometric mean of the experts' distributions, whose loss is at
    most the same weighted mean of theirs.

    Parameters
    ----------
    vocabulary : int
        Number of tokens ``V``.
    config : ExpertsArchitecture
        Resolved.
    experts : Mapping of str to Expert
        The three, by name; they are frozen. The diffuser reads the transformer's states if it is a continuous one.
    """

    def __init__(self, vocabulary: int, config: ExpertsArchitecture, experts: Mapping[str, Expert]) -> None:
        super().__init__()
        own, width, heads = config.mixture, cast(int, config.width), cast(int, config.heads)
        self.by_prefix, self.rope_base = own.router == "prefix", config.rope_base
        self.denoises = config.diffuser.kind == "continuous"
        self.embedding = nn.Embedding(vocabulary, width)
        self.norm = RMSNorm(width)
        self.attention = (
            MultiHeadAttention(width, heads, dropout=config.dropout, projection_bias=False)
            if own.kv_latent_dim is None
            else LatentAttention(width, heads, own.kv_latent_dim, dropout=config.dropout)
        )
        self.router = nn.Linear(width, len(EXPERTS), bias=False)
        self.memory = Memory(own.max_vectors, width, own.top_k, search=own.search) if own.use_vector_store else None
        initialise(self)
        nn.init.zeros_(self.attention.out.weight)
        if self.memory is not None:
            nn.init.zeros_(self.memory.add.weight)
        self.experts = nn.ModuleDict({name: experts[name] for name in EXPERTS}).requires_grad_(False)

    def forward(self, tokens: Tensor, documents: Tensor | None = None, cache: Caches | None = None) -> Tensor:
        """Return the states ``[B, T, D]`` of tokens ``[B, T]``; for the rest see :meth:`Expert.forward`."""
        return self.mixed(tokens, documents, cache).states

    def mixed(self, tokens: Tensor, documents: Tensor | None = None, cache: Caches | None = None) -> Mixed:
        """Return the states of tokens ``[B, T]`` with what they are made of."""
        attended, seen_before, *each = (None,) * (2 + len(EXPERTS)) if cache is None else cache.each
        embedded: Tensor = self.embedding(tokens)
        context = embedded + self._attend(self.norm(embedded), documents, attended)
        read = context
        if self.by_prefix or self.memory is not None:
            seen = Seen.of(embedded, documents) if seen_before is None else seen_before.extend(embedded, documents)
            if self.memory is not None:
                read = context = context + self.memory(seen, tokens)
            if self.by_prefix:
                read = context + seen.means(tokens.shape[1])
        weights = at_least_single(self.router(functional.rms_norm(read, read.shape[-1:]))).softmax(-1)
        transformer, state_space, diffuser = self.experts.values()
        first = transformer(context, documents, each[0])
        said = (
            first,
            state_space(context, documents, each[1]),
            diffuser(first if self.denoises else context, documents, each[2]),
        )
        shares = weights.chunk(len(said), dim=-1)
        states = sum(share.type_as(one) * one for share, one in zip(shares, said, strict=True))
        return Mixed(cast(Tensor, states), weights, context)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits ``[..., V]`` of the token after each state ``[..., D]``."""
        return functional.linear(states, self.embedding.weight)

    def remember(self, tokens: Tensor, there: Tensor) -> None:
        """Put texts into the memory: tokens ``[B, T]``, of which ``there`` ``[B, T]`` says what is no padding."""
        if self.memory is not None:
            self.memory.store.add(masked_mean(self.embedding(tokens), there), marks(tokens))

    def start(self) -> State:
        """Return the caches of a text of which nothing is read."""
        latent = isinstance(self.attention, LatentAttention)
        attended = DecoderCache([cast(KeyValueCache, LatentCache()) if latent else KeyValueCache()])
        return Caches((attended, SeenCache(), *(cast(Expert, one).start() for one in self.experts.values())))

    def _attend(self, normed: Tensor, documents: Tensor | None, cache: DecoderCache | None) -> Tensor:
        if cache is None:
            positions, mask = places(normed, documents), attention_mask(documents)
        else:
            positions, mask = cache.admit(normed[..., 0], None if documents is None else documents >= 0)
        own = self.attention
        dim = own.dim_rotated if isinstance(own, LatentAttention) else own.dim_head
        turned = rotation(positions, dim, self.rope_base)
        layer: Any = None if cache is None else cache.layers[0]
        attended: Tensor = own(normed, mask=mask, causal=True, rotation=turned, cache=layer)
        return attended
