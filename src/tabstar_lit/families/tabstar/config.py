"""What a tabstar experiment may say about its model and its data; the defaults are the official model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from tabstar_lit.config.schema import DatasetConfig, Experiment, LoaderOptions, ModelConfig, Section
from tabstar_lit.config.schema.base import Name
from tabstar_lit.config.tree import Problem
from tabstar_lit.nn.tabstar_config import TabstarSizes, TextEncoderConfig


class TabstarArchitecture(TabstarSizes):
    """Sizes of the network; null stands for the official proportion."""

    text_encoder: TextEncoderConfig = Field(
        default_factory=TextEncoderConfig, description="The model that reads the strings."
    )
    numbers: Literal["bins", "six"] = Field(
        "bins",
        description="How a number is told: by its bin in the text and its z-score (TabSTAR v1), or by six numbers "
        "beside the name of its column (v1.1), which is a twelfth of the strings.",
    )
    number_frequencies: NonNegativeInt = Field(
        0,
        description="Waves of z-score and quantile that the number embedding reads beside the six of "
        "`numbers: six`, at frequencies that are learned (arXiv 2203.05556); 0: none, as the official model.",
    )
    regression_head: Literal["scalar", "binned", "both"] = Field(
        "scalar",
        description="How regression targets are predicted: as a number (v1), as shares of bins that are read by their "
        "mean, or as the mean of both (v1.1).",
    )
    regression_bins: int = Field(64, ge=2, description="Bins of binned and both.")
    regression_limit: PositiveFloat = Field(
        3.0,
        description="While a head learns, targets end at so many standard deviations of the training rows; the bins "
        "share out what is between.",
    )


class LoraConfig(Section):
    """Low-rank adapters (arXiv 2106.09685), on the layers that the official package adapts and of its sizes."""

    rank: PositiveInt = Field(32, description="Rank of an adapter.")
    alpha: PositiveInt = Field(64, description="What adapters give is multiplied by alpha / rank.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of what goes into an adapter.")


class TabstarModel(ModelConfig):
    """The ``model_config`` of a tabstar experiment."""

    base: Name | None = Field(
        None,
        description="A trained model to fine-tune: an earlier stage, a checkpoint, a folder of the package tabstar, or "
        "its name on the hub. Weights and architecture are its own; of `architecture_config` only dropout, max_tokens "
        "and unfreeze_layers count.",
    )
    lora: LoraConfig | None = Field(
        None,
        description="Train low-rank adapters of the base, in place of its weights; null: the weights. Adapters of the "
        "text encoder are in the layers that unfreeze_layers names. Checkpoints then hold the adapters alone.",
    )
    architecture_config: TabstarArchitecture = Field(
        default_factory=TabstarArchitecture, description="Sizes of the network and its text encoder."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse adapters of nothing, and waves of numbers that are bins."""
        yield from super().problems()
        architecture = self.architecture_config
        if architecture.number_frequencies and architecture.numbers != "six":
            yield Problem(
                ("architecture_config", "number_frequencies"),
                f"waves are of numbers that are told by six, and numbers is {architecture.numbers}: set numbers to six",
            )
        if self.lora is not None and self.base is None:
            yield Problem(("lora",), "adapters need a trained model to adapt: set model_config.base")
        if self.lora is not None and self.load_modules:
            yield Problem(
                ("load_modules",),
                "adapters are stored without the weights they adapt, which therefore have to come from one model: "
                "name it as model_config.base",
            )


TargetTransform = Literal["z_score", "log", "quantile"]
TargetOffset = Literal["additive", "trees"]


class TableLoader(LoaderOptions):
    """How batches are loaded; passed to ``torch.utils.data.DataLoader``."""

    cache: Literal["auto", "host"] = Field(
        "auto",
        description="Where the rows are: on the host, with batches made ahead of a training on a graphics card, which "
        "holds the strings' tokens, see text_cache_gb.",
    )


class TabstarDataset(DatasetConfig):
    """The ``dataset_config`` of a tabstar experiment."""

    corpus: str | tuple[str, ...] | None = Field(
        None,
        description="HDF5 file of `tabstar_lit convert tables`, a pattern such as corpora/*.h5, or a list of them, "
        "looked for as given, then below the data root; null: scikit-learn's bundled real tables.",
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
    window: PositiveInt = Field(
        1,
        description="Batches of one table that follow one another within an accumulated step, and whose strings a "
        "text encoder in training reads once; must divide training_config.accumulate_grad_batches. 1: each its own.",
    )
    strategy: Literal["uniform", "proportional", "temperature"] = Field(
        "uniform",
        description="How many rows each table gives: equally many up to rows_per_dataset, in proportion to "
        "its rows n, or to n^(1/temperature).",
    )
    temperature: float = Field(2.0, ge=1, description="1: proportional; towards infinity: equally many of each table.")
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None,
        description="How much rows of a class count in the loss, times their own weights. balanced: all classes of a "
        "table alike; or class -> weight, others 1, where one table is trained on; null: every row alike.",
    )
    max_features: PositiveInt | None = Field(
        None,
        description="Keep at most this many features of a table, the same ones for the whole run; null: all.",
    )
    target_transform: TargetTransform = Field(
        "z_score",
        description="Scale on which regression targets are learned, fitted on training rows and undone in predictions "
        "and scores: standard deviations from the mean, those of ln(1 + y), or quantiles as of a normal distribution.",
    )
    target_offset: TargetOffset | None = Field(
        None,
        description="What regression predictions start from, cross-fitted to the training rows; the network's output "
        "is added to it. additive: a curve for each number and a constant for each common text, by ridge regression; "
        "trees: gradient boosted trees on numbers and common texts; null: nothing.",
    )
    same_tokens: Literal["error", "warn"] = Field(
        "error",
        description="Where two classes, or two columns, of a table are the same tokens to the text encoder, which "
        "cannot tell them apart: refuse the table, or go on with a warning.",
    )
    text_cache_gb: float | None = Field(
        None,
        ge=0,
        description="Memory for what frozen layers of a text encoder make of each string, in GB on the device that "
        "trains; 0: none; null: 1 GB, or a quarter of a graphics card's. What fits nowhere is computed in every step.",
    )
    text_cache_host_gb: float | None = Field(
        None,
        ge=0,
        description="Memory of the host, in GB, for strings that the device has no room for; null: 4 GB beside a "
        "graphics card, and none without one.",
    )
    text_cache_disk_gb: float = Field(
        0,
        ge=0,
        description="Size of a file beside the corpus, in GB, that holds the same for later runs with these weights, "
        "and for strings that no memory is left for. It takes its space at once; files of other weights make room.",
    )
    dataloader_kwargs: TableLoader = Field(
        default_factory=TableLoader, description="Workers and memory of the loaders."
    )


class TabstarExperiment(Experiment):
    """A tabstar experiment: what ``train_tabstar`` reads."""

    data_key: ClassVar[str | None] = "corpus"

    dataset_config: TabstarDataset
    model: TabstarModel = Field(alias="model_config")

    def problems(self) -> Iterable[Problem]:
        """Refuse windows that reach over a step, after which the strings have other vectors."""
        yield from super().problems()
        window, batches = self.dataset_config.window, self.model.training_config.accumulate_grad_batches
        if batches % window:
            yield Problem(
                ("dataset_config", "window"),
                f"{window} does not divide the batches of a step, {batches}: strings are read anew after each step. "
                "Change model_config.training_config.accumulate_grad_batches, or this",
            )

    def earlier(self) -> Mapping[str, str | None]:
        """Name the model that is fine-tuned."""
        return {"base": self.model.base}
