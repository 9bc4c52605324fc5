"""The networks of the text experts: equal to Mamba, fast scans, writing with a memory, and what a mixture costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.families.experts.architecture import ExpertsArchitecture, ExpertsTraining, Role
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.decoding import decoder_of, decoder_without_memory
from tabstar_lit.families.experts.networks.objectives import OBJECTIVES
from tabstar_lit.families.experts.networks.scan import Selection, selective_scan, sequential_scan
from tabstar_lit.families.experts.networks.state_space import StateSpaceBlock
from tabstar_lit.families.experts.text.batch import TokenBatch
from tabstar_lit.nn.generation import Stop, generate, pad_left

VOCABULARY = 259
WRITTEN = 512
"""Tokens that are written with a memory."""
COMPARED = 48
"""Tokens that are also written without, to compare."""
REPEATS = 3
ROLES: tuple[Role, ...] = ("transformer", "state_space", "diffuser", "mixture")


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median wall seconds of ``work``, after one run that does not count."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def mamba_pair(rank: int, width: int = 32, channels: int = 64) -> tuple[StateSpaceBlock, Any]:
    """Return a block of ours, and the Mamba block of `transformers` with its weights."""
    from transformers.models.mamba.modeling_mamba import MambaBlock, MambaConfig

    torch.manual_seed(0)
    ours = StateSpaceBlock(width, channels, d_state=16, d_conv=4, dt_rank=rank)
    config = MambaConfig(
        hidden_size=width,
        intermediate_size=channels,
        state_size=16,
        conv_kernel=4,
        time_step_rank=rank,
        layer_norm_epsilon=1e-6,
        num_hidden_layers=1,
        residual_in_fp32=False,
    )
    theirs = MambaBlock(config, 0)
    mixer = theirs.mixer
    with torch.no_grad():
        nn.init.normal_(ours.norm.weight)
        nn.init.normal_(ours.skip)
        theirs.norm.weight.copy_(ours.norm.weight)
        mixer.in_proj.weight.copy_(ours.into.weight)
        mixer.conv1d.load_state_dict(ours.convolution.state_dict())
        mixer.x_proj.weight.copy_(torch.cat([ours.select.weight[32:], ours.select.weight[:32]]))  # theirs: step first
        mixer.dt_proj.load_state_dict(ours.step.state_dict())
        mixer.A_log.copy_(ours.log_rates)
        mixer.D.copy_(ours.skip)
        mixer.out_proj.weight.copy_(ours.out.weight)
    return ours, theirs


def mamba_gradients(ours: StateSpaceBlock, theirs: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the outputs of both for the same inputs, and the gradients of inputs and weights, as pairs."""
    x = torch.randn(2, 50, ours.norm.weight.numel(), requires_grad=True)
    own, other = ours(x)[0], theirs(x)
    weights, mixer = torch.randn_like(own), theirs.mixer
    mine = (x, ours.log_rates, ours.skip, ours.step.bias, ours.convolution.weight, ours.into.weight, ours.norm.weight)
    yours = (x, mixer.A_log, mixer.D, mixer.dt_proj.bias, mixer.conv1d.weight, mixer.in_proj.weight, theirs.norm.weight)
    gradients = zip(torch.autograd.grad(own, mine, weights), torch.autograd.grad(other, yours, weights), strict=True)
    return [(own, other), *gradients]


def s6_vs_mamba() -> float:
    """Return the greatest difference to Mamba, of values and gradients, relative where they are above 1."""
    pairs = (pair for rank in (1, 24) for pair in mamba_gradients(*mamba_pair(rank)))
    return max(((own - other).abs() / other.abs().clamp(min=1)).max().item() for own, other in pairs)


def scan_backward_s() -> float:
    """Return the seconds of the backward pass of one block of the size ``base``, 4 rows of 511 tokens."""
    block, taken = StateSpaceBlock(384, 768, d_state=16, d_conv=4, dt_rank=1), []
    x = torch.randn(4, 511, 384, requires_grad=True)
    for _ in range(REPEATS + 1):
        loss = block(x)[0].sum()
        start = time.perf_counter()
        loss.backward()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def scan_vs_sequential(length: int = 2048) -> float:
    """Return how many times faster the chunked scan is than the loop over tokens, there and back."""
    shape = (1, length)
    inputs = [torch.randn(*shape, 768), torch.rand(*shape, 768), -torch.rand(768, 16)]
    inputs += [torch.randn(*shape, 16), torch.randn(*shape, 16)]
    for x in inputs:
        x.requires_grad_(True)

    def there_and_back(scan: Callable[[Selection], Tensor]) -> None:
        scan(Selection(*inputs)).sum().backward()

    return seconds(lambda: there_and_back(sequential_scan)) / seconds(lambda: there_and_back(selective_scan))


def network(role: Role, size: str = "small", **options: Any) -> Any:
    """Return a network of a size with fresh weights."""
    torch.manual_seed(0)
    config = ExpertsArchitecture.model_validate({"size": size, "dropout": 0.0, **options}).resolved()
    return build(role, config, VOCABULARY)


def cached_vs_uncached(role: Role, **options: Any) -> float:
    """Return how many times faster a text of :data:`WRITTEN` tokens is written with a memory.

    Without one, each token takes a pass over all before it; of these passes every 32nd is timed.

    Raises
    ------
    RuntimeError
        Texts that are written with a memory and without differ.
    """
    made = network(role, **options).eval()
    with_memory, without = decoder_of(made), decoder_without_memory(made)
    prompt = pad_left([[1, 2, 3]])
    few = [generate(decoder, prompt, Stop(COMPARED), context=None).tokens for decoder in (with_memory, without)]
    if not torch.equal(*few):
        raise RuntimeError(f"{role}: texts written with a memory and without differ")
    start = time.perf_counter()
    text = generate(with_memory, prompt, Stop(WRITTEN), context=None).tokens
    own = time.perf_counter() - start
    with torch.inference_mode():
        passes = [pass_seconds(made, text[:, :length]) for length in range(32, WRITTEN + 1, 32)]
    return WRITTEN * statistics.mean(passes) / own


def pass_seconds(made: Any, tokens: Tensor) -> float:
    """Return the seconds of a pass over a text."""
    return seconds(lambda: made.logits(made(tokens)[:, -1]), 1)


def batch(rows: int = 4, length: int = 256) -> TokenBatch:
    """Return rows of random tokens."""
    tokens = torch.randint(VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    return TokenBatch(
        tokens=tokens[:, :-1],
        targets=tokens[:, 1:].contiguous(),
        documents=None,
        positions=torch.arange(length).expand(rows, -1),
        domains=torch.zeros(rows, dtype=torch.int64),
        n_bytes=torch.full((rows,), length),
        n_targets=rows * length,
        source="mixed",
    )


def step_seconds(role: Role) -> float:
    """Return the seconds of a training step, there and back."""
    made, rows = network(role).train(), batch()
    return seconds(lambda: OBJECTIVES[role](made, rows, ExpertsTraining()).loss.backward())


def mixture_vs_experts() -> float:
    """Return the seconds of a step of all three experts over those of a step of the mixture."""
    *experts, mixture = (step_seconds(role) for role in ROLES)
    return sum(experts) / mixture


def figures() -> dict[str, float]:
    """Return the figures by name."""
    return {
        "experts.s6_vs_mamba": s6_vs_mamba(),
        "experts.scan_backward_s": scan_backward_s(),
        "experts.scan_vs_sequential": scan_vs_sequential(),
        "experts.mixture_vs_experts": mixture_vs_experts(),
        **{f"experts.write_{role}_vs_uncached": cached_vs_uncached(role) for role in ROLES},
        "experts.write_masked_vs_uncached": cached_vs_uncached("diffuser", diffuser={"kind": "masked"}),
        "experts.write_latent_vs_uncached": cached_vs_uncached("mixture", mixture={"kv_latent_dim": 64}),
    }
