"""``tuning_config``: what a study varies, how it chooses, and when it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from tabstar_lit.config.schema.base import AlsoSpelled, Name, PositiveCount, PositiveNumber, Section
from tabstar_lit.config.tree import Problem

FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
RESERVED = (
    "tuning_config",
    "experiment_config.experiment_name",
    "experiment_config.run_name",
    "experiment_config.save_dir",
)
"""What the study itself decides or stands on, and no trial can change."""


class _Range(Section):
    """What ranges of numbers have in common."""

    type: str
    low: float
    high: float
    log: bool = Field(False, description="Draw evenly in the logarithm.")

    def problems(self) -> Iterable[Problem]:
        """Refuse an empty range, and a logarithm of what is not positive."""
        if self.low > self.high:
            yield Problem(("low",), f"low ({self.low:g}) must not be above high ({self.high:g})")
        if self.log and self.low <= 0:
            yield Problem(("low",), f"with log, low must be above 0, got {self.low:g}")


class FloatParameter(_Range):
    """A number between two others."""

    type: Literal["float"] = Field(description="A number.")
    low: FiniteNumber = Field(description="Smallest value.")
    high: FiniteNumber = Field(description="Largest value.")
    step: PositiveNumber | None = Field(None, description="Distance of the values from `low` on; null: any number.")

    def problems(self) -> Iterable[Problem]:
        """Refuse even steps in the logarithm."""
        yield from super().problems()
        if self.log and self.step is not None:
            yield Problem(("step",), "step and log exclude each other; leave out one of them")


class IntParameter(_Range):
    """A whole number between two others."""

    type: Literal["int"] = Field(description="A whole number.")
    low: int = Field(description="Smallest value.")
    high: int = Field(description="Largest value.")
    step: PositiveCount = Field(1, description="Distance of the values from `low` on.")

    def problems(self) -> Iterable[Problem]:
        """Refuse even steps in the logarithm."""
        yield from super().problems()
        if self.log and self.step != 1:
            yield Problem(("step",), "step and log exclude each other; leave out one of them")


class CategoricalParameter(Section):
    """One of several values."""

    type: Literal["categorical"] = Field(description="One of several values.")
    choices: tuple[Any, ...] = Field(min_length=1, description="The values: texts, numbers, lists, mappings or null.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a choice that is given twice."""
        written = [json.dumps(choice, sort_keys=True) for choice in self.choices]
        for index, text in enumerate(written):
            if text in written[:index]:
                yield Problem(("choices", index), f"the choice {text} is given twice")


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter, Field(discriminator="type")]


class TuningConfig(Section):
    """A study: many trainings with different values of some keys, in search of the best."""

    sampler: Name = Field("TPESampler", description="How values are chosen: a class of `optuna.samplers`.")
    sampler_params: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the sampler, but for its seed, which is the experiment's."
    )
    pruner: Annotated[Name | None, AlsoSpelled("pruning")] = Field(
        None, description="What stops trials that promise nothing: a class of `optuna.pruners`; null stops none."
    )
    pruner_params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the pruner.")
    study_name: Name = Field("study", description="Name of the study; its trials are called `<study_name>_trial_<n>`.")
    storage: SecretStr | None = Field(
        None,
        description="Database URL of the study, kept secret; `journal`: a file in the study's folder that machines can "
        "share; null: the SQLite file `study.db` there.",
    )
    direction: Literal["minimize", "maximize"] | None = Field(
        None, description="Whether a lower or a higher value is better; null follows `training_config.monitor_mode`."
    )
    monitor: Name | None = Field(
        None, description="Metric whose best epoch is a trial's value; null means `training_config.monitor`."
    )
    n_trials: PositiveCount = Field(20, description="Trials in all, those of earlier calls included.")
    n_jobs: PositiveCount = Field(1, description="Trials at a time on this machine, each in a process of its own.")
    timeout: PositiveNumber | None = Field(None, description="Seconds after which no further trial is begun.")
    parameters: Annotated[dict[str, Parameter], AlsoSpelled("hyperparameters")] = Field(
        min_length=1, description="Dotted key of the configuration -> the values it takes."
    )

    @field_validator("study_name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if any(sign in value for sign in "/\\") or not value.isprintable() or value.strip(". ") == "":
            raise ValueError(f"{value!r} cannot name a folder: no '/', no '\\' and no control characters")
        return value

    def problems(self) -> Iterable[Problem]:
        """Refuse to vary what the study stands on, or a key together with one above it."""
        for path in self.parameters:
            if any(path == key or path.startswith(f"{key}.") for key in RESERVED):
                yield Problem(("parameters", path), f"'{path}' is the same for all trials of a study; leave it out")
            above = [other for other in self.parameters if path.startswith(f"{other}.")]
            if above:
                yield Problem(("parameters", path), f"'{path}' is a part of '{above[0]}', which is varied too")
