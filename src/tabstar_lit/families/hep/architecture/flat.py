"""Options of the networks that read event features only; names and defaults follow SeeSawML's documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import Section
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.architecture.sections import Embeddings, EventsArchitecture, SdpBackend

Dropout = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class Ensemble(Section):
    """Several networks that share their weights up to scales, trained as one (BatchEnsemble, arXiv 2410.24210)."""

    members: PositiveInt = Field(1, description="Number of networks; 1 is no ensemble. 8 to 32 are usual.")


class ActivatedArchitecture(EventsArchitecture):
    """A network whose layers have one activation."""

    act: str = Field("ReLU", description="Name of a torch.nn activation, or GeGLU, ELUPlus, Abs, Softabs, ...")
    act_kwargs: dict[str, Any] | None = Field(None, description="Arguments of the activation.")
    act_out: str | None = Field(None, description="Activation of the logits.")


class MLPKeys(ActivatedArchitecture):
    """Linear layers, one after the other."""

    model: Literal["MLP"]
    n_layers: PositiveInt = Field(4, description="Hidden layers.")
    n_hidden: PositiveInt = Field(256, description="Width of the hidden layers and of the embedding.")
    layers_dim: Widths | None = Field(
        None, description="Width of each hidden layer, instead of n_layers and n_hidden; the first is the embedding's."
    )
    batchnorm: bool = Field(False, description="BatchNorm before each activation.")
    dropout: Dropout = Field(0.0, description="Dropout after each activation.")
    disable_embeddings: bool = Field(
        False, description="Numbers go in as they are, categories as one-hot vectors; embeddings has no effect then."
    )
    embedding_dim: PositiveInt | None = Field(None, description="Width of a feature's vector; null: n_hidden.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each hidden layer."""
        return self.layers_dim or (self.n_hidden,) * self.n_layers

    @property
    def members(self) -> int:
        """Number of networks in one that share their weights up to scales."""
        return 1


class MLPArchitecture(MLPKeys):
    """Linear layers, one after the other."""

    ensemble: Ensemble = Field(default_factory=Ensemble, description="Several networks in one.")

    @property
    def members(self) -> int:
        """Number of networks in one."""
        return self.ensemble.members


class ResNetArchitecture(ActivatedArchitecture):
    """Residual blocks (arXiv 2106.11959)."""

    model: Literal["ResNet"]
    num_blocks: PositiveInt | None = Field(None, description="Residual blocks; null: n_layers.")
    n_layers: PositiveInt = Field(4, description="Residual blocks, when num_blocks is null.")
    n_hidden: PositiveInt = Field(256, description="Width of all blocks and of the embedding.")
    block_size: PositiveInt = Field(2, description="Linear layers in a block.")
    res_layers: Widths | None = Field(
        None, description="Width inside each block, instead of num_blocks blocks of n_hidden."
    )
    batchnorm: bool = Field(True, description="BatchNorm at the start of each block and before the output layer.")
    dropout: Dropout = Field(0.1, description="Dropout between the layers of a block.")
    disable_embeddings: bool = Field(
        False, description="Numbers go in as they are, categories as one-hot vectors; embeddings has no effect then."
    )
    embedding_dim: PositiveInt | None = Field(None, description="Width of a feature's vector; null: n_hidden.")

    @property
    def block_widths(self) -> tuple[int, ...]:
        """Width inside each residual block."""
        return self.res_layers or (self.n_hidden,) * (self.num_blocks or self.n_layers)

    def problems(self) -> Iterable[Problem]:
        """Refuse an activation that halves the width the blocks must keep."""
        from tabstar_lit.nn.activations import is_gated  # here, because it brings torch, and --help needs no network

        if is_gated(self.act):
            yield Problem(("act",), f"activation '{self.act}' halves the width, which does not fit here; take GELU.")


class TokenEmbeddings(Embeddings):
    """Embeddings of networks that read one vector per feature."""

    reduction: Literal["none"] = Field("none", description="This network reads one vector per feature.")


class DeepSetsKeys(ActivatedArchitecture):
    """The keys of DeepSets, whether its set holds features or objects."""

    model: Literal["DeepSets"]
    n_hidden: PositiveInt = Field(128, description="Width of the layers given as a number.")
    embedding_dim: PositiveInt | None = Field(None, description="Width of an element; null: the first layer's.")
    encoder_layers: PositiveInt | Widths = Field(
        2, description="Layers over each element: their number, or their widths."
    )
    decoder_layers: PositiveInt | Widths = Field(2, description="Layers after the pooling: their number, or widths.")
    batchnorm: bool = Field(True, description="BatchNorm before each activation.")
    dropout: Dropout = Field(0.0, description="Dropout after each activation.")

    @property
    def encoder_widths(self) -> tuple[int, ...]:
        """Width of each layer over the elements."""
        return self._widths(self.encoder_layers)

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """Width of each hidden layer after the pooling."""
        return self._widths(self.decoder_layers)

    def _widths(self, layers: int | tuple[int, ...]) -> tuple[int, ...]:
        return (self.n_hidden,) * layers if isinstance(layers, int) else layers


class FlatDeepSetsArchitecture(DeepSetsKeys):
    """DeepSets (arXiv 1703.06114) over the set of event features."""

    embeddings: TokenEmbeddings = Field(default_factory=TokenEmbeddings, description="How features become vectors.")


class EventTransformerArchitecture(EventsArchitecture):
    """FT-Transformer (arXiv 2106.11959): attention between features."""

    model: Literal["EventTransformer"]
    embeddings: TokenEmbeddings = Field(default_factory=TokenEmbeddings, description="How features become vectors.")
    embedding_dim: PositiveInt = Field(32, description="Width of a token.")
    transformer_depth: PositiveInt = Field(6, description="Transformer blocks.")
    heads: PositiveInt = Field(8, description="Attention heads.")
    dim_head: PositiveInt = Field(16, description="Width of a head.")
    ff_hidden_mult: PositiveInt = Field(4, description="Width of the feed-forward layers over the token's.")
    attn_dropout: Dropout = Field(0.1, description="Dropout of attention weights.")
    ff_dropout: Dropout = Field(0.1, description="Dropout inside the feed-forward layers.")
    use_cls_token: bool = Field(True, description="Read the answer from a learned token; else from the mean.")
    remove_first_attn_residual: bool = Field(False, description="No skip around the first attention.")
    remove_first_attn_layernorm: bool = Field(False, description="No LayerNorm before the first attention.")
    sdp_backend: SdpBackend | None = Field(None, description="Attention kernels; null: torch chooses.")
    act_out: str | None = Field(None, description="Activation of the logits.")


FlatArchitecture = Annotated[
    MLPArchitecture | ResNetArchitecture | FlatDeepSetsArchitecture | EventTransformerArchitecture,
    Field(discriminator="model"),
]
