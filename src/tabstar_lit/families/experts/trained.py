"""A trained expert or mixture out of a checkpoint alone: what it makes of texts, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from tabstar_lit.data.tokenizers import tokenizer_from_payload
from tabstar_lit.engine.trained import Trained, find_device, read_stored
from tabstar_lit.engine.weights.loading import load_strict, require_finite
from tabstar_lit.families.experts.networks.build import network_from
from tabstar_lit.families.experts.scoring import document_scores
from tabstar_lit.families.experts.text.tokenizing import Framing
from tabstar_lit.families.experts.writing import READABLE, continuations
from tabstar_lit.nn.sampling import Sampling

NEEDED = ("role", "architecture_config", "vocabulary", "context_length", "tokenizer")
BATCH_SIZE = 16


@dataclass(frozen=True)
class TrainedText(Trained):
    """A trained network and its tokenizer."""

    @cached_property
    def framing(self) -> Framing:
        """What makes tokens of texts, and texts of tokens."""
        return Framing(tokenizer_from_payload(self.config["tokenizer"]))

    @property
    def context_length(self) -> int:
        """Tokens of the rows it was trained on."""
        return int(self.config["context_length"])

    def predict(self, *data: Sequence[str], batch_size: int = BATCH_SIZE, device: str = "auto") -> pd.DataFrame:
        """Return how likely texts are.

        Parameters
        ----------
        *data : sequence of str
            One or several lists of documents, none of them empty.
        batch_size : int
            Rows in a batch.
        device : str
            Where the network runs, and stays; ``auto`` is a GPU if there is one.

        Returns
        -------
        DataFrame
            A row for each document: ``nats`` is -log p of it with the token that ends it, ``tokens`` and ``bytes`` are
            its length, ``loss`` is in nats per token, then ``bits_per_byte``.
        """
        texts = [text for part in data for text in part]
        self.network.to(find_device(device))
        return document_scores(self.network, self.framing, texts, self.context_length, batch_size)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 256,
        sampling: Sampling = READABLE,
        at_once: int | None = None,
        device: str = "auto",
    ) -> list[str]:
        """Return what the network writes after each prompt; an empty one is the beginning of a text.

        Parameters
        ----------
        prompts : sequence of str
            What texts begin with.
        max_new_tokens : int
            Tokens that are written, at most; a text also ends where the network ends it.
        sampling : Sampling
            How tokens are chosen.
        at_once : int or None
            Tokens that a masked diffuser fills in at once, the surest first; None: one after another.
        device : str
            As for :meth:`predict`.

        Raises
        ------
        ConfigError
            ``at_once`` is asked of a network that is no masked diffuser.
        """
        self.network.to(find_device(device))
        tokens = [self.framing.prompt(prompt) for prompt in prompts]
        return continuations(
            self.network, self.framing, tokens, max_new_tokens=max_new_tokens, sampling=sampling, at_once=at_once
        )


def restore(path: Path) -> TrainedText:
    """Rebuild network and tokenizer.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_experts``.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="experts", needed=NEEDED)
    network = network_from(config, path)
    load_strict(network, weights, strict=True, source=str(path))
    require_finite(network, source=str(path))
    return TrainedText(path, network.eval().requires_grad_(False), config)
