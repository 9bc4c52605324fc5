"""``model_config``: which network, from which weights, and how it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from tabstar_lit.config.schema.base import Name, PositiveCount, Section
from tabstar_lit.config.schema.training import TrainingConfig
from tabstar_lit.config.tree import Problem


class ArchitectureConfig(Section):
    """The network's own options; every family of models defines its own."""


class LoadModule(Section):
    """Where the weights of one module come from."""

    source: Name = Field(description="An earlier stage of this experiment, or the path of a checkpoint.")
    module: str = Field("", description="Dotted path of the module in the source; empty means the same path.")


class ModelConfig(Section):
    """A network and its training: the content of one file below ``model_config/``."""

    name: Name = Field(description="Name of the model; the first part of automatic run names.")
    load_checkpoint: Name | None = Field(
        None,
        description="Checkpoint to start from: its name below `training_config.model_save_path`, or a path. "
        "Without `continue_training` it is evaluated, not trained.",
    )
    continue_training: bool = Field(False, description="Go on training exactly where `load_checkpoint` stopped.")
    strict: bool = Field(True, description="Refuse a checkpoint whose weights do not match the network one to one.")
    load_modules: dict[str, Name | LoadModule] = Field(
        default_factory=dict,
        description="Module path in the network -> an earlier stage, a checkpoint, or `{source, module}`.",
    )
    freeze: tuple[Name, ...] = Field(
        (), description="Globs over dotted module and parameter names that are not trained."
    )
    unfreeze_last: dict[str, PositiveCount] = Field(
        default_factory=dict,
        description="Path of a list of layers -> how many of its last layers are trained.",
    )
    architecture_config: ArchitectureConfig = Field(description="The network.")
    training_config: TrainingConfig = Field(default_factory=TrainingConfig, description="How it is trained.")

    def loss_terms(self) -> Sequence[str]:
        """Return the names of all terms that steps return beside the loss: they are logged, and may be monitored."""
        return ()

    def problems(self) -> Iterable[Problem]:
        """Refuse to continue from nothing."""
        if self.continue_training and self.load_checkpoint is None:
            yield Problem(
                ("continue_training",),
                "continue_training needs load_checkpoint, the name or path of a checkpoint",
            )
