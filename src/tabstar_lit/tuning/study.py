"""The memory of a study: an Optuna study in its database, from which every call goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tabstar_lit.config import ConfigTree, Problem, raise_problems
from tabstar_lit.config.schema import TuningConfig
from tabstar_lit.tuning.choosers import check_choosers, quiet, sampler_seed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

    Distributions = Mapping[str, BaseDistribution]

NUMBER, RESUMED, EXHAUSTED = "trial", "resumed", "exhausted"


class Trials:
    """The trials of a study, numbered so that one that was interrupted and the one that goes on with it are the same.

    Parameters
    ----------
    study : optuna.Study
        The study in its database; only one process works on it.
    distributions : mapping of str to BaseDistribution
        What is drawn, by dotted key.
    sampler : callable
        Makes the sampler of a trial from its number.
    """

    def __init__(self, study: Study, distributions: Distributions, sampler: Callable[[int], BaseSampler]) -> None:
        self.study = study
        self.distributions = dict(distributions)
        self._sampler = sampler
        self._open: dict[int, Trial] = {}
        study.stop = self._exhaust  # type: ignore[method-assign]  # theirs only works inside their own loop

    def latest(self) -> dict[int, FrozenTrial]:
        """Return the trials by number, of those that were resumed the last."""
        found: dict[int, FrozenTrial] = {}
        resumed = 0
        for trial in self.study.get_trials(deepcopy=False):
            found[trial.user_attrs.get(NUMBER, trial.number - resumed)] = trial
            resumed += RESUMED in trial.user_attrs
        return found

    @property
    def exhausted(self) -> bool:
        """Whether the sampler has drawn all there is, which ends the study before it has all its trials."""
        return bool(self.study.user_attrs.get(EXHAUSTED))

    def recover(self) -> list[int]:
        """Take trials that a killed process left behind for interrupted ones; returns their numbers."""
        from optuna.trial import TrialState

        left = [number for number, trial in self.latest().items() if trial.state == TrialState.RUNNING]
        for number in left:
            self.retry(number)
        return left

    def ask(self, n_trials: int) -> tuple[int, dict[str, Any], bool] | None:
        """Begin a trial: one that was interrupted, else a new one while there are fewer than ``n_trials``.

        Returns
        -------
        tuple or None
            Number of the trial, what was drawn for it, and whether it goes on; None when there are to be no others.
        """
        from optuna.trial import TrialState

        latest = self.latest()
        waiting = [number for number, trial in latest.items() if trial.state == TrialState.WAITING]
        if not waiting and (len(latest) >= n_trials or self.exhausted):
            return None
        number = waiting[0] if waiting else len(latest)
        self.study.sampler = self._sampler(number)
        self._open[number] = trial = self.study.ask(self.distributions)
        return number, trial.params, bool(waiting)

    def prune(self, number: int, epoch: int, value: float) -> bool:
        """Report the value of an epoch, and say whether the pruner would stop the trial."""
        trial = self._open[number]
        trial.report(value, epoch)
        return trial.should_prune()

    def complete(self, number: int, value: float) -> None:
        """Close a trial with its value."""
        self.study.tell(self._open.pop(number), value)

    def close(self, number: int, state: str, reason: str = "") -> None:
        """Close a trial that has no value: ``PRUNED``, or ``FAIL`` for a reason."""
        from optuna.trial import TrialState

        trial = self._open.pop(number)
        if reason:
            trial.set_user_attr("failure", reason)
        self.study.tell(trial, state=TrialState[state])

    def retry(self, number: int) -> None:
        """Mark an interrupted trial as failed, and put it in line to be gone on with."""
        from optuna.trial import TrialState

        trial = self.latest()[number]
        self._open.pop(number, None)
        self.study.tell(trial.number, state=TrialState.FAIL)
        self.study.enqueue_trial(trial.params, user_attrs={NUMBER: number, RESUMED: True})

    def _exhaust(self) -> None:
        """Remember that a sampler asked for the end."""
        self.study.set_user_attr(EXHAUSTED, True)


def open_study(
    tuning: TuningConfig,
    tree: ConfigTree,
    distributions: Distributions,
    *,
    storage: str,
    maximize: bool,
    seed: int | None,
) -> tuple[Trials, int]:
    """Open the study of a configuration in its database, or make it.

    Parameters
    ----------
    tuning : TuningConfig
        Names sampler, pruner and study.
    tree : ConfigTree
        For the places of mistakes.
    distributions : mapping of str to BaseDistribution
        What is drawn.
    storage : str
        URL of the database.
    maximize : bool
        Whether a higher value is better.
    seed : int or None
        Seed of the experiment; None takes what the study was begun with, or a new one.

    Returns
    -------
    trials : Trials
        The study.
    seed : int
        Seed of all its trainings.

    Raises
    ------
    ConfigError
        Sampler, pruner or their arguments are wrong, or the database cannot be used.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    sampler, pruner = check_choosers(tuning, tree, distributions)
    with quiet():
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=tuning.study_name,
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
                pruner=pruner,
            )
        except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error).partition("\n")[0]
            message = f"the database of the study cannot be used ({reason}); give another URL, or null for a file"
            raise_problems(tree, [Problem(("tuning_config", "storage"), message)])
            raise
    if seed is None:
        seed = study.user_attrs.get("seed")
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    study.set_user_attr("seed", seed)
    return Trials(study, distributions, lambda number: sampler(sampler_seed(tuning.sampler, seed, number))), seed
