"""What an MLflow run carries beside its metrics: its origin, its data, its checkpoints as models, and a view of all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tabstar_lit.engine.runs.records import VIEW
from tabstar_lit.engine.tracking.origin import Origin

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

    from tabstar_lit.engine.callbacks.checkpoints import Best

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
COLUMNS = ("Dataset",)
"""Columns before the monitored metrics; Source, User, Version and Models are filled, too, and would push those out."""

DIGEST_LENGTH = 12
CHECKPOINT_TAG = "tabstar_lit.checkpoint"


class Kept(NamedTuple):
    """The best checkpoints in ``folder`` on their way to the store, and what was measured when the last was written."""

    folder: Path
    best: tuple[Best, ...]
    measured: Callable[[str], Sequence[Metric]]


class CheckpointModels:
    """The kept checkpoints of a run as MLflow's logged models: a row each, with metrics, and a link to the file.

    Nothing is copied: the tag ``tabstar_lit.checkpoint`` holds the path. A checkpoint that falls out of the best takes
    its row along.
    """

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def find(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        """Learn what a run that goes on has registered before."""
        for model in client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'"):
            if path := model.tags.get(CHECKPOINT_TAG):
                self._ids[Path(path).name] = model.model_id

    def update(self, client: MlflowClient, experiment_id: str, run_id: str, kept: Kept) -> None:
        """Register what is new among the kept checkpoints, and remove what is not kept any more."""
        for best in kept.best:
            if best.name not in self._ids:
                self._register(client, experiment_id, run_id, kept, best)
        for name in self._ids.keys() - {best.name for best in kept.best}:
            client.delete_logged_model(self._ids.pop(name))

    def _register(self, client: MlflowClient, experiment_id: str, run_id: str, kept: Kept, best: Best) -> None:
        from mlflow.entities import LoggedModelOutput

        model = client.create_logged_model(
            experiment_id,
            name=re.sub(r"[/:.%\"']", "-", f"{best.name.rpartition('_epoch=')[0]} epoch {best.epoch}"),
            source_run_id=run_id,
            tags={CHECKPOINT_TAG: str(kept.folder / best.name), "tabstar_lit.epoch": str(best.epoch)},
        )
        self._ids[best.name] = model.model_id
        metrics = [metric for metric in kept.measured(model.model_id) if metric.step == best.step]
        client.log_batch(run_id, metrics=metrics)
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, best.step)])
        client.finalize_logged_model(model.model_id, "READY")


def origin_tags(origin: Origin) -> dict[str, str]:
    """Return the tags that fill the columns User, Source and Version, and the device."""
    named = {
        "mlflow.user": origin.user,
        "mlflow.source.name": origin.command,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": origin.commit,
        "tabstar_lit.device": origin.device,
    }
    return {name: value for name, value in named.items() if value is not None}


def dataset_input(origin: Origin) -> DatasetInput | None:
    """Return the data of a run for its column Dataset; None while their fingerprint is not known."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if origin.fingerprint is None:
        return None
    dataset = Dataset(
        name=origin.dataset,
        digest=origin.fingerprint[:DIGEST_LENGTH],
        source_type="code",
        source=origin.source[:65535],
        profile=json.dumps({"fingerprint": origin.fingerprint}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])


def show_column(client: MlflowClient, experiment_id: str, metric: str) -> None:
    """Add ``metric`` to the columns of the view that ``track`` opens; MLflow's own shows no metric."""
    view = json.loads(client.get_experiment(experiment_id).tags.get(VIEW_TAG, "{}"))
    columns = view.get("selectedColumns") or [f"attributes.`{name}`" for name in COLUMNS]
    if (column := f"metrics.`{metric}`") not in columns:
        view["selectedColumns"] = [*columns, column]
        client.set_experiment_tag(experiment_id, VIEW_TAG, json.dumps(view))
