"""Small networks of every role, their options, and batches of random tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.families.experts.architecture import ExpertsArchitecture, Role
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.text.batch import NO_TARGET, TokenBatch

VOCABULARY = 61
TINY = {"width": 16, "heads": 2, "dropout": 0.1}

NETWORKS: dict[str, tuple[Role, dict[str, Any]]] = {
    "transformer": ("transformer", {}),
    "transformer, all options": (
        "transformer",
        {"transformer": {"qk_norm": True, "act": "SquaredReLU", "zero_init": True}},
    ),
    "state space": ("state_space", {}),
    "state space, rank 2": ("state_space", {"state_space": {"dt_rank": 2, "d_conv": 3}}),
    "continuous diffuser": ("diffuser", {}),
    "continuous diffuser, 3 passes": ("diffuser", {"diffuser": {"denoising_steps": 3}}),
    "continuous diffuser, in blocks": ("diffuser", {"diffuser": {"attention": "block", "block": 4}}),
    "continuous diffuser, in blocks, 2 passes": (
        "diffuser",
        {"diffuser": {"attention": "block", "block": 3, "denoising_steps": 2}},
    ),
    "masked diffuser": ("diffuser", {"diffuser": {"kind": "masked", "block": 4}}),
    "mixture": ("mixture", {}),
    "mixture of latents": ("mixture", {"mixture": {"kv_latent_dim": 6, "router": "prefix"}}),
    "mixture with memory": ("mixture", {"mixture": {"use_vector_store": True, "max_vectors": 20}}),
    "mixture, in blocks": ("mixture", {"diffuser": {"attention": "block", "block": 3}}),
    "mixture, masked": ("mixture", {"diffuser": {"kind": "masked", "block": 3}}),
}
"""Role and options of a network, by what they are called in tests."""


def architecture(**options: Any) -> ExpertsArchitecture:
    """Return a small architecture with two layers of everything."""
    return ExpertsArchitecture.model_validate({"size": "nano", **TINY, **options}).resolved()


def small_network(name: str, *, lively: bool = True, vocabulary: int = VOCABULARY) -> Any:
    """Return one of :data:`NETWORKS`; ``lively``: with weights so large that everything has an effect."""
    role, options = NETWORKS[name]
    torch.manual_seed(0)
    network = build(role, architecture(**options), vocabulary)
    if lively:
        enliven(network)
    if "memory" in name:
        network.memory.store.add(torch.randn(9, TINY["width"]), torch.arange(9))
    return network


def enliven(network: nn.Module) -> None:
    """Draw all matrices anew, larger."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)


def packed_documents(rows: int) -> Tensor:
    """Return ``[rows, 40]``: two documents of 15 and 20 tokens and 5 of padding."""
    return torch.tensor([[0] * 15 + [1] * 20 + [-1] * 5]).expand(rows, -1)


def token_batch(rows: int = 3, *, packed: bool = False, seed: int = 0) -> TokenBatch:
    """Return rows of 40 random tokens, the last 5 of them padding."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (rows, 41), generator=generator)
    targets = tokens[:, 1:].clone()
    targets[:, 35:] = NO_TARGET
    documents = packed_documents(rows) if packed else None
    positions = torch.cat([torch.arange(15), torch.arange(25)]) if packed else torch.arange(40)
    return TokenBatch(
        tokens=tokens[:, :-1],
        targets=targets,
        documents=documents,
        positions=positions.expand(rows, -1),
        domains=torch.zeros(rows, dtype=torch.int64),
        n_bytes=torch.full((rows,), 35),
        n_targets=35 * rows,
        source="mixed",
    )
