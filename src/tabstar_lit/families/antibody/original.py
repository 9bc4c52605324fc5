"""Checkpoints of Ab_generative_model (github.com/melmbrain/Ab_generative_model), made into ones of this family.

Its networks are those of this family; what differs is that its transformer was trained to look at the padding of the
antigen, which it does not do when it writes, and that it was told pKd as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tabstar_lit.engine.weights.files import (
    CHECKPOINT_KEY,
    CHECKPOINT_SCHEMA_VERSION,
    AtomicCheckpointIO,
    read_checkpoint,
)
from tabstar_lit.engine.weights.loading import NETWORK, load_strict
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.antibody.architecture import (
    LSTMS,
    TRANSFORMERS,
    LstmArchitecture,
    Seq2SeqArchitecture,
)
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.pairs.scale import PkdScale

MAX_ANTIGEN, MAX_ANTIBODY = 512, 300
"""Tokens that it cuts sequences to."""

TRANSFORMER_NAMES = (
    (r"^src_embedding\.", "antigen_embedding."),
    (r"^tgt_embedding\.", "antibody_embedding."),
    (r"^fc_out\.", "head."),
    (r"^affinity_projection\.", "pkd.layers."),
    (r"^transformer\.(encoder|decoder)\.norm\.", r"\1_norm."),
    (r"^transformer\.(encoder|decoder)\.layers\.", r"\1."),
    (r"\.self_attn\.", ".attention."),
    (r"\.multihead_attn\.", ".cross_attention."),
    (r"\.out_proj\.", ".out."),
    (r"\.linear1\.", ".feed_forward.0."),
    (r"\.linear2\.", ".feed_forward.3."),
    (r"\.norm1\.", ".attention_norm."),
    (r"^(encoder\.\d+)\.norm2\.", r"\1.feed_forward_norm."),
    (r"^(decoder\.\d+)\.norm2\.", r"\1.cross_attention_norm."),
    (r"\.norm3\.", ".feed_forward_norm."),
)
"""What stands in the name of a weight there, and here; applied in turn."""

LSTM_NAMES = (
    (r"^encoder\.embedding\.", "antigen_embedding."),
    (r"^encoder\.(hidden|cell)_projection\.", r"\1_projection."),
    (r"^(encoder|decoder)\.lstm\.", r"\1."),
    (r"^decoder\.embedding\.", "antibody_embedding."),
    (r"^decoder\.attention\.", "attention."),
    (r"^decoder\.out\.", "head."),
    (r"^affinity_projection\.", "pkd."),
)
UNUSED = re.compile(r"^(src|tgt)_pos_encoder\.|^decoder\.attention_combine\.")
"""Tables of sinusoids, which are computed here, and a layer that was never run."""


def import_checkpoint(source: Path, target: Path) -> str:
    """Write one of its checkpoints as a checkpoint of this family; returns a line about it.

    Parameters
    ----------
    source : Path
        With ``model_state_dict``, as its ``train.py`` writes them.
    target : Path
        The file that is written.

    Raises
    ------
    CheckpointError
        It holds none of its networks, or one of sizes that its configurations do not have.
    """
    content = read_checkpoint(source)
    theirs = content.get("model_state_dict")
    if not isinstance(theirs, dict):
        held = ", ".join(map(str, content)) or "nothing"
        raise CheckpointError(f"{source} has no 'model_state_dict'; it holds {held}.")
    architecture, weights = _translated(theirs, source)
    network = build_network(architecture, PkdScale())
    load_strict(network, weights, strict=True, source=str(source))
    payload = _payload(architecture)
    own = {"schema_version": CHECKPOINT_SCHEMA_VERSION, "payload": payload}
    state = {f"{NETWORK}{name}": value for name, value in network.state_dict().items()}
    AtomicCheckpointIO().save_checkpoint({"state_dict": state, CHECKPOINT_KEY: own}, target)
    epoch = f", epoch {content['epoch']}" if "epoch" in content else ""
    count = sum(value.numel() for value in weights.values())
    return f"{architecture.model} {architecture.size}{epoch}: {count:,} weights"


def _translated(
    theirs: Mapping[str, Tensor], source: Path
) -> tuple[Seq2SeqArchitecture | LstmArchitecture, dict[str, Tensor]]:
    """Return the architecture, and the weights by the names they have here."""
    used = {name: value for name, value in theirs.items() if not UNUSED.match(name)}
    if "src_embedding.weight" in used:
        width = used["src_embedding.weight"].shape[1]
        sizes = [size for size, known in TRANSFORMERS.items() if known.width == width]
        weights = _split({_renamed(name, TRANSFORMER_NAMES): value for name, value in used.items()})
        return Seq2SeqArchitecture(size=_one(sizes, width, source)), weights
    if "encoder.embedding.weight" in used:
        width = used["encoder.embedding.weight"].shape[1]
        lstms = [size for size, known in LSTMS.items() if known.embedding == width]
        return LstmArchitecture(size=_one(lstms, width, source)), {
            _renamed(name, LSTM_NAMES): value for name, value in used.items()
        }
    raise CheckpointError(
        f"{source} holds neither its transformer nor its LSTM; the first weights are {', '.join(list(theirs)[:3])}."
    )


def _one(sizes: list[Any], width: int, source: Path) -> Any:
    if not sizes:
        known = ", ".join(TRANSFORMERS)
        raise CheckpointError(f"{source}: embeddings of width {width}, which none of its sizes has ({known}).")
    return sizes[0]


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _split(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut the joint projection of queries, keys and values into that of queries and that of the rest."""
    parts = dict[str, Tensor]()
    for name, value in weights.items():
        before, joint, kind = name.rpartition(".in_proj_")
        if not joint:
            parts[name] = value
            continue
        width = len(value) // 3
        parts[f"{before}.query.{kind}"], parts[f"{before}.key_value.{kind}"] = value[:width], value[width:]
    return parts


def _payload(architecture: Seq2SeqArchitecture | LstmArchitecture) -> dict[str, Any]:
    """Return what a training would have kept; nothing is known of its antibodies."""
    return {
        "family": "antibody",
        "architecture_config": architecture.model_dump(mode="json"),
        "pkd": PkdScale()._asdict(),
        "max_antigen": MAX_ANTIGEN,
        "max_antibody": MAX_ANTIBODY,
        "germlines": "none",
        "training": {
            "flat": torch.zeros(0, dtype=torch.uint8),
            "offsets": torch.zeros(1, dtype=torch.int64),
            "total": 0,
        },
        "trained_for": {"pkd_guidance": False, "antigen_guidance": False, "infilling": False},
    }
