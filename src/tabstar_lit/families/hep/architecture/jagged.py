"""Options of the networks that read objects (jets, leptons, constituents), with or without event features beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from tabstar_lit.config.schema import Section
from tabstar_lit.config.schema.base import AlsoSpelled, Name, NonNegativeNumber
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.architecture.flat import DeepSetsKeys, Dropout, FlatArchitecture
from tabstar_lit.families.hep.architecture.sections import (
    EmbeddingFuse,
    Embeddings,
    EventsArchitecture,
    OutputFuse,
    PostEmbeddings,
    SdpBackend,
)

Quantity = Literal["delta_r", "kt", "z", "m2"]


ObjectReduction = Literal["mean", "reshape", "conv1d", "conv2d", "attn"]


def _as_categories(values: Any) -> Any:
    """Let whole numbers stand for the categories that read like them."""
    if isinstance(values, dict):
        return {name: _as_categories(own) for name, own in values.items()}
    if isinstance(values, list | tuple):
        return tuple(str(value) if type(value) is int else value for value in values)
    return values


ValidTypes = Annotated[tuple[Name, ...] | dict[Name, tuple[Name, ...]], BeforeValidator(_as_categories)]


class ObjectEmbeddings(Embeddings):
    """How each feature of an object becomes a vector, and how these become the object's one vector."""

    reduction: ObjectReduction = Field(
        "mean",
        description="mean of the vectors; reshape: one linear layer over all of them; conv1d (conv2d is the same): "
        "a learned weight each; attn: attention pooling.",
    )

    conv1d_embedding: bool = Field(
        False,
        description="One linear layer over all features of an object, numbers and one-hot categories, between two "
        "batch norms, then ReLU: a convolution over objects, of kernel size 1, in place of all other embedding.",
    )


class FlatEmbeddings(Embeddings):
    """The same for the features of the event, where they are fused with the objects."""

    reduction: ObjectReduction = Field("mean", description="As for objects.")
    embedding_dim: PositiveInt | None = Field(None, description="Width of a feature's vector; null: the objects'.")


class ObjectsArchitecture(EventsArchitecture):
    """What every network of objects has."""

    embeddings: ObjectEmbeddings = Field(
        default_factory=ObjectEmbeddings, description="How the features of an object become its vector."
    )
    add_particle_types: bool = Field(False, description="Add a learned vector to each object that tells its type.")
    valid_type_values: dict[str, ValidTypes] = Field(
        default_factory=dict,
        description="Type of object -> categorical feature -> categories of it, by name or value; objects of another "
        "one are masked, in training and ever after. A list is of the feature whose name ends in `type`.",
    )
    flat_embeddings: FlatEmbeddings | None = Field(
        None, description="Embeddings of event features; null: like those of objects, or none if flat_model reads them."
    )
    post_flat_embeddings: PostEmbeddings = Field(
        default_factory=PostEmbeddings, description="What is done to the vector of an event feature."
    )
    flat_embeddings_fuse: EmbeddingFuse = Field(
        default_factory=EmbeddingFuse, description="How event features join the objects."
    )
    flat_model: FlatArchitecture | None = Field(
        None, description="A network of the event features beside this one; null: none."
    )
    flat_model_fuse: Annotated[OutputFuse, AlsoSpelled("flat_fuse")] = Field(
        default_factory=OutputFuse, description="How its logits join."
    )

    @property
    def reads_bins(self) -> bool:
        """Whether it, its embedding of event features, or the network beside it embeds numbers between bins."""
        flat = self.flat_embeddings is not None and self.flat_embeddings.piecewise is not None
        beside = self.flat_model is not None and self.flat_model.reads_bins
        return super().reads_bins or flat or beside


class DeepSetsArchitecture(DeepSetsKeys, ObjectsArchitecture):
    """DeepSets (arXiv 1703.06114) over the objects, or over the event features where there are none.

    Only over objects have the keys of networks of objects an effect.
    """

    embeddings: ObjectEmbeddings = Field(
        default_factory=ObjectEmbeddings,
        description="How features become vectors; without objects each is an element of the set, and none are reduced.",
    )
    mean_pooling: bool = Field(
        True,
        description="Of objects: mean over the types of each type's mean; false: these side by side.",
    )


class ObjectTransformerKeys(ObjectsArchitecture):
    """The keys of both transformers over objects."""

    embedding_dim: PositiveInt = Field(64, description="Width of an object.")
    heads: PositiveInt = Field(8, description="Attention heads.")
    dim_head: PositiveInt = Field(16, description="Width of a head.")
    ff_hidden_mult: PositiveInt = Field(4, description="Width of the feed-forward layers over the object's.")
    attn_dropout: Dropout = Field(0.1, description="Dropout of attention weights.")
    ff_dropout: Dropout = Field(0.1, description="Dropout inside the feed-forward layers.")
    first_attn_no_residual: bool = Field(False, description="No skip around the first attention.")
    sdp_backend: SdpBackend | None = Field(None, description="Attention kernels; null: torch chooses.")
    act_out: str | None = Field(None, description="Activation of the logits.")


class SetPredictor(Section):
    """From the pooled vectors to the logits."""

    depth: NonNegativeInt = Field(1, description="Hidden layers.")
    act: str = Field("ReLU", description="Their activation.")
    mean_pooling: bool = Field(False, description="Mean over the seeds first; false: side by side.")


class SetTransformerArchitecture(ObjectTransformerKeys):
    """Set Transformer (arXiv 1810.00825), with the norms and clean skips of Set Transformer++ (arXiv 2206.11925)."""

    model: Literal["SetTransformer"]
    encoder_depth: PositiveInt = Field(2, description="Attention blocks over the objects.")
    decoder_depth: NonNegativeInt = Field(2, description="Attention blocks over the seeds after the pooling.")
    seed_strategy: Literal["pooling", "objects", "particles"] = Field(
        "pooling",
        description="Vectors that objects are pooled into. pooling: one; objects: one a type; particles: one a slot.",
    )
    set_predictor: SetPredictor = Field(default_factory=SetPredictor, description="From the seeds to the logits.")
    use_setnorm: bool = Field(
        True, description="Normalise all objects of an event together; false: each by itself (LayerNorm)."
    )


class ParticleAttention(Section):
    """The pairwise physics that steers attention."""

    objects: tuple[str, ...] | None = Field(None, description="Types of objects that take part; null: all.")
    embedding_layers: PositiveInt = Field(2, description="Hidden layers of the pairwise network.")
    embedding_dim: PositiveInt = Field(48, description="Their width; it rules the time of a step.")
    quantities: Annotated[tuple[Quantity, ...], Field(min_length=1)] = Field(
        ("delta_r", "kt", "z", "m2"), description="Distance, transverse momentum, momentum sharing, squared mass."
    )
    rest_mass: NonNegativeNumber | dict[str, NonNegativeNumber] = Field(
        0.0,
        description="Mass of objects without energy (missing, or not above 0), in the file's units; one, or by type.",
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse a quantity that is listed twice."""
        if len(set(self.quantities)) < len(self.quantities):
            yield Problem(("quantities",), "a quantity stands twice in quantities; list each once.")


class ParticleTransformerArchitecture(ObjectTransformerKeys):
    """Particle Transformer (arXiv 2202.03772)."""

    model: Literal["ParticleTransformer"]
    particle_blocks: PositiveInt = Field(3, description="Attention blocks over the objects.")
    class_blocks: PositiveInt = Field(2, description="Blocks in which a class token reads them.")
    particle_attention: ParticleAttention | None = Field(
        default_factory=ParticleAttention, description="Pairwise attention bias; null: none."
    )


JaggedArchitecture = Annotated[
    DeepSetsArchitecture | SetTransformerArchitecture | ParticleTransformerArchitecture, Field(discriminator="model")
]
"""Any architecture over objects."""
