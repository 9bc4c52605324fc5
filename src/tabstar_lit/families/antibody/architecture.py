"""``model_config`` of an antibody generator: which network, what it is told, and how it is trained. Light: no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, ModelConfig, Section, TrainingConfig
from tabstar_lit.config.schema.base import Fraction, PositiveNumber
from tabstar_lit.config.tree import Problem

Size = Literal["tiny", "small", "medium", "large"]
Share = Annotated[float, Field(ge=0, lt=1)]


class TransformerSizes(NamedTuple):
    """What a size of a transformer stands for."""

    width: int
    heads: int
    layers: int
    hidden: int


class LstmSizes(NamedTuple):
    """What a size of a recurrent network stands for."""

    embedding: int
    width: int
    layers: int


TRANSFORMERS: dict[Size, TransformerSizes] = {
    "tiny": TransformerSizes(128, 4, 2, 512),
    "small": TransformerSizes(256, 8, 3, 1024),
    "medium": TransformerSizes(512, 8, 6, 2048),
    "large": TransformerSizes(768, 12, 8, 3072),
}
"""Width, attention heads, layers (of the encoder and of the decoder each) and feed-forward width."""

LSTMS: dict[Size, LstmSizes] = {
    "tiny": LstmSizes(64, 128, 1),
    "small": LstmSizes(128, 256, 2),
    "medium": LstmSizes(256, 512, 2),
    "large": LstmSizes(512, 1024, 3),
}
"""Width of an embedding, width of the state, layers."""


class GeneratorArchitecture(ArchitectureConfig):
    """What all generators of antibodies have."""

    size: Size = Field("small", description="Stands for the widths and depths below that are left out.")
    dropout: Share = Field(0.1, description="Dropout of embeddings, branches and attention weights.")


class TransformerKeys(GeneratorArchitecture):
    """The sizes of a transformer; what is left out follows ``size``."""

    width: PositiveInt | None = Field(None, description="Width of a token.")
    heads: PositiveInt | None = Field(None, description="Attention heads.")
    decoder_layers: PositiveInt | None = Field(None, description="Blocks that write the antibody.")
    feed_forward: PositiveInt | None = Field(None, description="Width inside the feed-forward layers.")

    def problems(self) -> Iterable[Problem]:
        """Refuse heads that do not divide the width, and an odd width."""
        width, heads = self.sizes.width, self.sizes.heads
        if width % heads or width // heads % 2:
            yield Problem(("heads",), f"{heads} heads must divide a width of {width} into even parts; change one")

    @property
    def sizes(self) -> TransformerSizes:
        """The sizes in use; ``layers`` are the decoder's."""
        preset = TRANSFORMERS[self.size]
        given = (self.width, self.heads, self.decoder_layers, self.feed_forward)
        return TransformerSizes(*(known if own is None else own for own, known in zip(given, preset, strict=True)))


class Seq2SeqArchitecture(TransformerKeys):
    """A transformer that reads the antigen and one that writes the antibody ("Attention Is All You Need")."""

    model: Literal["Seq2Seq"] = "Seq2Seq"
    encoder_layers: PositiveInt | None = Field(None, description="Blocks that read the antigen.")
    conditioning: Literal["source_add", "prefix", "film", "cross_attention", "none"] = Field(
        "source_add",
        description="How pKd is told: added to each residue of the antigen; a token before the antigen; scales and "
        "shifts of the decoder's blocks; a token beside the encoded antigen that the decoder reads; not at all.",
    )

    antigen_encoder: str | None = Field(
        None,
        description="Folder of a pretrained encoder of proteins, such as ESM-2, as transformers saves it, whose states "
        "the encoder's blocks read instead of embeddings; null: none. `freeze: [protein.encoder]` leaves it as it is.",
    )

    @property
    def encoder_depth(self) -> int:
        """Blocks of the encoder."""
        return self.encoder_layers or TRANSFORMERS[self.size].layers


class DecoderOnlyArchitecture(TransformerKeys):
    """One causal transformer that reads the antigen as a prefix and goes on with the antibody (rotary positions)."""

    model: Literal["DecoderOnly"] = "DecoderOnly"
    conditioning: Literal["source_add", "prefix", "film", "none"] = Field(
        "prefix",
        description="How pKd is told: added to each residue of the antigen; a token before the antigen; scales and "
        "shifts of the blocks; not at all.",
    )


class LstmArchitecture(GeneratorArchitecture):
    """A bidirectional LSTM that reads the antigen, and one with attention that writes the antibody (arXiv 1409.0473).

    pKd is added to the state that the decoder starts from.
    """

    model: Literal["LSTM"] = "LSTM"
    conditioning: Literal["state_add", "none"] = Field(
        "state_add", description="How pKd is told: added to the first state of the decoder's last layer; not at all."
    )

    teacher_forcing: Fraction = Field(
        1.0, description="In training: share of steps that are told the true residue rather than the likeliest one."
    )

    @property
    def sizes(self) -> LstmSizes:
        """The sizes in use."""
        return LSTMS[self.size]


AntibodyArchitecture = Annotated[
    Seq2SeqArchitecture | DecoderOnlyArchitecture | LstmArchitecture, Field(discriminator="model")
]
"""Every network ``architecture_config.model`` can name."""


class ContrastiveConfig(Section):
    """A loss that asks for a likelier antibody with its own antigen than with another of the batch."""

    weight: PositiveNumber = Field(0.1, description="Factor on it in the loss.")
    temperature: PositiveNumber = Field(
        0.1, description="Difference of the mean log-likelihood of a residue that counts as clear, in nats."
    )


class AntibodyTraining(TrainingConfig):
    """How a generator is trained: cross-entropy of the next residue, and what makes it read its conditions."""

    label_smoothing: Share = Field(
        0.1, description="Share of the target spread over all tokens, in training only: val_loss is never smoothed."
    )
    condition_dropout: Fraction = Field(
        0.1, description="Share of training pairs whose pKd is left out, which guidance by pKd needs."
    )
    antigen_dropout: Fraction = Field(
        0.0, description="Share of training pairs whose antigen is left out, which guidance by the antigen needs."
    )
    framework_dropout: Fraction = Field(
        0.0, description="Share of framework residues hidden from the decoder, so that it reads the antigen instead."
    )
    infilling: Fraction = Field(
        0.0,
        description="Share of training pairs whose antibody is shown beside the antigen with some CDRs hidden, which "
        "`tabstar_lit generate --template` needs.",
    )
    contrastive: ContrastiveConfig | None = Field(
        None, description="Loss against the antigens of other pairs; null adds none."
    )


class AntibodyModel(ModelConfig):
    """The ``model_config`` of an antibody generator."""

    architecture_config: AntibodyArchitecture = Field(description="The network; `model` names it.")
    training_config: AntibodyTraining = Field(default_factory=AntibodyTraining, description="How it is trained.")

    def loss_terms(self) -> tuple[str, ...]:
        """Return what is logged beside the loss: unsmoothed log-likelihood, and the contrastive loss."""
        return ("nll",) if self.training_config.contrastive is None else ("nll", "contrastive")

    def problems(self) -> Iterable[Problem]:
        """Refuse what the network cannot do."""
        yield from super().problems()
        architecture, training = self.architecture_config, self.training_config
        if training.loss not in (None, "cross_entropy"):
            yield Problem(
                ("training_config", "loss"), "generators are trained by cross_entropy; see label_smoothing, contrastive"
            )
        if training.infilling and architecture.model != "Seq2Seq":
            yield Problem(("training_config", "infilling"), "only model: Seq2Seq reads a template; set it to 0")
