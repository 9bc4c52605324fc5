"""What a microbes experiment may say about its network; the defaults are AAM's unless a description says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, Section
from tabstar_lit.config.schema.base import Count, Name, PositiveNumber
from tabstar_lit.config.tree import Problem

EncoderType = Literal["unifrac", "faith_pd", "taxonomy", "combined"]
Fusion = Literal["none", "concat", "add", "gmu", "cross_attention", "perceiver"]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Quantile = Annotated[float, Field(gt=0, lt=1)]


class PredictorArchitecture(Section):
    """What stands on the encoder in the role `predictor`."""

    reads: Literal["asvs", "sample", "both"] = Field(
        "asvs",
        description="What a predictor reads of the encoder. asvs: the state of each ASV, as in AAM; "
        "sample: the vector of the sample, whose distances tell UniFrac; both: their sum.",
    )
    count_layers: Count = Field(
        4, description="Layers of the branch that gives back the counts; 0: there is none, and no term of it."
    )
    target_layers: PositiveInt = Field(4, description="Layers of the branch that gives the target.")
    fusion: Fusion = Field(
        "none",
        description="How categories of a sample meet its ASVs. concat, add: at every ASV; gmu: a gate after pooling; "
        "cross_attention: ASVs attend to categories; perceiver: latents attend to both, instead of the target branch.",
    )
    category_dim: PositiveInt = Field(16, description="Length of the vector of a category.")
    latents: PositiveInt = Field(64, description="perceiver: number of latents.")
    latent_layers: PositiveInt = Field(2, description="perceiver: layers of the latents.")
    head: Literal["linear", "mlp", "residual"] = Field(
        "linear", description="From the pooled vector to the target: a linear layer, hidden layers, or both added."
    )
    hidden_dims: tuple[PositiveInt, ...] = Field((), description="Hidden layers of head mlp and residual.")
    wide: bool = Field(
        False,
        description="Add a linear model of the reads of each sequence to the output, for studies of few samples: "
        "sequences that were never trained on have no part in it.",
    )
    wide_weights: Literal["learned", "fitted"] = Field(
        "learned",
        description="wide: learned: from 0, along with the network. fitted: logistic or ridge regression of the "
        "training samples, whose penalty is chosen by folds of groups; it is kept, and the network learns what it "
        "leaves over. Of values it counts as far as held-out folds bear it out, and what it leaves is that of samples "
        "whose group it was not fitted to.",
    )
    quantiles: tuple[Quantile, ...] = Field(
        (), description="Quantiles of a numeric target that are predicted, with loss pinball; [] predicts one value."
    )
    category_scale: Name | None = Field(
        None, description="Column of categories, each with a scale and a bias of its own on the output; null: none."
    )
    learnable_scale: bool = Field(False, description="One learned factor on each output.")
    bound: Literal["none", "sigmoid", "relu", "softplus", "exp"] = Field(
        "none", description="Function at the end that bounds a transformed target."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse hidden layers that no head reads, a head without them, falling quantiles, and what reads nothing."""
        if (self.head == "linear") == bool(self.hidden_dims):
            which = "head: linear has none" if self.hidden_dims else f"head: {self.head} needs some, such as [64]"
            yield Problem(("hidden_dims",), f"hidden layers: {which}")
        if list(self.quantiles) != sorted(set(self.quantiles)):
            yield Problem(("quantiles",), "quantiles have to rise, such as [0.1, 0.5, 0.9]")
        if self.reads == "sample" and self.fusion != "none":
            message = f"{self.fusion} joins categories with ASVs, which reads: sample leaves out; set reads: both"
            yield Problem(("fusion",), message)
        if self.wide_weights == "fitted" and not self.wide:
            yield Problem(("wide_weights",), "fitted weights are those of the wide part; set wide: true")


class MicrobesArchitecture(ArchitectureConfig):
    """From bases to ASVs, from ASVs to samples, from samples to targets."""

    encoder_type: EncoderType = Field(
        "unifrac",
        description="What the encoder learns beside nucleotides: UniFrac distances between samples, Faith's "
        "phylogenetic diversity, shares of taxa, or all of them.",
    )
    embedding_dim: PositiveInt = Field(128, description="Length D of the vector of a base, an ASV and a sample.")
    heads: PositiveInt = Field(4, description="Heads of every attention; they divide embedding_dim.")
    asv_layers: PositiveInt = Field(4, description="Layers that read the bases of a sequence.")
    sample_layers: PositiveInt = Field(4, description="Layers that read the ASVs of a sample, for both stages.")
    encoder_layers: PositiveInt = Field(4, description="Further layers that read the ASVs, for the encoder's own task.")
    dropout: Dropout = Field(
        0.0,
        description="Dropout in every layer; AAM has 0.1.",
    )
    bases_per_token: PositiveInt = Field(
        1, description="Neighbouring bases that are read as one token; with 4 a step is several times faster."
    )
    count_embedding: Literal["none", "add", "concat", "film"] = Field(
        "add",
        description="How ln(1 + count) meets the vector of an ASV: not at all, added, by a linear layer of both, or as "
        "scale and shift.",
    )
    unifrac_scale: PositiveNumber = Field(
        1.0,
        description="A distance of d between vectors is a UniFrac of tanh(d / unifrac_scale); AAM has 10, with which "
        "all distances are near 0 at first and learning takes several times as long.",
    )
    lineages: Count = Field(
        0,
        description="Lineages that are learned from the letters, such as 512: a sample has those that any of its "
        "sequences lies in, and distances are the share of them that two samples do not have in common, as in "
        "unweighted UniFrac. 0: distances between pooled vectors, as in AAM.",
    )
    lineage_start: Literal["random", "linkage"] = Field(
        "random",
        description="What lineages are before training. linkage: the clades that tell most of the distances between "
        "training samples, on a tree that average linkage makes of their sequences; letters alone tell of them, and "
        "no tree is needed later.",
    )
    compat: bool = Field(
        False, description="Learned positions of ASVs, as in AAM, so that their order in the table matters."
    )
    token_limit: PositiveInt = Field(1024, description="compat: most ASVs of a sample.")
    asvs_at_once: PositiveInt | None = Field(
        None, description="Sequences that are read at once, which bounds memory; null: all of a batch."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute layers again in the backward pass instead of keeping what is inside them."
    )
    predictor: PredictorArchitecture = Field(
        default_factory=PredictorArchitecture, description="What stands on the encoder in the role predictor."
    )

    @property
    def distance_scale(self) -> float | None:
        """The scale that predicted distances are made with; None: they are those of lineages."""
        return None if self.lineages else self.unifrac_scale

    @property
    def sample_vector(self) -> bool:
        """Whether a sample has a vector beside lineages: where these read no state, or a predictor reads it."""
        return self.lineages > 0 and (self.lineage_start == "linkage" or self.predictor.reads != "asvs")

    def problems(self) -> Iterable[Problem]:
        """Refuse heads that do not divide the width, and a start of no lineages."""
        if self.embedding_dim % self.heads:
            yield Problem(
                ("heads",), f"{self.heads} heads do not divide an embedding_dim of {self.embedding_dim}; change one"
            )
        if self.lineage_start == "linkage" and not self.lineages:
            yield Problem(("lineage_start",), "there are no lineages to start; set lineages, such as 512")
