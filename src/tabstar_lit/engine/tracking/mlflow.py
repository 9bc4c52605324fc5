"""MLflow on SQLite: metrics, parameters, configuration and figures, written beside the training loop."""

from __future__ import annotations

import logging
import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from tabstar_lit.engine.runs.records import METRICS_FILE, RESERVED, read_records
from tabstar_lit.engine.tracking.background import BackgroundWriter, Guard
from tabstar_lit.engine.tracking.mlflow_entries import CheckpointModels, Kept, dataset_input, origin_tags, show_column
from tabstar_lit.engine.tracking.origin import Origin
from tabstar_lit.engine.tracking.uploads import SeenFiles, flatten, shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from tabstar_lit.engine.callbacks.checkpoints import Checkpoints

SQLITE = "sqlite:///"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LONGEST_PARAM = 6000
LONGEST_KEY = 250
PARAMS_PER_BATCH = 100
LOCK_SECONDS = 120.0


class Point(NamedTuple):
    """One value of one metric on its way to the store; ``milliseconds`` is when it was logged."""

    name: str
    value: float
    milliseconds: int
    step: int


class Upload(NamedTuple):
    """One file on its way to the artifact folder ``folder``."""

    file: Path
    folder: str


class MlflowLogger(Logger):
    """Log to an MLflow run without waiting for the store, and without depending on it.

    Metrics are queued (microseconds a call) and sent by a thread; a store that raises, is locked, or sits on
    a read-only disk is reported once and tried again, while ``metrics.jsonl`` keeps the truth. MLflow is
    imported by :meth:`start`, with its telemetry switched off.

    Parameters
    ----------
    uri : str
        Tracking URI, ``sqlite:////absolute/mlflow.db``.
    artifacts : str
        Artifact location of an experiment that is created, as a URI or an absolute path.
    experiment_name, run_name : str
        What the UI shows.
    run_id : str or None
        Run to go on with; it becomes RUNNING again. None creates one.
    parent_run_id : str or None
        Run that this one is a stage of.
    tags : Mapping
        Further tags of a run that is created.
    monitor : str or None
        Metric that is shown as a column of the table of runs.
    system_metrics : bool
        Log CPU, memory, disk, network and GPU use as ``system/...``.
    interval : float
        Seconds between two batches of metrics.
    """

    def __init__(
        self,
        *,
        uri: str,
        artifacts: str,
        experiment_name: str,
        run_name: str,
        run_id: str | None = None,
        parent_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        monitor: str | None = None,
        system_metrics: bool = False,
        interval: float = 5.0,
    ) -> None:
        super().__init__()
        self.uri = uri
        self.artifacts = artifacts
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.run_id = run_id
        self.parent_run_id = parent_run_id
        self.tags = dict(tags or {})
        self.monitor = monitor
        self.system_metrics = system_metrics
        self.guard = Guard("MLflow", f"The metrics are in {METRICS_FILE} of the run directory.")
        self.writer: BackgroundWriter[Point | Upload | Kept] = BackgroundWriter(
            self._send, self.guard, interval=interval
        )
        self._client: MlflowClient | None = None
        self._monitor: Any = None
        self._params: dict[str, str] = {}
        self._files = SeenFiles()
        self._logged: dict[str, int] = {}
        self._latest: dict[str, Point] = {}
        self._models = CheckpointModels()
        self._store_id = ""

    # -- identity --------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment_name

    @property
    def version(self) -> str | None:
        """Id of the MLflow run; None while the store could not be reached."""
        return self.run_id

    # -- start and end ---------------------------------------------------------------------------------------

    @rank_zero_only
    def start(self) -> None:
        """Create or reopen the run, so that ``run_id`` is known; a failure is tried again later."""
        self.guard(self._connect)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send everything and close the run; Lightning calls this after each fit and test."""
        self.finish("finished" if status in ("success", "finished") else "failed")

    @rank_zero_only
    def finish(self, status: str) -> None:
        """Send everything and close the run.

        Parameters
        ----------
        status : str
            ``finished``, ``failed`` or ``interrupted``, which MLflow calls FINISHED, FAILED and KILLED.
        """
        if self._monitor is not None:
            self.guard(self._monitor.finish)
            self._monitor = None
        if not self.writer.close():
            rank_zero_warn(f"MLflow did not get {len(self.writer.waiting)} last values. {self.guard.remedy}")
        if self._client is not None and self.run_id is not None:
            self.guard(partial(self._client.set_terminated, self.run_id, STATUS[status]))

    # -- what is logged --------------------------------------------------------------------------------------

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Queue ``metrics``; values that a resumed run has in the store already are left out."""
        milliseconds = int(time() * 1000)
        step = 0 if step is None else step
        for name, value in metrics.items():
            self._latest[name] = point = Point(name, float(value), milliseconds, step)
            if step > self._logged.get(name, -1):
                self.writer.put(point)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log ``params`` under dotted names, over-long values cut; what a resumed run changed becomes a tag.

        The values must not hold secrets any more.
        """
        data = vars(params) if isinstance(params, Namespace) else params
        self._params = {_valid(key): shorten(value, LONGEST_PARAM) for key, value in flatten(data)}
        self.guard(self._log_params)

    @rank_zero_only
    def log_origin(self, origin: Origin) -> None:
        """Fill the columns User, Source, Version and Dataset of the run."""
        self.guard(partial(self._log_origin, origin))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Checkpoints) -> None:  # type: ignore[override]  # ours alone
        """Queue the checkpoints that are kept now, each with the metrics of its epoch, as the models of the run."""
        points = [point for name, point in self._latest.items() if name.startswith(("train_", "val_"))]
        self.writer.put(Kept(checkpoint_callback.directory, tuple(checkpoint_callback.best), partial(_metrics, points)))

    @rank_zero_only
    def log_file(self, path: Path, name: str) -> None:
        """Upload ``path`` as the artifact ``name``, unless it is there already and unchanged."""
        if self._files.is_new(path):
            self.writer.put(Upload(path, name.rpartition("/")[0]))
            self.writer.wake()

    def log_figure(self, path: Path, name: str) -> None:
        """Upload the figure ``path`` as the artifact ``figures/<name>``."""
        self.log_file(path, f"figures/{name}")

    @rank_zero_only
    def backfill(self, metrics_file: Path, stage: str, last_step: int) -> None:
        """Queue what a killed process had written to ``metrics_file`` but not yet sent."""
        known = dict(self._logged)
        for record in read_records(metrics_file):
            if record.get("stage") != stage or record.get("step", 0) > last_step:
                continue
            step, milliseconds = record["step"], int(record["time"] * 1000)
            for name in record.keys() - set(RESERVED):
                if step > known.get(name, -1):
                    value = float("nan") if record[name] is None else record[name]
                    self.writer.put(Point(name, value, milliseconds, step))
                    self._logged[name] = step

    # -- the store -------------------------------------------------------------------------------------------

    def _connect(self) -> MlflowClient:
        if self._client is not None:
            return self._client
        mlflow_client = import_client()
        with store_lock(self.uri):
            client = mlflow_client(self.uri)
            run = self._reopen(client) or client.create_run(
                self._experiment_id(client), run_name=self.run_name, tags=self._run_tags()
            )
            if self.monitor is not None:
                show_column(client, run.info.experiment_id, _valid(self.monitor))
        self.run_id, self._store_id = run.info.run_id, run.info.experiment_id
        self._client = client
        if self.system_metrics:
            self._start_monitor(self.run_id)
        return client

    def _experiment_id(self, client: MlflowClient) -> str:
        experiment = client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            return client.create_experiment(self.experiment_name, artifact_location=self.artifacts)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _reopen(self, client: MlflowClient) -> Run | None:
        from mlflow.exceptions import MlflowException

        if self.run_id is None:
            return None
        try:
            run = client.get_run(self.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            rank_zero_warn(f"MLflow knows no run {self.run_id} in {self.uri}; the resumed run is logged as a new one.")
            return None
        client.update_run(self.run_id, status="RUNNING")
        self._logged = {metric.key: metric.step for metric in run.data._metric_objs}
        self._models.find(client, run.info.experiment_id, self.run_id)
        return run

    def _run_tags(self) -> dict[str, str]:
        parent = {} if self.parent_run_id is None else {"mlflow.parentRunId": self.parent_run_id}
        return self.tags | parent

    def _log_params(self) -> None:
        from mlflow.entities import Param, RunTag

        client, run_id = self._connect(), self._known_run_id()
        stored = client.get_run(run_id).data.params
        new = [Param(key, value) for key, value in self._params.items() if key not in stored]
        changed = [RunTag(f"resumed.{k}", v) for k, v in self._params.items() if k in stored and stored[k] != v]
        for start in range(0, len(new), PARAMS_PER_BATCH):
            client.log_batch(run_id, params=new[start : start + PARAMS_PER_BATCH])
        client.log_batch(run_id, tags=changed[:PARAMS_PER_BATCH])

    def _log_origin(self, origin: Origin) -> None:
        from mlflow.entities import RunTag

        client, run_id = self._connect(), self._known_run_id()
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in origin_tags(origin).items()])
        if (data := dataset_input(origin)) is not None:
            client.log_inputs(run_id, [data])

    def _send(self, batch: Sequence[Point | Upload | Kept]) -> None:
        client, run_id = self._connect(), self._known_run_id()
        points = [item for item in batch if isinstance(item, Point)]
        if points:
            client.log_batch(run_id, metrics=_metrics(points))
        # What follows is not worth holding back the metrics for: the files stay where they are.
        for item in batch:
            if isinstance(item, Upload) and item.file.exists():  # a figure may have been removed meanwhile
                self.guard(partial(client.log_artifact, run_id, str(item.file), item.folder or None))
            elif isinstance(item, Kept):
                self.guard(partial(self._models.update, client, self._store_id, run_id, item))

    def _known_run_id(self) -> str:
        if self.run_id is None:
            raise RuntimeError("the MLflow run was not started")
        return self.run_id

    def _start_monitor(self, run_id: str) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor  # MLflow leaves this class unannotated
        self._monitor = monitor(run_id, resume_logging=True, tracking_uri=self.uri)
        self._monitor.start()


def _metrics(points: Sequence[Point], model_id: str | None = None) -> list[Metric]:
    """Return points as MLflow wants them, as those of a model where one is given."""
    from mlflow.entities import Metric

    return [Metric(_valid(p.name), p.value, p.milliseconds, p.step, model_id=model_id) for p in points]


def import_client() -> type[MlflowClient]:
    """Import MLflow with telemetry off, and without its notes about creating tables and tracebacks about lost ones.

    What goes wrong in the store is raised, too, and told in a line by the :class:`Guard`.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient


def store_lock(uri: str) -> AbstractContextManager[object]:
    """Return the lock for creating a SQLite store: two processes at once would both make its tables."""
    if not uri.startswith(SQLITE):
        return nullcontext()
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=LOCK_SECONDS)


def _valid(name: str) -> str:
    """Return ``name`` with what MLflow does not allow in keys replaced, within its length limit."""
    return re.sub(r"[^\w/. :-]", "_", name, flags=re.ASCII)[:LONGEST_KEY]
