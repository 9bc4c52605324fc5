"""What a study will do, checked before its first trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tabstar_lit.config import Composition, Loaded, Position, Problem, raise_problems
from tabstar_lit.config.overrides import Override
from tabstar_lit.config.schema import TuningConfig
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.preflight import check_names
from tabstar_lit.engine.runs.directory import RunDirectory, run_directory
from tabstar_lit.errors import ConfigError
from tabstar_lit.tuning.choosers import check_choosers, import_optuna
from tabstar_lit.tuning.space import SearchSpace, node

SINGLE = ("auto", 1, "1")


@dataclass(frozen=True)
class Plan:
    """A study that has been checked, before anything is written.

    Attributes
    ----------
    family : Family
        Whose trainings these are.
    composition : Composition
        What each trial lays its values over.
    base : Loaded
        The configuration without the values of a trial.
    tuning : TuningConfig
        The study.
    space : SearchSpace
        What is varied.
    folder : RunDirectory
        The study's folder, beside those of its trials.
    """

    family: AnyFamily
    composition: Composition[Any]
    base: Loaded[Any]
    tuning: TuningConfig
    space: SearchSpace
    folder: RunDirectory

    @property
    def monitor(self) -> str:
        """The metric that is the value of a trial, computed in the last stage."""
        return self.tuning.monitor or str(self._training.monitor)

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        direction = {"max": "maximize", "min": "minimize"}[self._training.monitor_mode]
        return (self.tuning.direction or direction) == "maximize"

    @property
    def _training(self) -> Any:
        return self.base.stages[-1].experiment.model.training_config

    def run_name(self, number: int) -> str:
        """Return the name of a trial's run."""
        return f"{self.tuning.study_name}_trial_{number}"

    def load(self, number: int, values: Mapping[str, Any], seed: int) -> Loaded[Any]:
        """Return the configuration of a trial: a new one, which nothing shares.

        Raises
        ------
        ConfigError
            The values do not go together.
        """
        config = self.base.experiment.experiment_config
        fixed: dict[str, Any] = {"tuning_config": None, "experiment_config.run_name": self.run_name(number)}
        if config.seed is None:
            fixed["experiment_config.seed"] = seed
        if config.devices == "auto":
            fixed["experiment_config.devices"] = 1
        if self.tuning.n_jobs > 1:
            fixed["experiment_config.tqdm_refresh_rate"] = 0  # several bars on one terminal overwrite each other
        place = Position(f"the study {self.tuning.study_name}")
        own = [Override("", key, node(value, place), place) for key, value in fixed.items()]
        loaded = self.composition.load([*own, *self.space.overrides(values)])
        check_names(self.family, loaded)
        return loaded


def plan_study(family: AnyFamily, composition: Composition[Any]) -> Plan:
    """Check everything about a study that can be known before its first trial.

    Parameters
    ----------
    family : Family
        Whose trainings are tuned.
    composition : Composition
        A configuration with ``tuning_config``.

    Raises
    ------
    ConfigError
        A key or value that is not allowed, each where it was written; no Optuna.
    """
    base = composition.load()
    tuning = base.experiment.tuning_config
    if tuning is None:
        raise ConfigError(
            "There is nothing to tune: tuning_config is not set. Choose a file with tuning_config=FILE, or write it "
            "into training_config.yaml."
        )
    import_optuna()
    config, problems = base.experiment.experiment_config, []
    one = [0] if isinstance(config.devices, list | tuple) and len(config.devices) == 1 else config.devices
    if one not in (*SINGLE, [0]):
        problems.append(Problem(("experiment_config", "devices"), "a trial trains on one device; set devices to 1"))
    if config.num_nodes > 1:
        problems.append(
            Problem(("experiment_config", "num_nodes"), "a trial trains on one machine; set num_nodes to 1")
        )
    raise_problems(base.tree, problems)
    check_names(family, base)
    space = SearchSpace(tuning, base.tree)
    space.check(composition, lambda loaded: check_names(family, loaded))
    check_choosers(tuning, base.tree, space.distributions())
    places = run_directory(config, base.experiment.model, tuning.study_name)
    folder = replace(places, figures=places.root, checkpoints=places.root)  # it has no models
    return Plan(family, composition, base, tuning, space, folder)
