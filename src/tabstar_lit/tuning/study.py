"""The memory of a study: an Optuna study in its database, which processes share and from which every call goes on.

Optuna keeps the trials; files beside the study say who works on what. One is held for the moment in which a trial is
chosen, and one for each trial while it is trained: a trial that is said to be running and whose file nobody holds was
killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from tabstar_lit.config import ConfigTree, Problem, raise_problems
from tabstar_lit.config.schema import TuningConfig
from tabstar_lit.tuning.choosers import check_choosers, quiet, sampler_seed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

    Distributions = Mapping[str, BaseDistribution]

NUMBER, RESUMED, EXHAUSTED = "trial", "resumed", "exhausted"
JOURNAL = "journal"
PATIENCE_S = 60.0
"""How long a process waits for others to write to an SQLite file."""


class Trials:
    """The trials of a study, numbered so that one that was interrupted and the one that goes on with it are the same.

    Parameters
    ----------
    study : optuna.Study
        The study in its database.
    distributions : mapping of str to BaseDistribution
        What is drawn, by dotted key.
    sampler : callable
        Makes the sampler of a trial from its number.
    folder : Path
        Of the study, on a disk that all who work on it see.
    """

    def __init__(
        self, study: Study, distributions: Distributions, sampler: Callable[[int], BaseSampler], folder: Path
    ) -> None:
        self.study = study
        self.distributions = dict(distributions)
        self._sampler = sampler
        self._folder = folder
        self._open: dict[int, tuple[Trial, FileLock]] = {}
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

    def ended(self) -> int:
        """Return how many trials need no more training."""
        return sum(trial.state.is_finished() for trial in self.latest().values())

    @contextmanager
    def chosen_alone(self) -> Iterator[None]:
        """Hold the study for the moment in which its state is looked at and a trial begun."""
        with FileLock(self._folder / "choosing.lock"):
            yield

    def recover(self) -> list[int]:
        """Take trials that a killed process left behind for interrupted ones; returns their numbers."""
        from optuna.trial import TrialState

        running = [number for number, trial in self.latest().items() if trial.state == TrialState.RUNNING]
        left = [number for number in running if number not in self._open and self._is_free(number)]
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

        with self.chosen_alone():
            latest = self.latest()
            waiting = [number for number, trial in latest.items() if trial.state == TrialState.WAITING]
            if not waiting and (len(latest) >= n_trials or self.exhausted):
                return None
            number = waiting[0] if waiting else len(latest)
            lock = self._lock(number)
            lock.acquire(timeout=0)
            self.study.sampler = self._sampler(number)
            trial = self.study.ask(self.distributions)
            self._open[number] = trial, lock
        return number, trial.params, bool(waiting)

    def leave(self) -> None:
        """Let go of the trials that this process holds; one that has not ended is taken up by whoever comes next."""
        while self._open:
            self._open.popitem()[1][1].release()

    def _lock(self, number: int) -> FileLock:
        return FileLock(self._folder / f"trial_{number}.lock")

    def _is_free(self, number: int) -> bool:
        try:
            with self._lock(number).acquire(timeout=0):
                return True
        except Timeout:
            return False

    def prune(self, number: int, epoch: int, value: float) -> bool:
        """Report the value of an epoch, and say whether the pruner would stop the trial."""
        trial, _ = self._open[number]
        trial.report(value, epoch)
        return trial.should_prune()

    def complete(self, number: int, value: float) -> None:
        """Close a trial with its value."""
        trial, lock = self._open.pop(number)
        self.study.tell(trial, value)
        lock.release()

    def close(self, number: int, state: str, reason: str = "") -> None:
        """Close a trial that has no value: ``PRUNED``, or ``FAIL`` for a reason."""
        from optuna.trial import TrialState

        trial, lock = self._open.pop(number)
        if reason:
            trial.set_user_attr("failure", reason)
        self.study.tell(trial, state=TrialState[state])
        lock.release()

    def retry(self, number: int) -> None:
        """Mark an interrupted trial as failed, and put it in line to be gone on with."""
        from optuna.trial import TrialState

        trial = self.latest()[number]
        self.study.tell(trial.number, state=TrialState.FAIL)
        self.study.enqueue_trial(trial.params, user_attrs={NUMBER: number, RESUMED: True})
        if number in self._open:
            self._open.pop(number)[1].release()

    def _exhaust(self) -> None:
        """Remember that a sampler asked for the end."""
        self.study.set_user_attr(EXHAUSTED, True)


def open_study(
    tuning: TuningConfig,
    tree: ConfigTree,
    distributions: Distributions,
    folder: Path,
    *,
    maximize: bool,
    seed: int | None,
) -> tuple[Trials, int]:
    """Open the study of a configuration in its database, or make it.

    Parameters
    ----------
    tuning : TuningConfig
        Names sampler, pruner, study and database.
    tree : ConfigTree
        For the places of mistakes.
    distributions : mapping of str to BaseDistribution
        What is drawn.
    folder : Path
        Of the study.
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
                storage=_storage(tuning, folder),
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
    return Trials(
        study, distributions, lambda number: sampler(sampler_seed(tuning.sampler, seed, number)), folder
    ), seed


def _storage(tuning: TuningConfig, folder: Path) -> BaseStorage:
    """Return where the study is kept: a journal that machines share, an SQLite file, or what the URL names."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    url = None if tuning.storage is None else tuning.storage.get_secret_value()
    if url == JOURNAL:
        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    url = f"sqlite:///{folder / 'study.db'}" if url is None else url
    patience = {"connect_args": {"timeout": PATIENCE_S}} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs=patience)
