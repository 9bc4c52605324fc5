"""What an experiment on pairs of antigen and antibody may say about its data. Light: no torch, no numpy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from tabstar_lit.config.schema import DatasetConfig, LoaderOptions, Section
from tabstar_lit.config.schema.base import Count, Fraction, Name, PositiveCount, PositiveNumber
from tabstar_lit.config.tree import Problem

Chains = Literal["all", "paired", "single", "heavy"]
SplitBy = Literal["cluster", "antigen", "antibody", "row"]


class PairSplit(Section):
    """Shares of the pairs that are held out, by a hash: appending pairs moves none."""

    by: SplitBy = Field(
        "cluster",
        description="What is never separated. cluster: pairs whose antigens resemble each other, so that validation "
        "asks about unseen antigens; antigen: pairs of one antigen; antibody: pairs of one antibody, for a single "
        "antigen; row: nothing, which measures memory (a warning says so).",
    )
    val: Fraction = Field(0.1, description="Share for validation during training.")
    test: Fraction = Field(0.1, description="Share for the test stage.")
    seed: Count = Field(0, description="Another seed gives another split; independent of the run's seed.")

    def problems(self) -> Iterable[Problem]:
        """Refuse shares that leave nothing to train or validate on."""
        if self.val + self.test >= 1:
            yield Problem(("val",), f"val + test is {self.val + self.test:g}: nothing is trained on")
        if self.val == 0:
            yield Problem(("val",), "val is 0: training is watched on validation pairs; give it a share such as 0.1")


class PkdStandard(Section):
    """How pKd is standardised: a network is told (pKd - mean) / std."""

    mean: float = Field(description="Taken away.")
    std: PositiveNumber = Field(description="Divided by.")


class PairLoaderOptions(LoaderOptions):
    """How batches are loaded; all but the first two are passed to ``torch.utils.data.DataLoader``."""

    batch_size: PositiveCount | Literal["auto"] = Field(
        "auto", description="Pairs in a batch; auto: 16 on a processor, 32 on an accelerator."
    )
    bucket_batches: PositiveCount = Field(
        50, description="Pairs of similar length share a batch: this many batches are drawn, sorted and cut at a time."
    )


class AntibodyDataset(DatasetConfig):
    """The ``dataset_config`` of an antibody experiment."""

    files: Name | None = Field(
        None,
        description="Pairs file of `tabstar_lit convert antibody`, looked for as given, then below the data root; "
        "null: a generated task whose rule is known.",
    )
    chains: Chains = Field(
        "all",
        description="Antibodies that are used. paired: those with both chains; single: nanobodies and other lone heavy "
        "chains; heavy: the heavy chain of every antibody that has one.",
    )
    antigen: Name | None = Field(
        None,
        description="Use the pairs of this antigen alone: its name in the file, or its sequence; split.by is antibody "
        "then.",
    )
    pkd: Literal["any", "known"] = Field(
        "any",
        description="known: leave out pairs without a measured affinity; any: use them with the affinity missing.",
    )
    censored: Literal["bound", "missing", "drop"] = Field(
        "bound",
        description="Pairs whose affinity is known only to be beyond a bound, such as non-binders. bound: take the "
        "bound; missing: take them as not measured; drop: leave them out.",
    )
    pkd_scale: PkdStandard | None = Field(
        None,
        description="Standardise pKd by these numbers, such as those of the stage before; null: by the mean and "
        "standard deviation of training pairs.",
    )
    max_antigen_tokens: Annotated[int, Field(ge=8)] = Field(
        512, description="Longer antigens are cut, END kept; a warning says how many."
    )
    max_antibody_tokens: Annotated[int, Field(ge=8)] = Field(
        300,
        description="Longer antibodies are left out, since one without its end teaches never to end; a warning says "
        "how many.",
    )
    max_samples: PositiveCount | None = Field(
        None, description="Train on this many pairs, always the same ones; null: on all."
    )
    split: PairSplit = Field(default_factory=PairSplit, description="What is held out.")
    dataloader_kwargs: PairLoaderOptions = Field(
        default_factory=PairLoaderOptions, description="Batch size, workers and memory of the loaders."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse a single antigen that is to be split by antigen."""
        if self.antigen is not None and self.split.by in ("cluster", "antigen"):
            yield Problem(
                ("split", "by"),
                f"the pairs of one antigen cannot be split by {self.split.by}: set split.by: antibody",
            )
