"""Comet, online or as an offline archive in the run directory, with the methods of the MLflow logger."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CometLogger as LightningCometLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from tabstar_lit.engine.runs.records import METRICS_FILE
from tabstar_lit.engine.tracking.background import Guard
from tabstar_lit.engine.tracking.origin import Origin
from tabstar_lit.engine.tracking.uploads import SeenFiles, flatten

OFFLINE_VALUES = ("0", "false", "no", "off")


class RecordingCometLogger(LightningCometLogger):
    """Lightning's Comet logger, whose offline experiments really record.

    Upstream starts offline experiments with ``disabled=True`` and so writes no archive
    (https://github.com/Lightning-AI/pytorch-lightning/issues/21617); this class can go when that is fixed.
    """

    def _create_experiment(self) -> None:
        import comet_ml

        self._comet_config = comet_ml.ExperimentConfig(**self._kwargs)
        super()._create_experiment()


class CometLogger(Logger):
    """Log to a Comet experiment; when its server cannot be had, to an offline archive.

    Comet's own automatic logging (command line, source code, console output, host details) is off: a command
    line can hold a key. Comet sends from its own thread.

    Parameters
    ----------
    api_key : str or None
        Not needed offline.
    project, run_name : str
        Where the experiment appears, and its name there.
    offline_directory : Path
        Where the archive of an offline experiment is written.
    online : bool
        Send to Comet's server; otherwise write ``<experiment key>.zip``, for ``comet upload``.
    experiment_key : str or None
        Experiment to go on with.
    tags : Mapping
        Names and values recorded beside the experiment (run, stage).
    system_metrics : bool
        Have Comet record CPU, memory, disk, network and GPU use.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        project: str | None,
        run_name: str,
        offline_directory: Path,
        online: bool,
        experiment_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        system_metrics: bool = False,
    ) -> None:
        super().__init__()
        self.api_key = api_key
        self.project = project
        self.run_name = run_name
        self.offline_directory = offline_directory
        self.online = online
        self.run_id = experiment_key
        self.tags = dict(tags or {})
        self.system_metrics = system_metrics
        self.guard = Guard("Comet", f"The metrics are in {METRICS_FILE} of the run directory.")
        self._files = SeenFiles()
        self._logger: RecordingCometLogger | None = None

    @property
    def name(self) -> str | None:
        """Name of the Comet project."""
        return self.project

    @property
    def version(self) -> str | None:
        """Key of the Comet experiment."""
        return self.run_id

    @rank_zero_only
    def start(self) -> None:
        """Create or reopen the experiment, so that ``run_id`` is known; offline without a server."""
        if self.guard(self._connect) or not self.online:
            return
        self.online = False
        Guard("Comet's offline archive", self.guard.remedy)(self._connect)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand ``metrics`` to Comet's thread."""
        logger = self._logger
        if logger is not None:
            self.guard(lambda: logger.log_metrics(dict(metrics), step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log ``params`` under dotted names. The values must not hold secrets any more."""
        logger = self._logger
        if logger is not None:
            data = vars(params) if isinstance(params, Namespace) else params
            self.guard(lambda: logger.experiment.log_parameters(dict(flatten(data))))

    @rank_zero_only
    def log_origin(self, origin: Origin) -> None:
        """Record where the run comes from beside the experiment."""
        logger = self._logger
        if logger is not None:
            self.guard(lambda: logger.experiment.log_others(origin.facts()))

    @rank_zero_only
    def log_file(self, path: Path, name: str) -> None:
        """Upload ``path`` as the asset ``name``, unless it is there already and unchanged."""
        logger = self._logger
        if logger is not None and self._files.is_new(path):
            self.guard(lambda: logger.experiment.log_asset(str(path), file_name=name, overwrite=True, copy_to_tmp=True))

    @rank_zero_only
    def log_figure(self, path: Path, name: str) -> None:
        """Upload the figure ``path`` as the image ``figures/<name>``."""
        logger = self._logger
        if logger is not None and self._files.is_new(path):
            self.guard(
                lambda: logger.experiment.log_image(str(path), name=f"figures/{name}", overwrite=True, copy_to_tmp=True)
            )

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send what waits; the experiment stays open for a test after the fit."""
        logger = self._logger
        if logger is not None:
            self.guard(lambda: logger.finalize(status))

    @rank_zero_only
    def finish(self, status: str) -> None:
        """Record ``finished``, ``failed`` or ``interrupted``, end the experiment, write the archive."""
        logger = self._logger
        if logger is not None:
            self.guard(lambda: logger.experiment.log_other("status", status))
            self.guard(logger.experiment.end)
            self._logger = None

    def _connect(self) -> None:
        os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")
        self.offline_directory.mkdir(parents=True, exist_ok=True)
        logger = RecordingCometLogger(
            api_key=self.api_key,
            project=self.project,
            experiment_key=self.run_id,
            mode="create" if self.run_id is None else "get_or_create",
            online=self.online,
            name=self.run_name,
            offline_directory=str(self.offline_directory),
            log_code=False,
            log_graph=False,
            parse_args=False,
            log_git_metadata=False,
            log_git_patch=False,
            log_env_details=self.system_metrics,
            auto_output_logging=False,
            display_summary_level=0,
        )
        experiment = logger.experiment
        if not experiment.alive:  # Comet says so in the log only, and would drop everything from here on
            raise ConnectionError("no connection to the Comet server, or it refused the key")
        self.run_id = experiment.get_key()
        self._logger = logger
        for name, value in self.tags.items():
            experiment.log_other(name, value)


def wants_online() -> bool:
    """Return False when ``COMET_START_ONLINE`` says so, as Comet's own ``start`` reads it."""
    return os.environ.get("COMET_START_ONLINE", "true").strip().lower() not in OFFLINE_VALUES


def offline_directory(run_directory: Path) -> Path:
    """Return where archives go: ``COMET_OFFLINE_DIRECTORY``, else ``comet/`` in the run directory."""
    return Path(os.environ.get("COMET_OFFLINE_DIRECTORY") or run_directory / "comet")
