"""Checkpoints of NanoThink's own training (`checkpoints/<expert>_expert.pt`), read as experts of this program.

Transformer and state space are the same networks, so they go on saying what they said. The diffuser is not: there it
attends to later tokens as well, and to no positions, so its weights are a start for a training alone. A mixture is
refused: its router weighs whole texts, later tokens included, and its experts were fed what they were not trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tabstar_lit.data.tokenizers import Tokenizer
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, CHECKPOINT_SCHEMA_VERSION, read_checkpoint
from tabstar_lit.engine.weights.loading import difference_table
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.experts.architecture import ExpertsArchitecture, Role
from tabstar_lit.families.experts.networks.build import build

CONTEXT_LENGTH = 511
"""Tokens of its rows."""
HEAD = 64
"""Width of its attention heads."""

TRANSFORMER = {
    "attn_norm.weight": "attention_norm.weight",
    "ffn_norm.weight": "feed_forward_norm.weight",
    "wq.weight": "attention.query.weight",
    "wo.weight": "attention.out.weight",
    "ffn.w_down.weight": "feed_forward.3.weight",
}
STATE_SPACE = {
    "norm.weight": "norm.weight",
    "in_proj.weight": "into.weight",
    "conv1d.weight": "convolution.weight",
    "conv1d.bias": "convolution.bias",
    "x_proj.weight": "select.weight",
    "dt_proj.weight": "step.weight",
    "dt_proj.bias": "step.bias",
    "A_log": "log_rates",
    "D": "skip",
    "out_proj.weight": "out.weight",
}
DIFFUSER = {
    "norm1.weight": "attention_norm.weight",
    "norm2.weight": "feed_forward_norm.weight",
    "wq.weight": "attention.query.weight",
    "wo.weight": "attention.out.weight",
    "t_proj.weight": "modulation.weight",
    "t_proj.bias": "modulation.bias",
    "ffn.0.weight": "feed_forward.0.weight",
    "ffn.0.bias": "feed_forward.0.bias",
    "ffn.2.weight": "feed_forward.3.weight",
    "ffn.2.bias": "feed_forward.3.bias",
}
"""Names of a layer's weights there, and here; the others are joined of two."""
JOINED = {
    "attention.key_value.weight": ("wk.weight", "wv.weight"),
    "feed_forward.0.weight": ("ffn.w_up.weight", "ffn.w_gate.weight"),
}
DERIVED = ("betas", "alphas", "alphas_cumprod", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "rope_freqs")
"""What follows from the configuration, and is not read."""


class Original(NamedTuple):
    """An expert out of a checkpoint of the original system.

    Attributes
    ----------
    role : str
        Which it is.
    architecture : ExpertsArchitecture
        Its sizes.
    weights : dict of str to Tensor
        As the network of the role has them here.
    vocabulary, step, epoch : int
        Number of tokens, and how long it was trained; the epoch counted from 1.
    """

    role: Role
    architecture: ExpertsArchitecture
    weights: dict[str, Tensor]
    vocabulary: int
    step: int
    epoch: int

    def checkpoint(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return the content of a checkpoint of this program, for prediction and for later stages.

        Raises
        ------
        CheckpointError
            The tokenizer has another number of tokens.
        """
        if tokenizer.vocabulary_size != self.vocabulary:
            raise CheckpointError(
                f"the checkpoint has {self.vocabulary:,} tokens, and the tokenizer {tokenizer.vocabulary_size:,}. Name "
                "the tokenizer it was trained with: --tokenizer bytes, or gpt2."
            )
        payload = {
            "family": "experts",
            "role": self.role,
            "vocabulary": self.vocabulary,
            "context_length": CONTEXT_LENGTH,
            "architecture_config": self.architecture.model_dump(mode="json"),
            "tokenizer": tokenizer.to_payload(),
        }
        return {
            "state_dict": {f"network.{name}": tensor for name, tensor in self.weights.items()},
            "global_step": self.step,
            "epoch": self.epoch,
            CHECKPOINT_KEY: {"schema_version": CHECKPOINT_SCHEMA_VERSION, "payload": payload},
        }


def read_original(path: Path) -> Original:
    """Read an expert of the original system.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds something else.
    """
    content = read_checkpoint(path)
    state = content.get("model", content.get("model_state"))
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} has no 'model': it is no checkpoint of NanoThink's training.")
    if "token_emb.weight" in state:
        raise CheckpointError(
            f"{path} is a whole model of NanoThink. Its router reads later tokens, so what it learned cannot be used. "
            "Convert its three experts, and train a mixture of them."
        )
    if "embedding.weight" not in state:
        raise CheckpointError(f"{path} has no 'embedding.weight', which every expert of NanoThink has.")
    role = _role(state, path)
    architecture = _architecture(state, role)
    vocabulary = len(state["embedding.weight"])
    weights = dict(_renamed(state, role))
    wanted = build(role, architecture, vocabulary).state_dict()
    if differences := difference_table(wanted, weights):
        raise CheckpointError(f"{path} holds another {role} than NanoThink's.\n{differences}")
    step, epoch = (int(content.get(key, 0)) for key in ("step", "epoch"))
    return Original(role, architecture, weights, vocabulary, step, epoch + 1)


def _role(state: Mapping[str, Tensor], path: Path) -> Role:
    if any(name.startswith("diffuser.") for name in state):
        return "diffuser"
    if "expert.layers.0.A_log" in state:
        return "state_space"
    if "expert.layers.0.wq.weight" in state:
        return "transformer"
    raise CheckpointError(f"{path} holds none of NanoThink's experts; it has {', '.join(list(state)[:3])}.")


def _architecture(state: Mapping[str, Tensor], role: Role) -> ExpertsArchitecture:
    """Read the sizes off the weights."""
    width = state["embedding.weight"].shape[1]
    plain: dict[str, Any] = {"width": width, "heads": max(1, width // HEAD), "dropout": 0.1}
    if role == "state_space":
        layer = "expert.layers.0"
        channels, numbers = state[f"{layer}.A_log"].shape
        plain["state_space"] = {
            "layers": _layers(state, "expert"),
            "expand": channels // width,
            "d_state": numbers,
            "d_conv": state[f"{layer}.conv1d.weight"].shape[-1],
        }
    else:
        prefix = "encoder" if role == "diffuser" else "expert"
        hidden = state[f"{prefix}.layers.0.ffn.w_down.weight"].shape[1]
        plain["transformer"] = {"layers": _layers(state, prefix), "ffn_mult": hidden // width}
        if role == "diffuser":
            plain["diffuser"] = {"layers": _layers(state, "diffuser")}
    return ExpertsArchitecture.model_validate(plain).resolved()


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    numbers = {name.split(".")[2] for name in state if name.startswith(f"{prefix}.layers.")}
    return len(numbers)


def _renamed(state: Mapping[str, Tensor], role: Role) -> dict[str, Tensor]:
    """Return the weights under our names; one that is not known keeps its own, and is refused later."""
    names = {"transformer": TRANSFORMER, "state_space": STATE_SPACE, "diffuser": DIFFUSER}
    found = {"embedding.weight": state["embedding.weight"]}
    parts = [("expert.", "expert.", names[role])]
    if role == "diffuser":
        parts = [("diffuser.", "expert.", DIFFUSER), ("encoder.", "encoder.", TRANSFORMER)]
    for theirs, ours, of_layer in parts:
        own = {name.removeprefix(theirs): tensor for name, tensor in state.items() if name.startswith(theirs)}
        found |= {f"{ours}{name}": tensor for name, tensor in _expert(own, of_layer).items()}
    known = ("embedding.", "lm_head.", *(theirs for theirs, _, _ in parts))
    return found | {name: tensor for name, tensor in state.items() if not name.startswith(known)}


def _expert(state: Mapping[str, Tensor], of_layer: Mapping[str, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    halves = {half for pair in JOINED.values() for half in pair}
    for name, tensor in state.items():
        layer = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
        if layer is None:
            found |= {} if name in DERIVED else _outside(name, tensor)
        elif layer[2] not in halves:
            found[f"blocks.{layer[1]}.{of_layer.get(layer[2], layer[2])}"] = tensor
    for number in {name.split(".")[1] for name in state if name.startswith("layers.")}:
        for ours, pair in JOINED.items():
            both = [state.get(f"layers.{number}.{half}") for half in pair]
            if all(half is not None for half in both):
                found[f"blocks.{number}.{ours}"] = torch.cat([half for half in both if half is not None])
    return found


def _outside(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a weight that is of no layer under our name."""
    if name == "time_embed.proj.0.weight":  # there all sines come first, here sines and cosines in turn
        tensor = torch.stack(tensor.chunk(2, dim=1), dim=2).flatten(1)
    name = name.replace("time_embed.proj.", "time.").replace("final_norm.", "norm.").replace("out_proj.", "out.")
    return {name: tensor}
