"""Opening a run: its folders, its lock, what is written down before anything is trained, and how it ended."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import yaml

from tabstar_lit.config import Loaded, provenance, to_yaml
from tabstar_lit.config.redact import redact_text, secret_values
from tabstar_lit.engine.distributed import is_main_process
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.runs.directory import RUN_NAME_VARIABLE, RunDirectory, choose_run_name, run_directory
from tabstar_lit.engine.runs.logs import logging_to
from tabstar_lit.engine.runs.provenance import describe_program
from tabstar_lit.engine.runs.report import write_report
from tabstar_lit.errors import EXIT_BAD_INPUT, RunError, RunInterrupted, TabstarLitError

log = logging.getLogger(__name__)


@contextmanager
def opened(family: AnyFamily, loaded: Loaded[Any], argv: Sequence[str], *, resume: bool) -> Iterator[RunDirectory]:
    """Hold the run directory while the run goes on, and write its report when it has ended well.

    Only the main process locks and writes; the other ranks of a run work in the same folders under its lock.

    Parameters
    ----------
    family, loaded, argv
        What is run.
    resume : bool
        Go on in a directory that has been used, instead of refusing it.

    Raises
    ------
    RunError
        The directory belongs to another run or process, or cannot be written to.
    """
    directory = locate(loaded)
    main = is_main_process()
    if main:
        directory.create()
    with directory.lock() if main else nullcontext():
        fresh = not directory.record()
        if main:
            write_down(directory, family, loaded, argv, resume=resume)
        try:
            with logging_to(directory, loaded.experiment.min_logging_level), _ending(directory):
                log.info("Run %s in %s", directory.run_name, directory.root)
                yield directory
        except TabstarLitError as error:
            if main and fresh and error.exit_code == EXIT_BAD_INPUT and not directory.record()["stages"]:
                directory.remove()  # bad input was found before anything was trained: no run has taken place
            raise
        if main:
            write_report(directory)


def locate(loaded: Loaded[Any]) -> RunDirectory:
    """Return the folders of the run that the configuration names; nothing is made yet."""
    experiment = loaded.experiment
    name = choose_run_name(experiment.experiment_config, experiment.model)
    os.environ[RUN_NAME_VARIABLE] = name  # for the ranks this process launches
    several = len(loaded.stages) > 1
    return run_directory(experiment.experiment_config, experiment.model, name, several_stages=several)


def write_down(
    directory: RunDirectory, family: AnyFamily, loaded: Loaded[Any], argv: Sequence[str], *, resume: bool
) -> None:
    """Write ``run.json``, ``config.yaml`` and ``provenance.yaml``, secrets masked."""
    record = directory.record()
    begun = [stage.name for stage in loaded.stages if stage.name in record.get("stages", {})]
    if begun and not resume:
        raise RunError(
            f"The run {directory.root} exists already (stages: {', '.join(begun)}). Add --resume to go on with it, or "
            "choose another experiment_config.run_name."
        )
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
    directory.write("config.yaml", to_yaml(loaded.tree))
    directory.write("provenance.yaml", yaml.safe_dump(provenance(loaded.tree), sort_keys=False))


@contextmanager
def _ending(directory: RunDirectory) -> Iterator[None]:
    """Record how the run ended."""
    status = "failed"
    try:
        yield
        status = "finished"
    except (RunInterrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        if is_main_process():
            directory.update(status=status, ended=time.time())
            log.info("Run %s %s", directory.run_name, status)
