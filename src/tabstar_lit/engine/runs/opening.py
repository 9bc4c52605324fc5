"""Opening a run: its folders, its lock, what is written down before anything is trained, and how it ended."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tabstar_lit.config import Loaded, provenance, to_yaml
from tabstar_lit.config.redact import redact_text, secret_values
from tabstar_lit.engine.devices.distributed import RUN_NAME_VARIABLE, gather, has_met, is_main_process
from tabstar_lit.engine.devices.launchers import meet, requeue
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.reports.card import write_cards
from tabstar_lit.engine.reports.report import write_report
from tabstar_lit.engine.runs.directory import RunDirectory, choose_run_name, run_directory
from tabstar_lit.engine.runs.files import is_evaluation
from tabstar_lit.engine.runs.logs import logging_to
from tabstar_lit.engine.runs.provenance import describe_program
from tabstar_lit.engine.runs.records import CONFIG_FILE, PROVENANCE_FILE
from tabstar_lit.engine.runs.resume import prospect
from tabstar_lit.engine.runs.signals import heed, signals
from tabstar_lit.errors import EXIT_BAD_INPUT, RunError, RunInterrupted, RunRefused, TabstarLitError

log = logging.getLogger(__name__)


@contextmanager
def opened(
    family: AnyFamily, loaded: Loaded[Any], argv: Sequence[str], *, resume: bool = False, evaluates: Path | None = None
) -> Iterator[RunDirectory]:
    """Hold the run directory and the signals while the run goes on, and write its report when it has ended well.

    Only the main process locks and writes; the other ranks of a run work in the same folders under its lock.

    Parameters
    ----------
    family, loaded, argv
        What is run.
    resume : bool
        Go on in a directory that has been used, instead of refusing it.
    evaluates : Path or None
        The checkpoint of a run that trains nothing.

    Raises
    ------
    RunError
        The directory belongs to another run or process, or cannot be written to.
    RunRefused
        The first process of the run met such an error, and this is another one.
    RunInterrupted
        A signal came; the run can be gone on with as its ``prospect`` says.
    """
    with signals.held():
        heed()
        directory = locate(loaded)
        signals.shared = signals.shared or has_met()
        if not is_main_process():
            if reason := gather("")[0]:
                raise RunRefused(f"The first process of this run did not open it: {reason}")
            with logging_to(directory, loaded.experiment.min_logging_level), _ending_of_a_helper():
                yield directory
            return
        with _others_waiting() as let_go, directory.held():
            fresh = not directory.record()
            if not resume:
                refuse_used(directory, loaded, evaluates=evaluates is not None)
            try:
                with logging_to(directory, loaded.experiment.min_logging_level), _ending(directory, loaded, family):
                    with signals.deferred():
                        write_down(directory, family, loaded, argv)
                        if evaluates is not None:
                            directory.update(evaluated=str(evaluates.absolute()))
                    let_go()
                    log.info("Run %s in %s", directory.run_name, directory.root)
                    yield directory
            except TabstarLitError as error:
                if fresh and error.exit_code == EXIT_BAD_INPUT and not directory.record().get("stages"):
                    directory.remove()  # bad input was found before anything was trained: no run has taken place
                raise


@contextmanager
def _others_waiting() -> Iterator[Callable[[], None]]:
    """Let processes that were started together with this one wait until the run is open, or tell them why it is not."""
    gone = False

    def let_go() -> None:
        nonlocal gone
        gone = True
        gather("")

    try:
        yield let_go
    except BaseException as error:  # whatever it is, nobody waits any more
        if not gone:
            gather(str(error) or type(error).__name__)
        raise


def locate(loaded: Loaded[Any]) -> RunDirectory:
    """Return the folders of the run that the configuration names; nothing is made yet."""
    experiment = loaded.experiment
    meet(experiment.experiment_config.accelerator)
    name = choose_run_name(experiment.experiment_config, experiment.model)
    os.environ[RUN_NAME_VARIABLE] = name  # for the ranks this process launches
    several = len(loaded.stages) > 1
    return run_directory(experiment.experiment_config, experiment.model, name, several_stages=several)


def begun(loaded: Loaded[Any]) -> Path | None:
    """Return the folder of the run that the configuration names where that run has begun, else None."""
    directory = locate(loaded)
    return directory.root if directory.record() else None


def refuse_used(directory: RunDirectory, loaded: Loaded[Any], *, evaluates: bool) -> None:
    """Make sure that nothing is trained over a run that exists; an evaluation that was broken off is made again.

    Raises
    ------
    RunError
        The run exists.
    """
    record = directory.record()
    begun = [stage.name for stage in loaded.stages if stage.name in record.get("stages", {})]
    again = evaluates and is_evaluation(record) and record.get("status") != "finished"
    if begun and not again:
        raise RunError(
            f"The run {directory.root} exists already (stages: {', '.join(begun)}). Add --resume to go on with it, or "
            "choose another experiment_config.run_name."
        )


def write_down(directory: RunDirectory, family: AnyFamily, loaded: Loaded[Any], argv: Sequence[str]) -> None:
    """Write ``run.json``, ``config.yaml`` and ``provenance.yaml``, secrets masked."""
    record = directory.record()
    config, now = loaded.experiment.experiment_config, time.time()
    hidden = secret_values(loaded.tree.data)
    shown = [redact_text(word, hidden) for word in argv]
    created = {
        "experiment_name": config.experiment_name,
        "run_name": directory.run_name,
        "family": family.name,
        "command": family.command,
        "created": now,
        "seed": secrets.randbits(31) if config.seed is None else config.seed,
        "figures_dir": str(directory.figures),
        "checkpoints_dir": str(directory.checkpoints),
        "stages": {},
    }
    resumed = [*record.get("resumed", []), *([{"time": now, "argv": shown}] if record else [])]
    program = record or {**created, **describe_program(shown)}  # a resumed run keeps what it was begun with
    directory.update(**{**program, "status": "running", "resumed": resumed})
    directory.write(CONFIG_FILE, to_yaml(loaded.tree))
    directory.write(PROVENANCE_FILE, yaml.safe_dump(provenance(loaded.tree), sort_keys=False))


@contextmanager
def _ending(directory: RunDirectory, loaded: Loaded[Any], family: AnyFamily) -> Iterator[None]:
    """Record how the run ended; one that ended well has a report."""
    try:
        yield
        heed()
        with signals.deferred():
            directory.update(status="finished", ended=time.time())
        write_report(directory, family)
        write_cards(family, directory)
    except RunInterrupted as interruption:
        outlook = _close(directory, loaded, "interrupted")
        interruption.prospect = "; ".join(filter(None, (outlook, requeue(interruption.signum))))
        raise
    except BaseException:  # whatever ended it, the record says so
        _close(directory, loaded, "failed")
        raise
    log.info("Run %s finished", directory.run_name)


def _close(directory: RunDirectory, loaded: Loaded[Any], status: str) -> str:
    """Record that a run ended before its end, and return what can be done now."""
    with signals.deferred():
        try:
            record = directory.record()
        except RunError as error:
            log.warning("%s", error)  # beside the reason why the run ends, which is on its way to the user
            return ""
        if not record:
            return ""  # it ended before a line of it was written
        directory.end(status)
        log.info("Run %s %s", directory.run_name, status)
        if is_evaluation(record):
            return "the same command evaluates again"
        return prospect(loaded.stages, directory)


@contextmanager
def _ending_of_a_helper() -> Iterator[None]:
    """Let a process that the first one works with end without a sign of failure when all end together."""
    try:
        yield
        heed()
    except RunInterrupted as interruption:
        interruption.exit_code = 0
        raise
