"""What chooses the values of trials and stops them early: samplers and pruners of Optuna by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tabstar_lit.config import ConfigTree, Problem, raise_problems
from tabstar_lit.config.arguments import parameters_of
from tabstar_lit.config.registry import Registry
from tabstar_lit.config.schema import TuningConfig
from tabstar_lit.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    Distributions = Mapping[str, BaseDistribution]

ONE_DESIGN = ("gridsampler", "qmcsampler")
"""Samplers, in lower case, whose seed makes one design for the whole study; all others are seeded for each trial."""
WRAPPERS = ("BaseGASampler", "PartialFixedSampler", "PatientPruner")
"""Classes that are made from objects, which a configuration cannot hold."""
REHEARSED = 3


def check_choosers(
    tuning: TuningConfig, tree: ConfigTree, distributions: Distributions
) -> tuple[Callable[[int], BaseSampler], BasePruner]:
    """Return how to make the sampler from a seed, and the pruner, after a rehearsal with both.

    Raises
    ------
    ConfigError
        There is no such class, its arguments are wrong, or it cannot do with these parameters.
    """
    import optuna

    sampler_class, sampler_arguments = _chosen(tuning, tree, "sampler", optuna.samplers.BaseSampler)
    pruner: BasePruner = optuna.pruners.NopPruner()
    seeded = "seed" in parameters_of(sampler_class)

    def sampler(seed: int) -> BaseSampler:
        with quiet():
            made: BaseSampler = sampler_class(**sampler_arguments, **({"seed": seed} if seeded else {}))
        return made

    with _reported(tree, "sampler"):
        sampler(0)
    if tuning.pruner is not None:
        pruner_class, pruner_arguments = _chosen(tuning, tree, "pruner", optuna.pruners.BasePruner)
        with _reported(tree, "pruner"):
            pruner = pruner_class(**pruner_arguments)
    with _reported(tree, "sampler"), quiet():
        _rehearse(sampler(0), pruner, dict(distributions))
    return sampler, pruner


def import_optuna() -> None:
    """Make sure that Optuna is there, and let it keep its remarks to itself.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("Tuning needs Optuna, which is not installed: pip install 'tabstar_lit[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def sampler_seed(sampler: str, seed: int, number: int) -> int:
    """Return the seed of a trial's sampler: of (seed, number) alone, so that a resumed study draws as an unbroken."""
    entropy = [seed] if sampler.lower() in ONE_DESIGN else [seed, number]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Optuna says of its own changes."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _chosen(tuning: TuningConfig, tree: ConfigTree, key: str, base: type) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the class that the configuration names, and its checked arguments."""
    import optuna

    classes = {
        name: found
        for name, found in vars(getattr(optuna, f"{key}s")).items()
        if inspect.isclass(found) and issubclass(found, base) and found is not base and name not in WRAPPERS
    }
    known: Registry[Callable[..., Any]] = Registry(key, classes, passed=("seed",), absent=f"there is no {key}")
    written, given = getattr(tuning, key), getattr(tuning, f"{key}_params")
    raise_problems(tree, known.problems(written, ("tuning_config", key)))
    name = known.resolve(written)
    arguments, problems = known.arguments(name, given, ("tuning_config", f"{key}_params"))
    raise_problems(tree, problems)
    return known[name], arguments


def _rehearse(sampler: BaseSampler, pruner: BasePruner, distributions: dict[str, BaseDistribution]) -> None:
    """Draw a few trials in memory: what a sampler cannot do, it says only when it draws."""
    import optuna

    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.stop = lambda: None  # type: ignore[method-assign]  # theirs only works inside their own loop
    for value in range(REHEARSED):
        trial = study.ask(distributions)
        trial.report(value, 0)
        trial.should_prune()
        study.tell(trial, value)


@contextmanager
def _reported(tree: ConfigTree, key: str) -> Iterator[None]:
    """Report what a class of Optuna refuses as a mistake of its arguments."""
    try:
        yield
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = " ".join(str(error).split())
        raise_problems(tree, [Problem(("tuning_config", f"{key}_params"), f"the {key} cannot be used: {reason}")])
        raise
