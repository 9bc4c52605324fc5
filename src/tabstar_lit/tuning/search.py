"""A study from the first trial to the report: many trainings with different values, in search of the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import yaml
from filelock import FileLock

from tabstar_lit.config import to_yaml
from tabstar_lit.engine.runs.records import CONFIG_FILE, LOCK_FILE, REPORT_FILE, RUN_FILE
from tabstar_lit.engine.runs.signals import signals
from tabstar_lit.engine.tracking.loggers import finish_loggers, start_parent
from tabstar_lit.engine.tracking.uploads import flatten
from tabstar_lit.errors import RunError, RunInterrupted
from tabstar_lit.tuning.helpers import started
from tabstar_lit.tuning.plan import Plan
from tabstar_lit.tuning.report import BEST_FILE, FIGURE_FILE, Summary, write_summary
from tabstar_lit.tuning.session import Session
from tabstar_lit.tuning.study import Trials, open_study
from tabstar_lit.tuning.trials import Training

TRACKED = "mlflow_run_id"
MAY_CHANGE = (
    "min_logging_level",
    "tuning_config.n_trials",
    "tuning_config.n_jobs",
    "tuning_config.timeout",
    "experiment_config.run_name",
    "experiment_config.tqdm_refresh_rate",
    "experiment_config.log_system_metrics",
)
"""Keys that may differ from one call of a study to the next; all others would make trials of different trainings."""


def tune(plan: Plan, *, command: Sequence[str], say: Callable[[str], None]) -> tuple[Path, Summary]:
    """Train trials until a study has all that it asks for, and report on them; others may do so at the same time.

    Parameters
    ----------
    plan : Plan
        From :func:`plan_study`.
    command : sequence of str
        The training command without the values of a trial.
    say : callable
        Called with a line for the user.

    Returns
    -------
    folder : Path
        With the report, the best values and the database.
    summary : Summary
        The study.

    Raises
    ------
    RunError
        The study was begun with another configuration, a trial failed for good, or none finished.
    RunInterrupted
        A signal came; trials and study are saved.
    """
    plan.folder.create()
    with signals.held():
        session = _joined(plan, command, say)
        with _tracked(session):
            try:
                _train(session)
            finally:
                session.trials.leave()
                with signals.deferred():
                    session.log_values()
                    write_summary(plan.folder.root, session.summary())
    summary = session.summary()
    if summary.best is None:
        raise RunError(f"No trial has finished; {plan.folder.root / REPORT_FILE} says why.")
    return plan.folder.root, summary


def _joined(plan: Plan, command: Sequence[str], say: Callable[[str], None]) -> Session:
    """Open the study, or take part in it where others work on it already."""
    with FileLock(plan.folder.root / LOCK_FILE):
        _check_same(plan)
        trials, seed = open_study(
            plan.tuning,
            plan.base.tree,
            plan.space.distributions(),
            plan.folder.root,
            maximize=plan.maximize,
            seed=plan.base.experiment.experiment_config.seed,
        )
        with trials.chosen_alone():
            for number in trials.recover():
                say(f"trial {number} was interrupted")
            _check_free(plan, trials)
    return Session(plan, trials, seed, command=command, say=say)


def _train(session: Session) -> None:
    """Train the trials that are left, together with as many further processes as ``n_jobs`` asks for."""
    plan = session.plan
    left = plan.tuning.n_trials - session.trials.ended()
    with started(
        min(plan.tuning.n_jobs, left) - 1, partial(_help, plan, tuple(session.command)), session.say
    ) as helpers:
        session.work(_training(plan, session.trials))
        helpers.join()


def _training(plan: Plan, trials: Trials) -> Training:
    n_jobs = plan.tuning.n_jobs
    threads = None if n_jobs == 1 else max(1, torch.get_num_threads() // n_jobs)
    return Training(plan.family, plan.monitor, plan.maximize, trials.study.user_attrs.get(TRACKED), threads)


def _help(plan: Plan, command: Sequence[str]) -> None:
    """Work on the study in a process of its own, see :mod:`.helpers`."""
    with signals.held():
        session = _joined(plan, command, partial(print, flush=True))
        session.work(_training(plan, session.trials))


@contextmanager
def _tracked(session: Session) -> Iterator[None]:
    """Open the tracked run of the study, under which those of its trials stand."""
    folder, study = session.plan.folder, session.trials.study
    parent, ending = None, "failed"
    try:
        with signals.deferred():
            above = study.user_attrs.get(TRACKED)
            session.parent = parent = start_parent(session.plan.base.experiment, folder, resume_run_id=above)
            if parent is not None:
                study.set_user_attr(TRACKED, parent.run_id)
        yield
        ending = "finished"
    except RunInterrupted:
        ending = "interrupted"
        raise
    finally:
        with signals.deferred():
            if parent is not None:
                for name in (REPORT_FILE, FIGURE_FILE, BEST_FILE):
                    if (folder.root / name).exists():
                        parent.log_file(folder.root / name, name)
            finish_loggers([parent], ending)


def _check_same(plan: Plan) -> None:
    """Refuse to go on with a study whose earlier trials were trained under another configuration."""
    path, text = plan.folder.root / CONFIG_FILE, to_yaml(plan.base.tree)
    if path.exists():
        before, now = _flat(path.read_text(encoding="utf-8")), _flat(text)
        keys = [key for key in {**before, **now} if key not in MAY_CHANGE and before.get(key) != now.get(key)]
        if keys:
            changes = "; ".join(
                f"{key}: {before.get(key, 'not set')} before, {now.get(key, 'not set')} now" for key in keys
            )
            raise RunError(
                f"The study {plan.folder.root} was begun with another configuration ({changes}). Its trials could "
                "not be compared: choose another tuning_config.study_name, or go back to the configuration of before."
            )
    plan.folder.write(CONFIG_FILE, text)


def _flat(text: str) -> dict[str, str]:
    return dict(flatten(yaml.safe_load(text)))


def _check_free(plan: Plan, trials: Trials) -> None:
    """Refuse to train over runs that another study of this name has left."""
    numbers = range(len(trials.latest()), plan.tuning.n_trials)
    taken = [root for n in numbers if ((root := plan.folder.root.parent / plan.run_name(n)) / RUN_FILE).exists()]
    if taken:
        raise RunError(
            f"{taken[0]} exists already, but the study knows nothing of it. Remove it, or choose another "
            "tuning_config.study_name."
        )
