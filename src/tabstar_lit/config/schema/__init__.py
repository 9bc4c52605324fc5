"""The schema of every configuration: what may be written, what it means and what it is when left out."""

from __future__ import annotations

from tabstar_lit.config.schema.base import Section
from tabstar_lit.config.schema.experiment import DatasetConfig, Experiment, ExperimentConfig, LoaderOptions
from tabstar_lit.config.schema.model import ArchitectureConfig, LoadModule, ModelConfig
from tabstar_lit.config.schema.training import (
    LossConfig,
    NonFinite,
    OptimizerConfig,
    ParameterGroup,
    ParameterGroups,
    SchedulerConfig,
    TrainingConfig,
)
from tabstar_lit.config.schema.tuning import CategoricalParameter, FloatParameter, IntParameter, TuningConfig

__all__ = [
    "ArchitectureConfig",
    "CategoricalParameter",
    "DatasetConfig",
    "Experiment",
    "ExperimentConfig",
    "FloatParameter",
    "IntParameter",
    "LoadModule",
    "LoaderOptions",
    "LossConfig",
    "ModelConfig",
    "NonFinite",
    "OptimizerConfig",
    "ParameterGroup",
    "ParameterGroups",
    "SchedulerConfig",
    "Section",
    "TrainingConfig",
    "TuningConfig",
]
