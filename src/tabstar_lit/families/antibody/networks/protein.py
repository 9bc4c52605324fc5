"""A pretrained encoder of proteins, such as ESM-2 (Lin et al., Science 379 (2023) 1123), that reads antigens.

It lies in a local folder, as ``save_pretrained`` of ``transformers`` writes it; nothing is downloaded. A checkpoint
keeps its sizes and weights, so that it is enough by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from tabstar_lit.errors import EncoderError
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, PAD

# Half of transformers' factories are typed.
AutoModel: Any = transformers.AutoModel
AutoTokenizer: Any = transformers.AutoTokenizer

KEY = "model_config.architecture_config.antigen_encoder"
OF_ANY = "X"
"""How such encoders write a residue that is not known."""
POOLED = ("bert", "esm", "roberta")
"""Encoders that have a layer for whole sequences, which nothing here would train."""


class ProteinEncoder(nn.Module):
    """Read antigens by an encoder that was pretrained on proteins.

    Parameters
    ----------
    encoder : PreTrainedModel
        The encoder; ``freeze: [protein.encoder]`` leaves it as it is.
    ids : tuple of int
        Its own id of each of our 25 tokens.
    width : int
        Length ``E`` of the vectors that are made of its states.
    """

    ids: Tensor

    def __init__(self, encoder: PreTrainedModel, ids: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("ids", torch.tensor(ids), persistent=False)
        self.project = nn.Linear(int(encoder.config.hidden_size), width)

    def forward(self, antigens: Tensor) -> Tensor:
        """Map tokens ``[B, A]`` to vectors ``[B, A, E]``."""
        states = self.encoder(input_ids=self.ids[antigens], attention_mask=(antigens != PAD).long()).last_hidden_state
        projected: Tensor = self.project(states)
        return projected

    def payload(self) -> dict[str, Any]:
        """Return the plain values from which :func:`of_payload` builds it without its weights."""
        return {"config": json.loads(self.encoder.config.to_json_string(use_diff=False)), "ids": self.ids.tolist()}


def read_protein_encoder(folder: Path, width: int) -> ProteinEncoder:
    """Load an encoder and its vocabulary from a folder.

    Raises
    ------
    EncoderError
        It cannot be read, or does not know all twenty amino acids.
    """
    if not folder.is_dir():
        raise EncoderError(f"{KEY}: {folder} is no folder. Name one with config.json, model.safetensors and tokenizer.")
    try:
        pooler = _no_pooler(AutoConfig.from_pretrained(folder, local_files_only=True))
        # Only safetensors: a pickled weights file could run code.
        encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, **pooler)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise EncoderError(f"{KEY}: {folder} cannot be read as an encoder of proteins: {error}") from error
    return ProteinEncoder(encoder, _own_ids(tokenizer, folder), width)


def of_payload(payload: Mapping[str, Any], width: int) -> ProteinEncoder:
    """Build the encoder of a checkpoint, with random weights to be loaded over."""
    values = dict(payload["config"])
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    encoder = cast("PreTrainedModel", AutoModel.from_config(config, **_no_pooler(config)))
    return ProteinEncoder(encoder, tuple(payload["ids"]), width)


def _no_pooler(config: PretrainedConfig) -> dict[str, bool]:
    return {"add_pooling_layer": False} if config.model_type in POOLED else {}


def _own_ids(tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """Return the encoder's ids of PAD, START, END, UNKNOWN, the break between chains, and the amino acids."""
    vocabulary = tokenizer.get_vocab()
    if missing := [letter for letter in AMINO_ACIDS if letter not in vocabulary]:
        raise EncoderError(
            f"{KEY}: the vocabulary in {folder} has no {', '.join(missing)}; an encoder of proteins has a token for "
            "each amino acid."
        )
    unknown = vocabulary.get(OF_ANY, tokenizer.unk_token_id)
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    specials = (tokenizer.pad_token_id, start, end, unknown, unknown)
    if None in specials:
        raise EncoderError(f"{KEY}: the tokenizer in {folder} names no token for padding, start, end or unknown.")
    return (*specials, *(vocabulary[letter] for letter in AMINO_ACIDS))
