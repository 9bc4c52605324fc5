"""What an experiment on collision events may say about its data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import DatasetConfig, LoaderOptions, Section
from tabstar_lit.config.schema.base import Count, Fraction, Name, PositiveCount, PositiveNumber
from tabstar_lit.config.tree import Problem

ScalerType = Literal[
    "minmax", "maxabs", "standard", "robust", "quantile", "quantile_normal", "power", "logit", "standard_logit"
]
Sampler = Literal["RandomOverSampler", "RandomUnderSampler", "RandomResampleToTarget", "RandomResamplerToTarget"]
Strategy = Literal["auto", "minority", "not minority", "majority", "not majority", "all"]


class SplitConfig(Section):
    """Shares of the events that are held out, by a hash of their id: appending events moves none."""

    by: Literal["group", "event"] = Field(
        "group",
        description="Which id is hashed. group: all events of a group stand on one side (without groups in the file "
        "each event is its own); event: each event for itself.",
    )
    val: Fraction = Field(0.1, description="Share for validation during training.")
    test: Fraction = Field(0.1, description="Share for the test stage. With `folds` the fold takes its place.")
    calib: Fraction = Field(0.0, description="Share for `tabstar_lit calibrate`.")
    seed: Count = Field(0, description="Another seed gives another split; independent of the run's seed.")

    def problems(self) -> Iterable[Problem]:
        """Refuse shares that leave nothing to train or validate on."""
        if self.val + self.test + self.calib >= 1:
            yield Problem(
                ("val",), f"val + test + calib is {self.val + self.test + self.calib:g}: nothing is trained on"
            )
        if self.val == 0:
            yield Problem(("val",), "val is 0: training is watched on validation events; give it a share such as 0.1")


class FoldsConfig(Section):
    """Cross-validation by hash: the test split is one of ``n`` folds."""

    n: Annotated[int, Field(ge=2)] = Field(5, description="Number of folds.")
    fold: Count = Field(0, description="The fold to test on, from 0; run all with --multirun.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a fold that does not exist."""
        if self.fold >= self.n:
            yield Problem(("fold",), f"fold {self.fold} of {self.n} folds: they are numbered 0 to {self.n - 1}")


class FeatureScaling(Section):
    """How features are scaled; fitted on training events only and kept in the checkpoint."""

    numer_scaler_type: ScalerType | None = Field(
        "standard", description="Scaling of numerical features; null leaves them in the file's units."
    )
    categ_scaler_type: Literal["categorical"] | None = Field(
        "categorical",
        description="categorical: codes for an embedding, 0 for categories not met in training; null: categories are "
        "numbers and are taken as numerical features.",
    )
    scaler_params: dict[str, Any] | None = Field(
        default_factory=dict,
        description="Arguments of scikit-learn's scaler of numer_scaler_type, such as n_quantiles; for logit: eps. "
        "null: none, where another file gave some.",
    )
    per_feature: dict[str, ScalerType | None] = Field(
        default_factory=dict, description="Feature -> its own scaler, with default arguments."
    )


class SamplerArguments(Section):
    """How many training events of each class an epoch holds, in the words of imbalanced-learn."""

    sampling_strategy: Strategy | dict[str, PositiveCount] = Field(
        "auto",
        description="Classes that are resampled (auto: all but the largest when over-, all but the smallest when "
        "undersampling), or class -> number of events.",
    )


class DatasetOptions(Section):
    """How an epoch is made of training events."""

    drop_last: bool = Field(False, description="Leave out the last training batch of an epoch if it is short.")
    bucket_batches: PositiveInt | None = Field(
        None,
        description="Make batches of events with like numbers of objects, out of so many batches that follow one "
        "another, and pad each to its own longest event only: networks of objects are faster, and batch norms see "
        "events that are alike; null: batches at random, all padded to max_objects.",
    )
    imbalanced_sampler: Sampler | None = Field(
        None, description="Resample the training events afresh each epoch; validation and test stay as they are."
    )
    imbalanced_sampler_kwargs: SamplerArguments = Field(
        default_factory=SamplerArguments, description="Which classes, and to how many events."
    )

    def problems(self) -> Iterable[Problem]:
        """Ask for the counts that resampling to a target needs, and for the sampler that arguments are for."""
        to_target = self.imbalanced_sampler in {"RandomResampleToTarget", "RandomResamplerToTarget"}
        if to_target and isinstance(self.imbalanced_sampler_kwargs.sampling_strategy, str):
            path = ("imbalanced_sampler_kwargs", "sampling_strategy")
            yield Problem(path, "RandomResampleToTarget needs the number of events of each class: {signal: 10000, ...}")
        if self.imbalanced_sampler is None and self.imbalanced_sampler_kwargs != SamplerArguments():
            yield Problem(
                ("imbalanced_sampler_kwargs",),
                "these are arguments of imbalanced_sampler, which is null: set it, such as to RandomUnderSampler, or "
                "leave them out",
            )


class EventLoaderOptions(LoaderOptions):
    """How batches are loaded; all but the batch size are passed to ``torch.utils.data.DataLoader``."""

    batch_size: PositiveInt = Field(1024, description="Events in a batch.")
    cache: Literal["auto", "host", "device", "stream"] = Field(
        "auto",
        description="Where the events are. device: on the graphics card, where batches are then made; host: in memory, "
        "with batches made ahead of the training; stream: read from the file as dataset_config.cache: stream does; "
        "auto: on the card if they take at most a quarter of it.",
    )


class Momentum(Section):
    """Columns that hold the momentum of an object."""

    pt: Name = Field("pt", description="Transverse momentum.")
    eta: Name = Field("eta", description="Pseudorapidity.")
    phi: Name = Field("phi", description="Azimuth in radians.")
    energy: Name | None = Field(None, description="Energy, in the unit of pt.")
    mass: Name | None = Field(None, description="Mass, in the unit of pt, where there is no energy.")

    def problems(self) -> Iterable[Problem]:
        """Ask for exactly one of energy and mass."""
        if (self.energy is None) == (self.mass is None):
            yield Problem((), "a momentum needs 'energy' or 'mass', and only one of them")


class EventSource(DatasetConfig):
    """What every experiment on collision events says about its data."""

    files: str | tuple[str, ...] | None = Field(
        None,
        description="Event file of `tabstar_lit convert events`, looked for as given, then "
        "below the data root; a pattern such as 'mc_*.h5' or a list of both are read as one file; null: generated toy "
        "events.",
    )
    weight: Name | None = Field(
        None, description="One of the file's `variations` in place of the events' own weights; null: these."
    )
    features: tuple[Name, ...] = Field(
        ("*",),
        min_length=1,
        description="Inputs by name, objects as jets.pt, or by shell patterns in the order of the file: 'PRI_*', "
        "'jets.log_*'. '*': all of the event's own; jets.*: all of the jets. Patterns leave out spectators.",
    )
    spectators: tuple[Name, ...] = Field(
        (),
        description="Columns of the event, or patterns of them, carried along for decorrelation, figures and "
        "predictions, unscaled.",
    )
    split: SplitConfig = Field(
        default_factory=SplitConfig, description="Which events train, validate, test, calibrate."
    )
    folds: FoldsConfig | None = Field(None, description="Cross-validation: the test split is one fold.")
    missing: Literal["mean", "indicator", "error"] = Field(
        "mean",
        description="Missing numbers. mean: the mean of the training events; indicator: that, and a 0/1 feature "
        "<name>_missing; error: refused.",
    )
    feature_scaling: FeatureScaling = Field(default_factory=FeatureScaling, description="Scaling of the features.")
    ple_bins: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Bins of piecewise-linear embeddings, between quantiles of the training events."
    )
    dataloader_kwargs: EventLoaderOptions = Field(
        default_factory=EventLoaderOptions, description="Batch size, workers and memory of the loaders."
    )
    cache: Literal["auto", "memory", "stream"] = Field(
        "auto",
        description="memory: hold all events in memory; stream: read chunks in random order each epoch; auto: memory "
        "if the events need at most max_memory_gb.",
    )
    max_memory_gb: PositiveNumber = Field(4.0, description="Memory for events, in GB.")

    def problems(self) -> Iterable[Problem]:
        """Refuse lists that name something twice."""
        for key in ("features", "spectators"):
            names = getattr(self, key)
            for index, name in enumerate(names):
                if name in names[:index]:
                    yield Problem((key, index), f"'{name}' is listed twice")


class EventsDataset(EventSource):
    """The ``dataset_config`` of an experiment that tells classes of collision events apart."""

    classes: tuple[str | dict[str, tuple[str, ...]], ...] | dict[str, tuple[str, ...]] | None = Field(
        None,
        description="Classes in order; {name: [labels]} merges labels of the file. Events of other labels are left "
        "out. null: the labels of the file.",
    )
    signal: str | tuple[str, ...] | None = Field(
        None,
        description="Class (or classes) that is signal; null: the one named signal, else of two the one not named "
        "background, else the last.",
    )
    max_objects: PositiveCount | dict[str, PositiveCount] | None = Field(
        None,
        description="Objects kept of each event, of each type; batches are padded to it. null: the most there are.",
    )
    order_by: dict[str, Name] = Field(
        default_factory=dict, description="Object type -> column by whose falling value they are put in order."
    )
    momenta: dict[str, Momentum | tuple[Name, Name, Name, Name]] = Field(
        default_factory=dict,
        description="Object type -> columns [pt, eta, phi, energy] or {pt, eta, phi, mass} for pairwise features; "
        "guessed from their names where not given.",
    )
    use_mc_weights: bool = Field(False, description="Multiply the loss of an event by its weight in the file.")
    use_class_weights: bool = Field(
        False,
        description="Multiply it by N/(n C): each of the C classes counts alike. With use_mc_weights N and n are "
        "sums of weights.",
    )
    norm_class_weights: bool = Field(
        False, description="Scale these weights so that their mean over the training events is 1."
    )
    negative_weights: Literal["error", "absolute", "zero", "drop"] = Field(
        "error",
        description="Negative weights under use_mc_weights: refuse, take the absolute value, take 0, or drop these "
        "events from training. Metrics always see the weights as they are.",
    )
    dataset_kwargs: DatasetOptions = Field(default_factory=DatasetOptions, description="How an epoch is made.")

    def problems(self) -> Iterable[Problem]:
        """Refuse settings that work against each other."""
        yield from super().problems()
        if self.norm_class_weights and not self.use_class_weights:
            yield Problem(("norm_class_weights",), "norm_class_weights normalises class weights: set use_class_weights")
        if self.negative_weights != "error" and not self.use_mc_weights:
            yield Problem(
                ("negative_weights",),
                f"negative_weights: {self.negative_weights} is about weights in the loss, and use_mc_weights is false: "
                "set that to true, or leave it out",
            )
        if self.use_class_weights and self.dataset_kwargs.imbalanced_sampler:
            yield Problem(
                ("use_class_weights",),
                "class weights and an imbalanced_sampler both balance the classes: use one of them",
            )
