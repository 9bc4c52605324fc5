"""TensorBoard and Weights & Biases through Lightning's own loggers, whose failures do not end a training."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tabstar_lit.engine.runs.records import METRICS_FILE
from tabstar_lit.engine.tracking.background import Guard
from tabstar_lit.engine.tracking.origin import Origin
from tabstar_lit.engine.tracking.uploads import SeenFiles, flatten

PACKAGES = {
    "tensorboard": ("tensorboard", "'tabstar_lit[tensorboard]'"),
    "wandb": ("wandb", "'tabstar_lit[wandb]'"),
    "comet": ("comet_ml", "comet-ml"),
}
"""The package that each service is sent with, and what installs it."""


def missing_package(tracker: str) -> str | None:
    """Say what to type where the package that ``tracker`` needs is not installed; None where nothing is missing."""
    package, requirement = PACKAGES.get(tracker, (None, None))
    if package is None or find_spec(package) is not None:
        return None
    return f"needs the package {package}: pip install {requirement}"


class ServiceLogger(Logger):
    """One of Lightning's loggers behind a :class:`Guard`, with figures and an end that says how the run ended.

    Parameters
    ----------
    service : str
        Name of the service, for a warning.
    logger : TensorBoardLogger or WandbLogger
        Lightning's.
    show : callable
        Sends a figure: gets its path, its name, and the optimizer step.
    end : callable
        Closes the run: gets ``finished``, ``failed`` or ``interrupted``.
    """

    def __init__(
        self,
        service: str,
        logger: TensorBoardLogger | WandbLogger,
        *,
        show: Callable[[Path, str, int], object],
        end: Callable[[str], object],
    ) -> None:
        super().__init__()
        self.logger = logger
        self.show = show
        self.end = end
        self.guard = Guard(service, f"The metrics are in {METRICS_FILE} of the run directory.")
        self._files = SeenFiles()
        self._step = 0

    @property
    def name(self) -> str | None:
        """Name of the experiment there."""
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        """Name or id of the run there."""
        return self.logger.version

    @property
    def run_id(self) -> str | None:
        """Id under which a resumed run goes on; None for TensorBoard, where the folder is the run."""
        return None if isinstance(self.logger, TensorBoardLogger) else str(self.logger.version)

    @rank_zero_only
    def start(self) -> None:
        """Open the run, so that its id is known."""
        self.guard(lambda: self.logger.experiment)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand ``metrics`` on."""
        self._step = self._step if step is None else step
        self.guard(partial(self.logger.log_metrics, dict(metrics), step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log ``params`` under dotted names. The values must not hold secrets any more."""
        data = vars(params) if isinstance(params, Namespace) else params
        self.guard(partial(self.logger.log_hyperparams, dict(flatten(data))))

    def log_origin(self, origin: Origin) -> None:
        """Log where the run comes from beside its parameters."""
        self.log_hyperparams({"run": origin.facts()})

    @rank_zero_only
    def log_figure(self, path: Path, name: str) -> None:
        """Send the figure ``path``; figures of several epochs have one name, and the step tells them apart."""
        if self._files.is_new(path):
            stem = Path(name).with_suffix("")
            shown = stem.parent if stem.name.startswith("epoch_") else stem
            self.guard(partial(self.show, path, f"figures/{shown.as_posix()}", self._step))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send what waits; the run stays open for a test after the fit."""
        self.guard(self.logger.save)

    @rank_zero_only
    def finish(self, status: str) -> None:
        """Close the run as ``finished``, ``failed`` or ``interrupted``."""
        self.guard(partial(self.end, status))


def tensorboard_logger(folder: Path, stage: str, resume_step: int | None) -> ServiceLogger:
    """Return the logger of a stage that writes event files to ``folder/<stage>``.

    What an interrupted run wrote after ``resume_step`` is hidden by the steps that come again.
    """
    purge = None if resume_step is None else resume_step + 1
    logger = TensorBoardLogger(folder, name="", version=stage, default_hp_metric=False, purge_step=purge)

    def show(path: Path, name: str, step: int) -> None:
        from matplotlib.image import imread

        logger.experiment.add_image(name, imread(path)[..., :3], step, dataformats="HWC")

    return ServiceLogger("TensorBoard", logger, show=show, end=logger.finalize)


def wandb_package() -> Any:
    """Return the package wandb, which tells its makers of errors and of its use unless a variable says otherwise."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def wandb_logger(
    folder: Path, *, project: str, run_name: str, run_id: str | None, system_metrics: bool
) -> ServiceLogger:
    """Return the logger of a run of Weights & Biases, which goes on where ``run_id`` is given.

    Offline where ``WANDB_MODE`` says so; its files are below ``folder``. What the service collects by itself is off: a
    command line can hold a key.
    """
    settings = wandb_package().Settings(
        console="off",
        quiet=True,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=not system_metrics,
    )
    mode: Any = os.environ.get("WANDB_MODE")
    if mode in ("online", "offline", "disabled"):  # it reads the variable itself once, for all runs of a process
        settings.mode = mode
    logger = WandbLogger(
        run_name, save_dir=folder, project=project, id=run_id, resume="allow", log_model=False, settings=settings
    )

    def show(path: Path, name: str, step: int) -> None:
        logger.log_image(name, [str(path)])

    def end(status: str) -> None:
        logger.experiment.summary["status"] = status
        logger.experiment.finish(exit_code=0 if status == "finished" else 1)

    return ServiceLogger("Weights & Biases", logger, show=show, end=end)
