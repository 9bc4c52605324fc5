"""One process at work on a study: it takes trials, trains them, and writes down how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tabstar_lit.engine.runs.files import format_value
from tabstar_lit.engine.tracking.mlflow import MlflowLogger
from tabstar_lit.errors import ConfigError, RunError, RunInterrupted
from tabstar_lit.tuning.plan import Plan
from tabstar_lit.tuning.report import Row, Summary, assignments, literal
from tabstar_lit.tuning.study import Trials
from tabstar_lit.tuning.trials import Job, Result, Training

HOPELESS = 3
"""So many failures at the beginning, and nothing else, end a study."""


class Session:
    """One process at work on a study, which others may work on at the same time.

    Parameters
    ----------
    plan : Plan
        The study.
    trials : Trials
        Its memory.
    seed : int
        Seed of all trainings that do not vary it.
    command : sequence of str
        The training command without the values of a trial.
    say : callable
        Called with a line for the user.
    """

    def __init__(
        self, plan: Plan, trials: Trials, seed: int, *, command: Sequence[str], say: Callable[[str], None]
    ) -> None:
        self.plan, self.trials, self.seed, self.command, self.say = plan, trials, seed, command, say
        self.parent: MlflowLogger | None = None
        self.ending: BaseException | None = None
        self._begun = time.monotonic()
        self._logged: set[int] = set()

    def work(self, training: Training) -> None:
        """Train trials until there are enough.

        Raises
        ------
        RunInterrupted
            A signal came; the trial is saved, and whoever works on the study next goes on with it.
        RunError
            A trial failed for a reason that would spoil the others, too, or too many failed.
        """
        going_on = True
        while going_on and (job := self.next_job()) is not None:
            going_on = self.done(job, training(job, partial(self.judge, job)))
        if self.ending is not None:
            raise self.ending

    def next_job(self) -> Job | None:
        """Return the next trial; None when there are enough, or the time is over."""
        timeout = self.plan.tuning.timeout
        while timeout is None or time.monotonic() - self._begun < timeout:
            asked = self.trials.ask(self.plan.tuning.n_trials)
            if asked is None:
                return None
            number, drawn, resume = asked
            values = self.plan.space.values(drawn)
            shown = ", ".join(f"{key.rpartition('.')[2]} {literal(value)}" for key, value in values.items())
            self.say(f"trial {number} of {self.plan.tuning.n_trials}{' goes on' if resume else ''}: {shown}")
            try:
                loaded = self.plan.load(number, values, self.seed)
            except ConfigError as error:
                if not self._failed(number, str(error)):
                    return None
                continue
            return Job(number, loaded, (*self.command, *assignments(values)), resume)
        self.say(f"{timeout:g} seconds are over: no further trial is begun")
        return None

    def judge(self, job: Job, epoch: int, value: float) -> bool:
        """Report an epoch's value, and say whether to stop the trial."""
        return self.trials.prune(job.number, epoch, value)

    def done(self, job: Job, result: Result) -> bool:
        """Write down how a trial ended; returns whether to go on."""
        number = job.number
        if result.signum is not None or result.fatal:
            self.trials.retry(number)
            reason = RunError(f"trial {number}: {result.failure}")
            self.ending = self.ending or (reason if result.fatal else RunInterrupted(result.signum or 0))
            return False
        if result.failure or result.value is None:
            return self._failed(number, result.failure)
        if result.pruned:
            self.trials.close(number, "PRUNED")
            self.say(f"trial {number} pruned: {self.plan.monitor} {format_value(result.value)}")
        else:
            self.trials.complete(number, result.value)
            self.say(f"trial {number} finished: {self.plan.monitor} {format_value(result.value)}{self._best()}")
        self._record(number, result.value)
        return True

    def summary(self) -> Summary:
        """Return the study as it stands."""
        rows = [
            Row(
                number,
                trial.state.name,
                self.plan.space.values(trial.params),
                trial.value if trial.state.name in ("COMPLETE", "PRUNED") else None,
                len(trial.intermediate_values),
                trial.user_attrs.get("failure", ""),
            )
            for number, trial in self.trials.latest().items()
        ]
        return Summary(self.plan.tuning.study_name, self.plan.monitor, self.plan.maximize, rows, self.command)

    def _failed(self, number: int, reason: str) -> bool:
        """Close a trial without a value; returns whether the study still promises anything."""
        self.trials.close(number, "FAIL", reason)
        self.say(f"trial {number} failed: {reason}")
        states = [trial.state.name for trial in self.trials.latest().values()]
        if states.count("FAIL") < HOPELESS or {"COMPLETE", "PRUNED"} & set(states):
            return True
        self.ending = RunError(f"{states.count('FAIL')} trials failed and none finished. The last reason: {reason}")
        return False

    def _best(self) -> str:
        best = self.summary().best
        return "" if best is None else f" (best {format_value(best.value)}, trial {best.number})"

    def _record(self, number: int, value: float) -> None:
        """Put the value where a person looks: into the trial's ``run.json``, and the study's tracked run."""
        trial = self.trials.latest()[number]
        run = replace(self.plan.folder, root=self.plan.folder.root.parent / self.plan.run_name(number))
        facts = {"study": self.plan.tuning.study_name, "number": number, "state": trial.state.name.lower()}
        run.update(trial={**facts, "value": value, "parameters": self.plan.space.values(trial.params)})
        self.log_values()

    def log_values(self) -> None:
        """Send the values that have come in, also those of other processes, to the study's tracked run."""
        if self.parent is None:
            return
        summary = self.summary()
        for row in summary.rows:
            if row.value is not None and row.number not in self._logged:
                self._logged.add(row.number)
                best = {} if summary.best is None or summary.best.value is None else {"best_value": summary.best.value}
                self.parent.log_metrics({"value": row.value, **best}, step=row.number)
