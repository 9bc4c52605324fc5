"""TabSTAR (arXiv 2505.18125) over collision events: names of features, categories and classes are read as texts.

Shapes: ``B`` events, ``N`` classes, ``F`` numbers, ``C`` categories, ``S = N + F + C`` elements, ``T`` texts of width
``E``, ``D`` width of an element.

The texts of an event are the same ones for all events, but for its categories. They are encoded once, when the network
is built, and saved among its weights: neither training nor prediction runs the text encoder.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.data.verbalize import MISSING, column_text, feature_text, name_text, target_texts
from tabstar_lit.families.hep.architecture.tabstar import TabSTARArchitecture
from tabstar_lit.families.hep.batch import Features, Inputs
from tabstar_lit.nn.tabstar import InteractionEncoder, NumericalFusion, PredictionHead, require_heads
from tabstar_lit.nn.tabstar_config import FixedTextEncoder, TextEncoderConfig
from tabstar_lit.nn.text_encoder import encode_strings
from tabstar_lit.nn.text_sources import load_text_encoder

TARGET = "class"
"""What the texts of the classes call the target."""


class TabSTAR(nn.Module):
    """Classes and features are elements, each a text and a number, that attend to each other; classes are scored.

    Modules have the names they have in a network of ``train_tabstar``, so that ``load_modules`` takes pretrained ones.

    Parameters
    ----------
    config : TabSTARArchitecture
        Its options.
    inputs : Inputs
        The features with their categories, and the classes; objects are not read.
    output_dim : int
        Number of logits ``K``: one for two classes, the signal's score less the background's; else the score of each.
    texts : Tensor, optional
        ``[T, E]`` vectors of the texts, out of a checkpoint; None asks the text encoder.

    Raises
    ------
    ConfigError
        Attention heads do not divide the width of an element.
    EncoderError
        There is no such text encoder.
    """

    texts: Tensor
    first: Tensor

    def __init__(
        self, config: TabSTARArchitecture, inputs: Inputs, output_dim: int, *, texts: Tensor | None = None
    ) -> None:
        super().__init__()
        texts = _encode(config.text_encoder, event_texts(inputs)) if texts is None else texts
        width = config.d_model or texts.shape[1]
        require_heads(config, width)
        columns = inputs.events
        self.n_targets = len(inputs.classes)
        self.n_same = self.n_targets + len(columns.numerical)
        self.signal = inputs.classes.index(inputs.signal[0]) if output_dim == 1 else None
        self.register_buffer("texts", texts)
        starts = list(accumulate(columns.cardinalities, initial=self.n_same))[:-1]
        self.register_buffer("first", torch.tensor(starts, dtype=torch.int64), persistent=False)
        self.text_projection = nn.Identity() if width == texts.shape[1] else nn.Linear(texts.shape[1], width)
        self.numerical_fusion = NumericalFusion(config, width)
        self.tabular_encoder = InteractionEncoder(config, width)
        self.cls_head = PredictionHead(width, config.head_hidden or 4 * width)

    def forward(self, features: Features) -> Tensor:
        """Return logits ``[B, K]``."""
        elements = self.numerical_fusion(self._text(features), self._numbers(features))
        scores: Tensor = self.cls_head(self.tabular_encoder(elements, self.n_targets)).squeeze(-1)
        if self.signal is None:
            return scores
        return scores[:, self.signal, None] - scores[:, 1 - self.signal, None]

    def _text(self, features: Features) -> Tensor:
        """Return ``[B, S, D]``: the texts of classes and numbers, then those of the event's categories."""
        texts: Tensor = self.text_projection(self.texts)
        same = texts[: self.n_same].expand(features.numerical.shape[0], -1, -1)
        if not len(self.first):
            return same
        return torch.cat([same, functional.embedding(features.categorical + self.first, texts)], dim=1)

    def _numbers(self, features: Features) -> Tensor:
        """Return ``[B, S]``: scaled numbers, 0 for classes and categories."""
        return functional.pad(features.numerical, (self.n_targets, len(self.first)))


def event_texts(inputs: Inputs) -> list[str]:
    """Return the texts of all elements: of the ``N`` classes, the ``F`` numbers, and every code of every category.

    Code 0, a category that no training event had or a missing one, is verbalised as TabSTAR does a missing value.
    """
    columns = inputs.events
    categories = zip(columns.categorical, columns.categories, strict=True)
    return [
        *target_texts(TARGET, inputs.classes),
        *(name_text(column_text(name)) for name in columns.numerical),
        *(feature_text(column_text(name), value) for name, values in categories for value in (MISSING, *values)),
    ]


def _encode(config: FixedTextEncoder, texts: list[str]) -> Tensor:
    encoder = load_text_encoder(TextEncoderConfig(**dict(config), unfreeze_layers=0))
    return encode_strings(encoder, texts, config.max_tokens)
