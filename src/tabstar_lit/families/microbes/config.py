"""What ``train_microbes`` reads, and what an experiment may say about its study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tabstar_lit.config.schema import DatasetConfig, Experiment, LoaderOptions, Section
from tabstar_lit.config.schema.base import Count, Fraction, Name
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.microbes.training_config import MicrobesModel


def _listed(value: Any) -> Any:
    """Let one name stand for a list of one, and null for none."""
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)


Names = Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=Name | tuple[Name, ...] | None)]


class SampleSplit(Section):
    """Which samples are held out."""

    by: Literal["group", "sample"] = Field(
        "group",
        description="group: all samples of a group (a subject, a house) stand on one side; without groups in the study "
        "each sample is its own. sample: each for itself, which flatters every model where samples of a group are "
        "alike.",
    )
    rule: Literal["dealt", "hash"] = Field(
        "dealt",
        description="dealt: groups are ordered by class and hash and dealt out, so that sides have their shares and "
        "classes even where there are few; new groups may move old ones. hash: each group by its own hash, for ever.",
    )
    val: Fraction = Field(0.2, description="Share for validation during training; with folds, of what a fold leaves.")
    test: Fraction = Field(0.0, description="Share for the test stage; with folds the fold takes its place.")
    seed: Count = Field(0, description="Another seed gives another split; independent of the run's seed.")

    def problems(self) -> Iterable[Problem]:
        """Refuse shares that leave nothing to train or validate on."""
        if self.val + self.test >= 1:
            yield Problem(("val",), f"val + test is {self.val + self.test:g}: nothing is trained on")
        if self.val == 0:
            yield Problem(("val",), "val is 0: training is watched on validation samples; give it a share such as 0.2")


class SampleFolds(Section):
    """Cross-validation: the test split is one of ``n`` folds."""

    n: Annotated[int, Field(ge=2)] = Field(5, description="Number of folds.")
    fold: Count = Field(0, description="The fold to test on, from 0; `tabstar_lit microbes folds` trains all of them.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a fold that does not exist."""
        if self.fold >= self.n:
            yield Problem(("fold",), f"fold {self.fold} of {self.n} folds: they are numbered 0 to {self.n - 1}")


class SampleLabels(Section):
    """Targets of a part of the training groups, as for a learning curve."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Share of training groups whose targets are used, two groups and one of each class at least. An "
        "encoder is trained on the samples of all. Those of a smaller share are among those of a larger one.",
    )
    seed: Count = Field(0, description="Another seed draws other groups; the split stays as it is.")


class SampleLoader(LoaderOptions):
    """How batches are loaded; all but the batch size are passed to ``torch.utils.data.DataLoader``."""

    batch_size: Annotated[int, Field(ge=2)] = Field(
        32, description="Samples in a batch, two at least: distances are between samples."
    )


class MicrobesDataset(DatasetConfig):
    """The ``dataset_config`` of a microbes experiment."""

    study: str | None = Field(
        None,
        description="Study file of `tabstar_lit convert microbiome`, looked for as given, then below the data root; "
        "null: a generated study.",
    )
    target: Names = Field(
        (),
        description="Column that is predicted: one of classes, or one or several of numbers. [] where only an encoder "
        "is trained.",
    )
    categories: Names = Field((), description="Columns of classes that a predictor reads beside the community.")
    split: SampleSplit = Field(default_factory=SampleSplit, description="Which samples train, validate and test.")
    folds: SampleFolds | None = Field(None, description="Cross-validation: the test split is one fold.")
    labels: SampleLabels | None = Field(
        None, description="Use the targets of a part of the training groups only; null: of all."
    )
    max_asvs: Annotated[int, Field(ge=1)] | None = Field(
        1024, description="Of a sample with more ASVs the most abundant are kept; null: all."
    )
    max_bases: Annotated[int, Field(ge=1)] | None = Field(
        150, description="Longer sequences are cut after this many bases; null: none is."
    )
    baseline: Literal["forest_and_linear", "none"] = Field(
        "forest_and_linear",
        description="Classical models that are tuned on the same training samples and scored beside the network: a "
        "random forest, and logistic or ridge regression.",
    )
    dataloader_kwargs: SampleLoader = Field(default_factory=SampleLoader, description="How batches are loaded.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a column that is to be read and predicted."""
        for index, name in enumerate(self.categories):
            if name in self.target:
                yield Problem(
                    ("categories", index), f"'{name}' is the target: a model that reads it has nothing to learn"
                )


class MicrobesExperiment(Experiment):
    """A microbes experiment: what ``train_microbes`` reads."""

    data_key: ClassVar[str | None] = "study"

    dataset_config: MicrobesDataset
    model: MicrobesModel = Field(alias="model_config")
