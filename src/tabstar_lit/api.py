"""Training and trained models from Python: what the commands call, and ``tabstar_lit.train`` and ``tabstar_lit.load``.

Light to import: what needs torch is imported when it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabstar_lit.families import family_of_checkpoint, family_of_command

if TYPE_CHECKING:
    import pandas as pd

    from tabstar_lit.config import Loaded
    from tabstar_lit.engine.family import AnyFamily
    from tabstar_lit.engine.runs.directory import RunDirectory
    from tabstar_lit.engine.trained import Trained

Tell = Callable[[str], object]
"""Gets what the composer noticed, a line each."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run that has ended: what it left.

    Attributes
    ----------
    directory : Path
        Configuration, provenance, metrics, log and report of the run; ``docs/checkpoints.md`` lists the files.
    best_checkpoint : Path or None
        The best of the last stage by the metric that was monitored; None where it kept none, as an evaluation does.
    """

    directory: Path
    best_checkpoint: Path | None

    @property
    def report(self) -> Path:
        """The report, in Markdown."""
        return self.directory / "report.md"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything that was logged, in its order: ``stage``, ``epoch``, ``step`` and a column for each metric.

        A row has the metrics that were logged together; the others, and values that were not finite, are NaN.
        """
        import pandas as pd

        from tabstar_lit.engine.runs.records import METRICS_FILE, read_records

        frame = pd.DataFrame(list(read_records(self.directory / METRICS_FILE)))
        places = [name for name in ("stage", "epoch", "step") if name in frame]
        values = frame.drop(columns=[*places, "time"], errors="ignore")
        return frame[places].join(values.astype("float64"))


def train(
    command: str,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    *,
    resume: bool | str | Path = False,
) -> Run:
    """Train as a training command does: compose the configuration, run every stage, write the report.

    Parameters
    ----------
    command : str
        A training command: ``tabstar_lit --help`` lists them.
    overrides : sequence of str
        Settings as on the command line, ``"key=value"`` each.
    config_dir : str or Path, optional
        Folder with ``training_config.yaml`` and its groups.
    resume : bool, str or Path
        Go on with the newest run of the experiment (True), or with a run or checkpoint, by name or path. The run goes
        on under the configuration it was begun with, changed by ``overrides``.

    Returns
    -------
    Run
        The run, finished.

    Raises
    ------
    TabstarLitError
        A mistake in configuration or data, with the message the command would print; or a run that failed.
    RunInterrupted
        A signal came; the run has been saved, and ``resume=True`` goes on with it.
    """
    family = family_of_command(command)
    changes = (overrides,) if isinstance(overrides, str) else tuple(overrides)
    folder = None if config_dir is None else Path(config_dir)
    loaded = compose(family, changes, folder, tell=log.warning)
    argv = [command, *(() if folder is None else ("--config-dir", str(folder))), *changes]
    if not resume:
        return finished(begin(family, loaded, changes, folder, argv=argv, tell=log.warning))
    wanted = None if resume is True else str(resume)
    argv += ["--resume", *(() if wanted is None else (wanted,))]
    return finished(go_on(family, loaded, changes, wanted, argv=argv, tell=log.warning))


def load(checkpoint: str | Path) -> Trained:
    """Return a trained model out of its checkpoint alone, ready to predict.

    Parameters
    ----------
    checkpoint : str or Path
        A path, or the name of a file somewhere below the folder of the models.

    Returns
    -------
    Trained
        With ``family``, ``path``, ``config``, ``network``, and ``predict(data)``, whose options are the family's.

    Raises
    ------
    CheckpointError
        There is no such file, it cannot be read, is not of a training command, or of a release that kept less in it.
    """
    from tabstar_lit.config.paths import roots
    from tabstar_lit.engine.weights.loading import find_checkpoint

    path = find_checkpoint(str(checkpoint), [roots().models])
    return family_of_checkpoint(path).restore(path)


# -- what the commands call -------------------------------------------------------------------------------------------


def compose(
    family: AnyFamily,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    *,
    primary: Path | None = None,
    tell: Tell,
) -> Loaded[Any]:
    """Compose and validate the configuration of a family's command, see :func:`tabstar_lit.config.load_experiment`."""
    from tabstar_lit.config import Problem, load_experiment

    def further(experiment: Any) -> list[Problem]:
        from tabstar_lit.engine.preflight import find_problems

        return find_problems(family, experiment)

    loaded = load_experiment(
        family.schema(),
        command=family.command,
        overrides=overrides,
        config_dir=config_dir,
        primary=primary,
        family_directory=family.name,
        family_files=family.configurations(),
        further=further,
    )
    for notice in loaded.notices:
        tell(f"note: {notice}")
    return loaded


def begin(
    family: AnyFamily,
    loaded: Loaded[Any],
    overrides: Sequence[str],
    config_dir: Path | None,
    *,
    argv: Sequence[str],
    tell: Tell,
) -> RunDirectory:
    """Train, continue or evaluate, as ``load_checkpoint`` and ``continue_training`` say.

    A training whose job begins anew on a cluster goes on where it was. ``argv`` is the command line, for the record.
    """
    from tabstar_lit.engine.devices.launchers import began_anew
    from tabstar_lit.engine.preflight import check_names
    from tabstar_lit.engine.run import evaluate, run
    from tabstar_lit.engine.runs.opening import begun
    from tabstar_lit.engine.runs.resume import configured_checkpoint, run_to_resume

    checkpoint = configured_checkpoint(loaded.experiment)
    if checkpoint is None:
        check_names(family, loaded)
        if began_anew() and (root := begun(loaded)) is not None:
            tell(f"note: this job begins anew, so the run {root.name} goes on")
            return go_on(family, loaded, overrides, str(root), argv=argv, tell=tell)
        return run(family, loaded, argv=argv)
    if loaded.experiment.model.continue_training:
        root, checkpoint = run_to_resume(loaded.experiment, family.command, str(checkpoint))
        again = compose(family, (*overrides, _run_name(root)), config_dir, tell=tell)
        check_names(family, again)
        return run(family, again, argv=argv, resume=True, checkpoint=checkpoint)
    check_names(family, loaded)
    return evaluate(family, loaded, checkpoint, argv=argv)


def go_on(
    family: AnyFamily,
    loaded: Loaded[Any],
    overrides: Sequence[str],
    wanted: str | None,
    *,
    argv: Sequence[str],
    tell: Tell,
) -> RunDirectory:
    """Go on with a run under the configuration it was begun with, changed by the overrides.

    ``wanted`` is a run or checkpoint, None the newest run of the experiment; ``argv`` the command line, for the record.
    """
    from tabstar_lit.engine.preflight import check_names
    from tabstar_lit.engine.run import run
    from tabstar_lit.engine.runs.resume import run_to_resume

    root, checkpoint = run_to_resume(loaded.experiment, family.command, wanted)
    again = compose(family, (*overrides, _run_name(root)), primary=root / "config.yaml", tell=tell)
    check_names(family, again)
    return run(family, again, argv=argv, resume=True, checkpoint=checkpoint)


def finished(directory: RunDirectory) -> Run:
    """Return what a run left."""
    stages = list(directory.record().get("stages", {}).values())
    best = stages[-1].get("best_checkpoint") if stages else None
    return Run(directory.root, None if best is None else directory.checkpoints / best)


def _run_name(root: Path) -> str:
    return f"experiment_config.run_name={root.name}"
