"""``training_config``: the loss, the optimizer, how long to train, when to stop and what to save."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tabstar_lit.config.schema.base import (
    Choice,
    Count,
    Name,
    NonNegativeNumber,
    PositiveCount,
    PositiveNumber,
    Section,
)
from tabstar_lit.config.tree import Problem

MAX_TIME = re.compile(r"\d+:[0-2]\d:[0-5]\d:[0-5]\d")


class LossConfig(Section):
    """A loss by name together with its own parameters."""

    loss_name: Name = Field(description="Name of the loss, as `--list losses` prints it.")
    loss_params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the loss.")


class OptimizerConfig(Choice):
    """An optimizer of torch or pytorch_optimizer by name."""

    name_key: ClassVar[str] = "optimizer_name"

    optimizer_name: Name = Field("AdamW", description="Name of the optimizer, as `--list optimizers` prints it.")
    optimizer_params: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the optimizer: `lr`, `weight_decay`, `betas`, ..."
    )


class SchedulerConfig(Choice):
    """A learning-rate schedule by name, and whether it advances every step or every epoch."""

    name_key: ClassVar[str] = "scheduler_name"

    scheduler_name: Name = Field(description="Name of the schedule, as `--list schedulers` prints it.")
    interval: Literal["step", "epoch"] = Field(
        "step", description="Advance after every optimizer step or after every epoch."
    )
    scheduler_params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the schedule.")
    monitor: Name | None = Field(
        None, description="Metric that ReduceLROnPlateau watches; null means `training_config.monitor`."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse a plateau schedule per step: the metric it watches exists once an epoch."""
        if self.scheduler_name == "ReduceLROnPlateau" and self.interval == "step":
            yield Problem(
                ("scheduler_name",),
                "ReduceLROnPlateau looks at a validation metric and cannot advance every step. "
                "Set scheduler.interval to epoch.",
            )


class ParameterGroup(Section):
    """Settings of the optimizer for the parameters whose name matches a pattern."""

    pattern: Name = Field(description="Glob over dotted parameter names, such as `encoder.*`; the first match wins.")
    lr: NonNegativeNumber | None = Field(None, description="Learning rate of this group.")
    lr_scale: NonNegativeNumber | None = Field(None, description="Factor on the optimizer's learning rate.")
    weight_decay: NonNegativeNumber | None = Field(None, description="Weight decay of this group.")
    muon: bool = Field(
        True,
        description="With an optimizer that orthogonalises matrices, such as `muon`: whether it does so with those of "
        "this group; false hands them to its AdamW.",
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse two ways of giving one learning rate."""
        if self.lr is not None and self.lr_scale is not None:
            yield Problem(("lr_scale",), "lr and lr_scale both set the learning rate of this group; keep one of them.")


class ParameterGroups(Section):
    """How parameters are divided into optimizer groups."""

    exclude_from_decay: Literal["norms_and_biases", "none"] = Field(
        "norms_and_biases", description="Parameters that get no weight decay."
    )
    groups: list[ParameterGroup] = Field(default_factory=list, description="Groups by name pattern, in order.")


class NonFinite(Section):
    """What a loss or gradient that is NaN or infinite does to the run."""

    policy: Literal["stop", "skip"] = Field("stop", description="Stop the run, or skip that optimizer step.")
    budget: Count = Field(10, description="With `skip`: steps that may be skipped before the run stops all the same.")


class TrainingConfig(Section):
    """Options of one training that are common to all models."""

    loss: Name | LossConfig | None = Field(
        None, description="Name of the loss, or `{loss_name, loss_params}`; null takes the loss of the model."
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="The optimizer.")
    scheduler: SchedulerConfig | None = Field(None, description="The learning-rate schedule; null keeps it constant.")
    reduce_lr_on_epoch: PositiveNumber | None = Field(
        None, description="Factor on the learning rate after every epoch; a simple alternative to a schedule."
    )
    parameter_groups: ParameterGroups = Field(
        default_factory=ParameterGroups,
        description="Learning rate and weight decay by parameter name.",
    )
    max_epochs: PositiveCount = Field(10, description="Number of epochs to train for, at most.")
    max_steps: PositiveCount | None = Field(None, description="Number of optimizer steps to train for, at most.")
    max_time: str | None = Field(None, description="Wall time to train for, at most, as DD:HH:MM:SS.")
    early_stop_patience: PositiveCount | None = Field(
        None,
        description="Epochs that compute `monitor` without improving it before training stops; null never stops early.",
    )
    monitor: Name = Field("val_loss", description="Metric that decides the best checkpoint and early stopping.")
    monitor_mode: Literal["min", "max"] = Field("min", description="Whether a lower or a higher metric is better.")
    save_top_k: int = Field(1, ge=-1, description="Number of best checkpoints to keep; -1 keeps all, 0 none.")
    average_best: int | None = Field(
        None,
        ge=2,
        description="In the end take the mean of the weights of so many of the best checkpoints, where `monitor` is "
        "better with it than with the best of them; null: never.",
    )
    save_last: bool = Field(True, description="Keep the latest checkpoint as well.")
    save_every_n_epochs: PositiveCount | None = Field(None, description="Epochs between snapshots; null takes none.")
    save_every_n_steps: PositiveCount | None = Field(
        None, description="Optimizer steps between snapshots; null takes none."
    )
    gradient_clip_val: PositiveNumber | None = Field(None, description="Bound on the gradient; null does not clip.")
    gradient_clip_algorithm: Literal["norm", "value"] = Field(
        "norm", description="Bound the norm of all gradients together, or the value of each."
    )
    accumulate_grad_batches: PositiveCount = Field(1, description="Batches whose gradients make one optimizer step.")
    accumulate_by: Literal["weight", "batch"] = Field(
        "weight",
        description="How batches of one step, and those of several devices, count: by their rows or the sum of their "
        "weights, as in one large batch, or all alike.",
    )
    log_train_memory: bool = Field(False, description="Log the memory in use at every logged step, in MiB.")
    compile: bool = Field(
        False, description="Compile the network: minutes at the start, and faster steps on a graphics card."
    )
    cuda_graphs: bool = Field(
        False,
        description="Record the launches of a training step for each shape of batch, and let the card repeat them: "
        "for small networks on one card, which wait for the host.",
    )
    model_save_path: str | None = Field(
        None,
        description="Folder of checkpoints; null: `checkpoints` in ANALYSIS_ML_MODELS_DIR or runs/models.",
    )
    non_finite: NonFinite = Field(default_factory=NonFinite, description="What a NaN loss or gradient does.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a mean of weights that are not kept, or that cannot be judged in the end."""
        if self.average_best is None:
            return
        if 0 <= self.save_top_k < self.average_best:
            yield Problem(
                ("average_best",),
                f"{self.average_best} checkpoints are averaged, and save_top_k keeps {self.save_top_k}",
            )
        if not self.monitor.startswith("val_"):
            yield Problem(("average_best",), f"the mean is judged by a validation, which gives no {self.monitor}")

    @field_validator("max_time")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None and not MAX_TIME.fullmatch(value):
            raise ValueError(f"expected a duration DD:HH:MM:SS such as 00:12:00:00, got '{value}'")
        return value
