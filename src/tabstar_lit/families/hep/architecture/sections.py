"""Sections that the architectures of several networks share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, Section
from tabstar_lit.config.tree import Problem

Reduction = Literal["mean", "reshape", "conv1d", "conv2d", "attn", "none"]
EmbeddingFusion = Literal["sum", "mean", "add", "cat", "cat_proj", "learn", "gate", "attn", "res_attn"]
OutputFusion = Literal["add", "cat", "learn", "gate", "attn"]


class PiecewiseLinear(Section):
    """Piecewise-linear encoding of numbers (arXiv 2203.05556); its bins come from ``dataset_config.ple_bins``."""

    uniform_bins: bool = Field(False, description="Bins of equal width between the outermost quantiles.")
    learn_bins: bool = Field(False, description="Train the edges, which stay in order.")
    act: str | None = Field(None, description="Activation of the embedded number.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the embedded number.")
    layernorm: bool = Field(False, description="LayerNorm of the embedded number.")


class Embeddings(Section):
    """How each feature becomes a vector, and how these become one."""

    reduction: Reduction = Field(
        "mean",
        description="mean of the vectors; reshape: one linear layer over all of them; conv1d (conv2d is the same): "
        "a learned weight each; attn: attention pooling; none: a flat network reads them side by side.",
    )
    numer_feature_wise_linear: bool = Field(
        False, description="Start the weights of numbers as nn.Linear(1, E) does, not small and normal."
    )
    numer_shared_linear: bool = Field(
        False, description="One pair of weight and bias for all numbers, not one for each."
    )
    ple: bool | PiecewiseLinear = Field(False, description="Piecewise-linear encoding of numbers; true: as it comes.")

    @property
    def piecewise(self) -> PiecewiseLinear | None:
        """The options of the piecewise-linear encoding, None when it is off."""
        return self.ple if isinstance(self.ple, PiecewiseLinear) else PiecewiseLinear() if self.ple else None

    def problems(self) -> Iterable[Problem]:
        """Refuse two ways of embedding a number at once."""
        names = ("numer_feature_wise_linear", "numer_shared_linear", "conv1d_embedding", "ple")
        ways = [name for name in names if getattr(self, name, False)]
        if len(ways) > 1:
            yield Problem((ways[-1],), f"{' and '.join(ways)} exclude each other; keep one.")


class PostEmbeddings(Section):
    """What is done to each feature's vector before the reduction, in this order."""

    layernorm: bool = Field(False, description="LayerNorm over the vector.")
    batchnorm: bool = Field(False, description="BatchNorm of each of its entries over events and features.")
    act: str | None = Field(None, description="Activation.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout.")

    def problems(self) -> Iterable[Problem]:
        """Refuse two normalisations at once."""
        if self.layernorm and self.batchnorm:
            yield Problem(("batchnorm",), "layernorm and batchnorm exclude each other; keep one.")


class SdpBackend(Section):
    """Which kernels ``scaled_dot_product_attention`` may use; torch picks the first of these that can."""

    enable_math: bool = Field(True, description="The plain one, which can do everything.")
    enable_flash: bool = Field(True, description="FlashAttention; no masks on a GPU.")
    enable_mem_efficient: bool = Field(True, description="Memory-efficient attention.")
    enable_cudnn: bool = Field(True, description="cuDNN's attention.")

    @property
    def names(self) -> tuple[str, ...]:
        """The kernels that may be used: some of math, flash, mem_efficient and cudnn."""
        return tuple(key.removeprefix("enable_") for key in type(self).model_fields if getattr(self, key))

    def problems(self) -> Iterable[Problem]:
        """Refuse to leave no kernel."""
        if not self.names:
            yield Problem((), "every kernel of sdp_backend is disabled; enable one, enable_math works everywhere.")


class Fuse(Section):
    """How flat and jagged parts are put together."""

    fuse_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="heads and dropout of attn and res_attn; other modes have no options."
    )


class EmbeddingFuse(Fuse):
    """How embedded event features join the embedded objects."""

    mode: EmbeddingFusion = Field(
        "add",
        description="add, sum: the event's vector is added to each object's; mean: half of that; cat: the event is one "
        "more object; cat_proj: side by side, projected back; learn, gate: mixed by a trained share, or by one "
        "computed for each entry; attn, res_attn: objects attend to the event and themselves, without or with a skip.",
    )


class OutputFuse(Fuse):
    """How the logits of a flat and a jagged network become one."""

    mode: OutputFusion = Field(
        "add",
        description="add: their sum; cat: a linear layer over both; learn, gate: mixed by a trained share, or by one "
        "computed for each logit; attn: by the softmax over a learned score of each.",
    )


class NetworkArchitecture(ArchitectureConfig):
    """What every network of collision events has."""

    output_dim: PositiveInt | None = Field(
        None, description="Number of logits; null: 1 for two classes, else one for each. Anything else is refused."
    )
    compile: bool = Field(False, description="Run the network through torch.compile.")
    compile_kwargs: dict[str, Any] | None = Field(None, description="Arguments of torch.compile.")

    @property
    def reads_bins(self) -> bool:
        """Whether it embeds numbers between the bins of ``dataset_config.ple_bins``."""
        return False


class EventsArchitecture(NetworkArchitecture):
    """What networks have that learn how to embed features."""

    embeddings: Embeddings = Field(default_factory=Embeddings, description="How features become vectors.")
    post_embeddings: PostEmbeddings = Field(
        default_factory=PostEmbeddings, description="What is done to a feature's vector."
    )

    @property
    def reads_bins(self) -> bool:
        """Whether it embeds numbers between the bins of ``dataset_config.ple_bins``."""
        return self.embeddings.piecewise is not None
