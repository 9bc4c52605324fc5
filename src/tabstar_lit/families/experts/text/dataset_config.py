"""What an experts experiment may say about its texts. Light: no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import DatasetConfig, LoaderOptions
from tabstar_lit.config.schema.base import Count, Name


class TextDataset(DatasetConfig):
    """The ``dataset_config`` of an experts experiment."""

    corpus: str | None = Field(
        None,
        description="HDF5 file of `tabstar_lit convert text`, or the folder of domains that it is made from; looked "
        "for as given, then below the data root. null: built-in texts.",
    )
    tokenizer: Name = Field(
        "bytes",
        description="What makes tokens where `corpus` is a folder or null: bytes, a tokenizer.json, a folder, or a "
        "name on the Hugging Face hub. A corpus file has its own.",
    )
    domains: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        None, description="Names of the domains used; null: all."
    )
    max_samples: PositiveInt | None = Field(
        None, description="Use at most this many documents of a domain, the same ones for ever; null: all."
    )
    split: Literal["hash", "contiguous"] = Field(
        "hash",
        description="hash: the side of a document follows from its text and split_seed. contiguous: the last documents "
        "of each domain validate.",
    )
    val_split: float = Field(0.1, gt=0, lt=1, description="Share that validates: of documents, contiguous of tokens.")
    split_seed: Count = Field(42, description="Another one gives another split by hash; the run's seed does not.")
    context_length: Annotated[int, Field(ge=8)] = Field(512, description="Tokens in a row.")
    documents: Literal["packed", "padded", "joined"] = Field(
        "packed",
        description="packed: several in a row, and attention does not cross from one to another. padded: one in a row. "
        "joined: one endless text, cut anywhere, as nanoGPT has it.",
    )
    strategy: Literal["uniform", "proportional", "temperature"] = Field(
        "uniform",
        description="Share of each domain in a batch: all alike, in proportion to its rows n, or to n^(1/temperature).",
    )
    temperature: float = Field(2.0, ge=1, description="1: proportional; towards infinity: all alike.")
    rows_per_epoch: PositiveInt | None = Field(
        None, description="Rows in an epoch; null: as many as all domains have together."
    )
    batch_size: PositiveInt | None = Field(None, description="Rows in a batch; null: as the size of the model says.")
    dataloader_kwargs: LoaderOptions = Field(
        default_factory=LoaderOptions, description="Workers and memory of the loaders."
    )

    @property
    def alpha(self) -> float:
        """Exponent of the number of rows in the share of a domain."""
        return {"uniform": 0.0, "proportional": 1.0, "temperature": 1 / self.temperature}[self.strategy]
