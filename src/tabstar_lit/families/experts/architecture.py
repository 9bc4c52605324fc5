"""What ``model_config`` of a text expert may say: which expert it is, how large, and with which options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, PositiveInt

from tabstar_lit.config.schema import ArchitectureConfig, ModelConfig, Section, TrainingConfig
from tabstar_lit.config.schema.base import Name, NonNegativeNumber
from tabstar_lit.config.tree import Problem

Role = Literal["transformer", "state_space", "diffuser", "mixture"]
Size = Literal["nano", "tiny", "small", "base"]
Search = Literal["torch", "faiss"]
EXPERTS = ("transformer", "state_space", "diffuser")
"""The experts of a mixture, in the order of its router's weights."""


class SizePreset(NamedTuple):
    """What ``size`` stands for.

    Attributes
    ----------
    width, heads : int
        Length ``D`` of a state, and attention heads.
    layers, diffuser_layers : int
        Blocks of transformer and state-space experts, and of a diffuser.
    learning_rate : float
        Of transformer and state-space experts.
    batch_size : int
        Their rows in a batch.
    """

    width: int
    heads: int
    layers: int
    diffuser_layers: int
    learning_rate: float
    batch_size: int


SIZES: Mapping[Size, SizePreset] = {
    "nano": SizePreset(96, 3, 2, 2, 3e-3, 16),
    "tiny": SizePreset(128, 4, 4, 3, 1e-3, 16),
    "small": SizePreset(256, 4, 6, 4, 6e-4, 32),
    "base": SizePreset(384, 6, 6, 4, 3e-4, 32),
}
"""Smaller networks learn at higher rates and from fewer rows; ``base`` has the widths, rate and batch of NanoThink."""


class ExpertSection(Section):
    """What every expert has."""

    layers: PositiveInt | None = Field(None, description="Blocks; null: as `size` says.")


class TransformerSection(ExpertSection):
    """The transformer expert."""

    ffn_mult: PositiveInt = Field(4, description="Width of the feed-forward part, in widths of the network.")
    act: Literal["SwiGLU", "GeGLU", "SquaredReLU", "GELU", "SiLU"] = Field(
        "SwiGLU", description="Activation of the feed-forward part."
    )
    qk_norm: bool = Field(False, description="Normalise queries and keys of each head (arXiv 2010.04245).")
    zero_init: bool = Field(False, description="Start each branch at zero, so that a block starts as the identity.")


class StateSpaceSection(ExpertSection):
    """The state-space expert (S6 of Mamba, arXiv 2312.00752)."""

    expand: PositiveInt = Field(2, description="Channels of the recurrence, in widths of the network.")
    d_state: PositiveInt = Field(16, description="Numbers that each channel remembers.")
    d_conv: PositiveInt = Field(4, description="Tokens that the causal convolution sees.")
    dt_rank: PositiveInt = Field(1, description="Rank of the map to the step sizes.")


class DiffuserSection(ExpertSection):
    """The diffusion expert: of a transformer's states with noise on them, or of tokens of which some are hidden."""

    kind: Literal["continuous", "masked"] = Field(
        "continuous",
        description="continuous: takes noise off the states of the frozen transformer; masked: fills in hidden "
        "tokens, block by block (arXiv 2503.09573).",
    )
    training_steps: int = Field(100, ge=2, description="Steps from a state without noise to noise alone.")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="How the noise grows with the steps.")
    noise_step: int = Field(10, ge=0, description="Step to which the states of a text are noised, and denoised from.")
    denoising_steps: PositiveInt = Field(1, description="Passes of the denoiser from there to no noise.")
    attention: Literal["causal", "block"] = Field(
        "causal",
        description="With kind: continuous, what a state with noise on it sees: those before it, or all of its "
        "`block`, too.",
    )
    block: PositiveInt = Field(
        4, description="Tokens that are filled in together (kind: masked), or see each other (attention: block)."
    )


class MixtureSection(Section):
    """The attention, the router and the memory of a mixture."""

    kv_latent_dim: PositiveInt | None = Field(
        None, description="Length of the latent that keys and values are made of (arXiv 2405.04434); null: attention."
    )
    router: Literal["token", "prefix"] = Field(
        "token", description="What the weights of the experts follow from: the token, or the mean of all up to it."
    )
    use_vector_store: bool = Field(False, description="Remember texts, and attend to the nearest of them.")
    max_vectors: PositiveInt = Field(100_000, description="Texts that are remembered; the oldest are forgotten first.")
    top_k: PositiveInt = Field(4, description="Remembered texts that a text attends to.")
    search: Search = Field(
        "torch",
        description="What finds the nearest, the same ones: torch, where the network is; faiss, on the processor "
        "(pip install 'tabstar_lit[faiss]').",
    )


class ExpertsArchitecture(ArchitectureConfig):
    """Sizes and options of all experts, which a mixture needs together."""

    size: Size = Field("base", description="Sets width, heads, layers, learning rate and batch, where they are null.")
    width: PositiveInt | None = Field(None, description="Length of a state; null: as `size` says.")
    heads: PositiveInt | None = Field(
        None, description="Attention heads, which divide the width; null: as `size` says."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout at the end of every branch.")
    rope_base: float = Field(10_000.0, gt=1, description="The longest wave of the positions, in tokens over 2 pi.")
    transformer: TransformerSection = Field(default_factory=TransformerSection, description="The transformer.")
    state_space: StateSpaceSection = Field(default_factory=StateSpaceSection, description="The state-space expert.")
    diffuser: DiffuserSection = Field(default_factory=DiffuserSection, description="The diffusion expert.")
    mixture: MixtureSection = Field(default_factory=MixtureSection, description="What joins them.")

    def resolved(self) -> ExpertsArchitecture:
        """Return it with what ``size`` stands for written out."""
        preset = SIZES[self.size]
        layers = {"transformer": preset.layers, "state_space": preset.layers, "diffuser": preset.diffuser_layers}
        sections: tuple[ExpertSection, ...] = (self.transformer, self.state_space, self.diffuser)
        resolved = {
            name: section.model_copy(update={"layers": section.layers or layers[name]})
            for name, section in zip(EXPERTS, sections, strict=True)
        }
        sizes = {"width": self.width or preset.width, "heads": self.heads or preset.heads}
        return self.model_copy(update={**sizes, **resolved})

    def problems(self) -> Iterable[Problem]:
        """Refuse heads that do not divide the width or cannot be turned, and noise beyond the last step."""
        width, heads = self.width or SIZES[self.size].width, self.heads or SIZES[self.size].heads
        if width % heads or (width // heads) % 2:
            yield Problem(("heads",), f"{heads} heads do not divide a width of {width} into even parts; change one")
        if self.diffuser.noise_step >= self.diffuser.training_steps:
            yield Problem(
                ("diffuser", "noise_step"),
                f"noise_step {self.diffuser.noise_step} is beyond the last of {self.diffuser.training_steps} steps",
            )


class ExpertsTraining(TrainingConfig):
    """The ``training_config`` of a text expert."""

    entropy_reg: NonNegativeNumber = Field(
        0.01, description="Role mixture: reward of the entropy of the router's weights, in nats per nat."
    )
    balance_reg: NonNegativeNumber = Field(
        0.0, description="Role mixture: penalty on using experts unequally over a batch."
    )


class ExpertsModel(ModelConfig):
    """The ``model_config`` of a text expert."""

    role: Role | None = Field(None, description="What the stage trains; set for each stage by stage_config.")
    transformer_checkpoint: Name | None = Field(
        "transformer",
        description="The trained transformer that other roles build on, a stage of this run or a checkpoint. Role "
        "state_space takes its embedding; null, or a run without such a stage, trains one of its own.",
    )
    state_space_checkpoint: Name | None = Field("state_space", description="Role mixture: that expert.")
    diffuser_checkpoint: Name | None = Field("diffuser", description="Role mixture: that expert.")
    architecture_config: ExpertsArchitecture = Field(
        default_factory=ExpertsArchitecture, description="Sizes and options of the networks."
    )
    training_config: ExpertsTraining = Field(default_factory=ExpertsTraining, description="How it is trained.")

    def reads(self, stages: Sequence[str]) -> dict[str, str | None]:
        """Return the keys that name a trained model which this role builds on; ``stages`` are those of the run."""
        named = {f"{expert}_checkpoint": getattr(self, f"{expert}_checkpoint") for expert in EXPERTS}
        if self.role == "mixture":
            return named
        first = {"transformer_checkpoint": self.transformer_checkpoint}
        if self.role == "diffuser" and self.architecture_config.diffuser.kind == "continuous":
            return first
        if self.role in ("state_space", "diffuser"):
            here = self.transformer_checkpoint != "transformer" or "transformer" in stages
            return first if here else {}
        return {}

    def problems(self) -> Iterable[Problem]:
        """Refuse a role that builds on nothing."""
        yield from super().problems()
        for key, source in self.reads(("transformer",)).items():
            if source is None and self.role != "state_space" and not self._hides:
                yield Problem(
                    (key,), f"the role {self.role} needs {key}: a finished stage of this run, or a checkpoint"
                )

    @property
    def _hides(self) -> bool:
        """Whether this is a diffuser that fills in hidden tokens, which needs no transformer."""
        return self.role == "diffuser" and self.architecture_config.diffuser.kind == "masked"

    def loss_terms(self) -> tuple[str, ...]:
        """Return what the loss of the role is made of, or is reported beside it."""
        if self.role == "mixture":
            return ("nll", "router_entropy", "balance")
        if self.role == "diffuser":
            return ("nll", "nll_bound" if self._hides else "mse")
        return ()

    @property
    def learning_rate(self) -> float:
        """The rate that ``size`` stands for; what is added to experts, and denoisers, learn at a third of it."""
        rate = SIZES[self.architecture_config.size].learning_rate
        return rate if self.role in ("transformer", "state_space") else rate / 3

    @property
    def batch_size(self) -> int:
        """Rows in a batch that ``size`` stands for: twice as many for diffusers, half as many for mixtures."""
        rows = SIZES[self.architecture_config.size].batch_size
        return {"diffuser": 2 * rows, "mixture": rows // 2}.get(self.role or "", rows)
