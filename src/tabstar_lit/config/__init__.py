"""Configuration: YAML with positions, composition, overrides, a strict schema and located errors."""

from __future__ import annotations

from tabstar_lit.config.dump import provenance, to_yaml
from tabstar_lit.config.load import Composition, Loaded, Stage, compose_experiment, load_experiment
from tabstar_lit.config.overrides import expand_multirun
from tabstar_lit.config.paths import Roots, find_config_dirs, packaged_config_dir, roots
from tabstar_lit.config.redact import redact
from tabstar_lit.config.tree import ConfigTree, Path_, Position, Problem, raise_problems

__all__ = [
    "Composition",
    "ConfigTree",
    "Loaded",
    "Path_",
    "Position",
    "Problem",
    "Roots",
    "Stage",
    "compose_experiment",
    "expand_multirun",
    "find_config_dirs",
    "load_experiment",
    "packaged_config_dir",
    "provenance",
    "raise_problems",
    "redact",
    "roots",
    "to_yaml",
]
