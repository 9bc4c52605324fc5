"""The network of the package ``tabstar``, frozen as its pretraining has it, on rows of our corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from tabstar_lit.arrays import Array
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.tables.corpus import Corpus

FROZEN_LAYERS = 6
"""Of the text encoder, in the published pretraining; its embeddings are frozen, too."""


class StringBatch(NamedTuple):
    """Rows as the package takes them: ``[B, S]`` strings and numbers, ``[B]`` targets, how many target elements."""

    strings: Array
    numbers: Tensor
    targets: Tensor
    n_targets: int


def official_network(encoder: Path, device: str) -> Any:
    """Return the package's network with the text encoder of a folder, in training mode."""
    from tabstar.arch import arch
    from tabstar.arch.config import TabStarConfig

    arch.E5_SMALL_LOCAL_PATH = str(encoder)
    network = arch.TabStarModel(TabStarConfig()).to(device).train()
    for part in (network.text_encoder.embeddings, *network.text_encoder.encoder.layer[:FROZEN_LAYERS]):
        part.requires_grad_(False)
    return network


def string_batches(data: TabstarData, corpus: Path, keys: list[RowBatch]) -> list[StringBatch]:
    """Return the rows of these keys as the package takes them."""
    opened = Corpus.open(corpus)
    batches = []
    for key in keys:
        table, batch = opened.load(data.names[key.source]), data.train_dataset()[key]
        words = np.array(table.vocabulary, dtype=object)
        heads = np.tile(words[table.target_codes], (len(key.rows), 1))
        strings = np.concatenate([heads, words[table.codes[key.rows]]], axis=1).astype(str)
        batches.append(StringBatch(strings, batch.numbers, batch.targets, batch.n_targets))
    return batches


def official_loss(network: Any, batch: StringBatch) -> Tensor:
    """Return the loss of a batch: cross-entropy, or the mean squared error."""
    place = network.device
    logits = network(x_txt=batch.strings, x_num=batch.numbers.to(place), d_output=batch.n_targets).float()
    targets = batch.targets.to(place)
    return F.mse_loss(logits.squeeze(-1), targets) if batch.n_targets == 1 else F.cross_entropy(logits, targets)
