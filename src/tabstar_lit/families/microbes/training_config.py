"""``training_config`` of the microbes family, and its ``model_config``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from tabstar_lit.config.schema import ModelConfig, OptimizerConfig, Section, TrainingConfig
from tabstar_lit.config.schema.base import Fraction, Name, NonNegativeNumber, PositiveCount
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture

Role = Literal["encoder", "predictor"]
Transform = Literal["none", "min_max", "z_score", "category_z_score", "log_min_max", "log_z_score"]

ENCODER_TERMS = {
    "unifrac": ("unifrac",),
    "faith_pd": ("faith_pd",),
    "taxonomy": ("taxonomy",),
    "combined": ("unifrac", "faith_pd", "taxonomy"),
}
"""Terms of the loss by ``encoder_type``, beside nucleotides."""


class LossWeights(Section):
    """Factors on the terms of the loss; a term of factor 0 is not computed."""

    target: NonNegativeNumber = Field(1.0, description="predictor: the target.")
    count: NonNegativeNumber = Field(1.0, description="predictor: the counts, on a scale of their own from 0 to 1.")
    unifrac: NonNegativeNumber = Field(1.0, description="Distances of all pairs of a batch.")
    ordination: NonNegativeNumber = Field(
        1.0,
        description="The same by vectors of samples, where distances are of lineages and such vectors are beside them "
        "(`lineage_start: linkage`, or `predictor.reads` other than `asvs`).",
    )
    faith_pd: NonNegativeNumber = Field(1.0, description="Faith's phylogenetic diversity, as a z-score.")
    taxonomy: NonNegativeNumber = Field(1.0, description="Shares of taxa.")
    nucleotide: NonNegativeNumber = Field(1.0, description="Hidden bases.")


class Masking(Section):
    """Bases that are hidden from the encoder, which it has to tell."""

    rate: Fraction = Field(0.15, description="Probability that a base is hidden.")
    kind: Literal["independent", "spans", "mixed"] = Field(
        "mixed", description="Bases by themselves, runs of 3 to 5 neighbours, or each for half of the sequences."
    )


class MicrobesTraining(TrainingConfig):
    """How an encoder or a predictor is trained; the loss of targets is smooth_l1 by default, or cross_entropy."""

    optimizer: OptimizerConfig = Field(
        OptimizerConfig(optimizer_name="AdamW", optimizer_params={"lr": 1e-4, "weight_decay": 0.01}),
        description="The optimizer.",
    )
    early_stop_patience: PositiveCount | None = Field(
        50, description="Epochs without an improvement of `monitor` before training stops; null never stops early."
    )
    loss_weights: LossWeights = Field(default_factory=LossWeights, description="Factors on the terms of the loss.")
    masking: Masking = Field(default_factory=Masking, description="Bases that are hidden from the encoder.")
    target_transform: Transform = Field(
        "min_max",
        description="Scale on which numeric targets are learned, fitted on training samples: min_max is 0 to 1, "
        "z_score in standard deviations, category_z_score in those of the sample's category, log_* of ln(1 + y).",
    )
    target_category: Name | None = Field(
        None, description="category_z_score: the column of categories, one of dataset_config.categories."
    )
    class_weights: bool = Field(False, description="Weigh classes by N / (K n_k), so that rare ones count as much.")


class MicrobesModel(ModelConfig):
    """The ``model_config`` of a microbes experiment."""

    role: Role = Field("encoder", description="What the stage trains: the encoder by itself, or a predictor on it.")
    freeze_base: bool = Field(
        True,
        description="predictor: keep the encoder as it is, without dropout, and compute what it says of a sample once; "
        "false: train it too.",
    )
    architecture_config: MicrobesArchitecture = Field(
        default_factory=MicrobesArchitecture, description="The networks of both roles."
    )
    training_config: MicrobesTraining = Field(default_factory=MicrobesTraining, description="How it is trained.")

    @property
    def frozen(self) -> bool:
        """Whether the encoder is not trained."""
        return self.role == "predictor" and self.freeze_base

    def loss_terms(self) -> tuple[str, ...]:
        """Return the terms that are active: those with a factor, of what is trained."""
        architecture = self.architecture_config
        own: tuple[str, ...] = ("target", "count") if architecture.predictor.count_layers else ("target",)
        base: tuple[str, ...] = (*ENCODER_TERMS[architecture.encoder_type], "nucleotide")
        if architecture.sample_vector and "unifrac" in base:
            base = (*base, "ordination")
        own = own if self.role == "predictor" else ()
        base = () if self.frozen else base
        return tuple(term for term in (*own, *base) if getattr(self.training_config.loss_weights, term) > 0)

    def problems(self) -> Iterable[Problem]:
        """Refuse a loss of nothing."""
        yield from super().problems()
        if not self.loss_terms():
            yield Problem(("training_config", "loss_weights"), "no term of the loss has a factor above 0")
