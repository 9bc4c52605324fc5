"""Experts of the original system: read, and equal to its formulas written down anew."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn import functional as F

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.data.tokenizers import ByteTokenizer
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert
from tabstar_lit.families.experts.original import read_original
from tabstar_lit.nn.positions import sinusoids

WIDTH, LAYERS, VOCABULARY = 128, 2, 259
State = dict[str, Tensor]


def drawn(shapes: dict[str, tuple[int, ...]], prefix: str) -> State:
    return {f"{prefix}{name}": torch.randn(shape) / math.sqrt(shape[-1]) for name, shape in shapes.items()}


def transformer_state(prefix: str = "expert.") -> State:
    square, hidden = (WIDTH, WIDTH), 4 * WIDTH
    layer = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,)}
    layer |= {f"w{name}.weight": square for name in "qkvo"}
    layer |= {"ffn.w_gate.weight": (hidden, WIDTH), "ffn.w_up.weight": (hidden, WIDTH)}
    layer |= {"ffn.w_down.weight": (WIDTH, hidden)}
    shapes = {f"layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    return drawn(shapes | {"norm.weight": (WIDTH,)}, prefix)


def state_space_state() -> State:
    channels = 2 * WIDTH
    layer = {
        "norm.weight": (WIDTH,),
        "in_proj.weight": (2 * channels, WIDTH),
        "conv1d.weight": (channels, 1, 4),
        "conv1d.bias": (channels,),
        "x_proj.weight": (33, channels),
        "dt_proj.weight": (channels, 1),
        "dt_proj.bias": (channels,),
        "A_log": (channels, 16),
        "D": (channels,),
        "out_proj.weight": (WIDTH, channels),
    }
    shapes = {f"layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    return drawn(shapes | {"norm.weight": (WIDTH,)}, "expert.")


def diffuser_state() -> State:
    hidden = 4 * WIDTH
    layer = {"norm1.weight": (WIDTH,), "norm2.weight": (WIDTH,)}
    layer |= {f"w{name}.weight": (WIDTH, WIDTH) for name in "qkvo"}
    layer |= {"t_proj.weight": (2 * WIDTH, WIDTH), "t_proj.bias": (2 * WIDTH,)}
    layer |= {"ffn.0.weight": (hidden, WIDTH), "ffn.0.bias": (hidden,)}
    layer |= {"ffn.2.weight": (WIDTH, hidden), "ffn.2.bias": (WIDTH,)}
    shapes = {f"layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    shapes |= {"time_embed.proj.0.weight": (hidden, WIDTH), "time_embed.proj.0.bias": (hidden,)}
    shapes |= {"time_embed.proj.2.weight": (WIDTH, hidden), "time_embed.proj.2.bias": (WIDTH,)}
    shapes |= {"final_norm.weight": (WIDTH,), "out_proj.weight": (WIDTH, WIDTH), "out_proj.bias": (WIDTH,)}
    return drawn(shapes | {"betas": (100,), "alphas_cumprod": (100,)}, "diffuser.") | transformer_state("encoder.")


def save(path: Path, state: State) -> Path:
    """Write a checkpoint as the original does, the tied head included."""
    embedding = torch.randn(VOCABULARY, WIDTH)
    whole = {"embedding.weight": embedding, "lm_head.weight": embedding, **state}
    torch.save({"model": whole, "optimizer": {}, "step": 70, "epoch": 4, "loss": 1.0}, path)
    return path


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (WIDTH // 64, 64)).transpose(1, 2)


def turn(x: Tensor) -> Tensor:
    angles = torch.arange(x.shape[2])[:, None] * 10_000.0 ** (-torch.arange(0, 64, 2) / 64)
    pairs = torch.view_as_complex(x.unflatten(-1, (32, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def transformer_block(x: Tensor, w: State) -> Tensor:
    h = norm(x, w["attn_norm.weight"])
    query, key, value = (heads(h @ w[f"w{name}.weight"].T) for name in "qkv")
    scores = turn(query) @ turn(key).mT / 8
    scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
    x = x + (scores.softmax(-1) @ value).transpose(1, 2).flatten(2) @ w["wo.weight"].T
    h = norm(x, w["ffn_norm.weight"])
    return x + (F.silu(h @ w["ffn.w_gate.weight"].T) * (h @ w["ffn.w_up.weight"].T)) @ w["ffn.w_down.weight"].T


def state_space_block(x: Tensor, w: State) -> Tensor:
    a, z = (norm(x, w["norm.weight"]) @ w["in_proj.weight"].T).chunk(2, -1)
    a = F.conv1d(a.mT, w["conv1d.weight"], w["conv1d.bias"], padding=3, groups=2 * WIDTH)[..., : x.shape[1]].mT
    a = F.silu(a)
    write, read, step = (a @ w["x_proj.weight"].T).split([16, 16, 1], -1)
    step = F.softplus(step @ w["dt_proj.weight"].T + w["dt_proj.bias"])
    state, outputs = torch.zeros(len(x), 2 * WIDTH, 16), []
    for t in range(x.shape[1]):
        state = torch.exp(step[:, t, :, None] * -w["A_log"].exp()) * state
        state = state + step[:, t, :, None] * write[:, t, None] * a[:, t, :, None]
        outputs.append((state * read[:, t, None]).sum(-1))
    return x + ((torch.stack(outputs, 1) + a * w["D"]) * F.silu(z)) @ w["out_proj.weight"].T


@pytest.mark.parametrize(
    ("role", "make", "block"),
    [
        ("transformer", transformer_state, transformer_block),
        ("state_space", state_space_state, state_space_block),
    ],
)
def test_experts_say_what_they_said(role, make, block, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(tmp_path / f"{role}_expert.pt", make())
    state = torch.load(path, weights_only=True)["model"]
    arguments = ["convert", "nanothink", str(path), "-o", str(tmp_path / "ours.ckpt"), "--tokenizer", "bytes"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"a {role} of epoch 5, step 70" in done.output
    trained = tabstar_lit.load(tmp_path / "ours.ckpt")
    tokens = torch.randint(VOCABULARY, (2, 30))
    x = state["embedding.weight"][tokens]
    for layer in range(LAYERS):
        prefix = f"expert.layers.{layer}."
        x = block(x, {name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)})
    expected = norm(x, state["expert.norm.weight"])
    torch.testing.assert_close(trained.network(tokens), expected, atol=2e-4, rtol=1e-4)
    assert trained.predict(["To be, or not to be"])["nats"].notna().all()


def test_a_diffuser_is_read_with_its_transformer_and_what_differs_is_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = save(tmp_path / "diffuser_expert.pt", diffuser_state())
    state = torch.load(path, weights_only=True)["model"]
    read = read_original(path)
    assert (read.role, read.epoch, read.step) == ("diffuser", 5, 70)
    assert read.architecture.diffuser.layers == LAYERS
    expert = DiffuserExpert(read.architecture)
    prefix = "expert."
    expert.load_state_dict({n.removeprefix(prefix): w for n, w in read.weights.items() if n.startswith(prefix)})
    steps = torch.tensor([0, 3, 99])
    waves = steps[:, None] * 10_000.0 ** (-torch.arange(WIDTH // 2) / (WIDTH // 2))
    theirs = torch.cat([waves.sin(), waves.cos()], dim=1)
    first = {name: state[f"diffuser.time_embed.proj.0.{name}"] for name in ("weight", "bias")}
    torch.testing.assert_close(expert.time[0](sinusoids(steps, WIDTH)), F.linear(theirs, **first), atol=1e-5, rtol=1e-5)
    arguments = ["convert", "nanothink", str(path), "-o", str(tmp_path / "ours.ckpt"), "--tokenizer", "bytes"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert "train it on before you use it" in done.output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: {"weights": content["model"]}, "has no 'model'"),
        (lambda content: {"model": {"token_emb.weight": torch.zeros(2, 2)}}, "a whole model of NanoThink"),
        (lambda content: {"model": {"other.weight": torch.zeros(2)}}, "has no 'embedding.weight'"),
        (lambda content: {"model": {"embedding.weight": torch.zeros(2, 2)}}, "none of NanoThink's experts"),
        (lambda content: {"model": content["model"] | {"expert.layers.0.extra": torch.zeros(2)}}, "1 unexpected"),
        (lambda content: {"model": _without(content["model"], "expert.layers.1.wk.weight")}, "1 missing"),
    ],
)
def test_other_files_are_refused(change, reason: str, tmp_path: Path) -> None:
    path = save(tmp_path / "transformer_expert.pt", transformer_state())
    torch.save(change(torch.load(path, weights_only=True)), path)
    with pytest.raises(CheckpointError, match=reason):
        read_original(path)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    state = transformer_state() | {"embedding.weight": torch.zeros(300, WIDTH)}
    torch.save({"model": state}, tmp_path / "expert.pt")
    with pytest.raises(CheckpointError, match="has 300 tokens, and the tokenizer 259"):
        read_original(tmp_path / "expert.pt").checkpoint(ByteTokenizer(begin=True))


def _without(state: State, name: str) -> State:
    return {key: tensor for key, tensor in state.items() if key != name}
