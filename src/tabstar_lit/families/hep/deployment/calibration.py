"""Calibration after training: fit an affine map of the logits on events kept for it, and write it with the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float64, Int64
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, AtomicCheckpointIO, read_checkpoint
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.hep.deployment.calibration_fit import Affine, Method, Sample, cross_entropy, fit
from tabstar_lit.families.hep.deployment.classifier import Classifier
from tabstar_lit.families.hep.deployment.prediction import score_events
from tabstar_lit.families.hep.deployment.restore import restore
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.events.location import events_paths, open_events
from tabstar_lit.families.hep.preparation.preprocess import EventReader
from tabstar_lit.metrics.weighted import calibration_error

ALL = "all"
"""Instead of a split: every event of a file."""

KEPT = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", CHECKPOINT_KEY)
"""What a calibrated checkpoint has of the original; training cannot go on from it."""

SAYS_ECE = "ECE is `ece` of metrics and reports: by the weights of the events. gap is that error by those of the loss."


@dataclass(frozen=True)
class Quality:
    """How well probabilities fit the events of a split, before and after calibration.

    Attributes
    ----------
    split : str
        Which events.
    n_events : int
        How many.
    loss, error : tuple of float
        Cross-entropy, and expected calibration error over 15 bins, both with the weights of the training loss.
    error_of_events : tuple of float
        The calibration error with the signed weights of the events, which is what metrics call ``ece``: class weights
        are not in it, and a network that was trained with them is far off without being wrong.
    """

    split: str
    n_events: int
    loss: tuple[float, float]
    error: tuple[float, float]
    error_of_events: tuple[float, float]


@dataclass(frozen=True)
class Report:
    """What a calibration found.

    Attributes
    ----------
    method : str
        The method.
    affine : Affine
        The map of the logits.
    qualities : tuple of Quality
        On the events it was fitted on, and on the test split if there is one.
    """

    method: Method
    affine: Affine
    qualities: tuple[Quality, ...]

    def __str__(self) -> str:
        """Return it as lines for a terminal."""
        k = len(self.affine.bias)
        slopes = (
            self.affine.weight.tolist() if self.method == "matrix" and k > 1 else self.affine.weight.diag().tolist()
        )
        if self.method == "temperature":
            said = f"temperature T = {1 / slopes[0]:.5g}: logits become z / T"
        elif k == 1:
            said = f"slope {slopes[0]:.5g}, intercept {self.affine.bias.item():.5g}: the logit becomes w z + b"
            said += " (with two classes, matrix and vector scaling are the same)" if self.method == "matrix" else ""
        else:
            shown = " ".join(str(np.round(slopes, 4).tolist()).split())
            said = f"{self.method} {shown}, bias {np.round(self.affine.bias.numpy(), 4).tolist()}"
        return "\n".join([said, *self._table(), SAYS_ECE])

    def _table(self) -> Iterator[str]:
        yield f"{'':<16}{'by the weights of the loss':>40}{'of the events':>20}"
        yield f"{'split':<7}{'events':>9}" + "".join(
            f"{name + ' before':>11}{'after':>9}" for name in ("NLL", "gap", "ECE")
        )
        for quality in self.qualities:
            pairs = (quality.loss, quality.error, quality.error_of_events)
            values = "".join(f"{before:>11.5f}{after:>9.5f}" for before, after in pairs)
            yield f"{quality.split:<7}{quality.n_events:>9}{values}"


def calibrate_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    method: Method = "temperature",
    data: Path | None = None,
    split: str = "calib",
    device: str = "auto",
    progress: Progress = no_progress,
) -> Report:
    """Fit a calibration and write a checkpoint with it; its weights are those of the original.

    Parameters
    ----------
    checkpoint : Path
        A trained classifier. A calibration it has already is replaced.
    output : Path
        The calibrated checkpoint.
    method : str
        ``temperature``, ``vector`` or ``matrix``.
    data : Path, optional
        Event file; by default the one of the training.
    split : str
        Which events to fit on, by the rule of the training; ``all`` takes every event of ``data``.
    device : str
        Where the network runs.
    progress : callable
        For a progress bar.

    Raises
    ------
    DataError
        There are no events kept for calibration, or
        :func:`~tabstar_lit.families.hep.deployment.calibration_fit.fit` cannot use them.
    CheckpointError
        ``output`` is the original.
    """
    if output.resolve() == checkpoint.resolve():
        raise CheckpointError(f"{output} is the checkpoint itself, which stays as it is: give another output with -o.")
    classifier = restore(checkpoint, as_trained=True)
    if split == "calib" and not classifier.dataset.split.calib:
        raise DataError(
            f"{checkpoint} was trained without events kept for calibration. Train with dataset_config.split.calib=0.1, "
            "or give events that the training has not seen: --data FILE --split all."
        )
    if split == ALL and data is None:
        raise DataError("--split all takes all events of a file that the training has not seen: name it with --data.")
    reader = EventReader(classifier.preprocessor, _open(classifier, data))
    samples = {name: _sample(classifier, reader, name, device, progress) for name in _splits(classifier, split)}
    affine = fit(method, samples[split])
    _write(checkpoint, output, {"method": method, "weight": affine.weight, "bias": affine.bias})
    return Report(method, affine, tuple(_quality(name, sample, affine) for name, sample in samples.items()))


def _open(classifier: Classifier, data: Path | None) -> EventFile:
    if data is not None:
        return EventFile.open(data)
    for path in events_paths(classifier.dataset):
        if not path.exists():
            raise DataError(f"{path}, with the events of the training, is not there: say where it is with --data FILE.")
    return open_events(classifier.dataset)


def _splits(classifier: Classifier, split: str) -> list[str]:
    """Return the split to fit on, and the test split to judge it by, where there is another one."""
    config = classifier.dataset
    tested = split != ALL and (config.folds is not None or config.split.test > 0)
    return list(dict.fromkeys([split, "test"])) if tested else [split]


def _sample(classifier: Classifier, reader: EventReader, split: str, device: str, progress: Progress) -> Sample:
    """Score the events of a split that have a class."""
    rows = classifier.rows(reader.file, None if split == ALL else split)
    rows = rows[reader.targets[rows] >= 0]
    weights = reader.loss_weights()[rows]
    _require_classes(classifier, reader.targets[rows], weights, f"{reader.file.path}: {split}")
    logits = []
    with progress(len(rows)) as advance:
        for chunk in score_events(classifier, reader, rows, device=device):
            logits.append(chunk.logits.double())
            advance(len(chunk.rows))
    targets = torch.from_numpy(reader.targets[rows])
    if logits[0].shape[1] == 1:
        targets = (targets == classifier.signal).long()
    return Sample(torch.cat(logits), targets, torch.from_numpy(weights), torch.from_numpy(reader.weights[rows]))


def _require_classes(classifier: Classifier, targets: Int64, weights: Float64, where: str) -> None:
    sums = np.bincount(targets, weights, minlength=len(classifier.classes))
    for name, total in zip(classifier.classes, sums, strict=True):
        if not total > 0:
            raise DataError(f"{where}: class '{name}' has no events with a positive weight to calibrate on.")


def _quality(split: str, sample: Sample, affine: Affine) -> Quality:
    k = sample.logits.shape[1]
    same = Affine(torch.eye(k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64))
    return Quality(
        split,
        len(sample.targets),
        loss=(float(cross_entropy(same, sample)), float(cross_entropy(affine, sample))),
        error=(_calibration_error(same, sample, sample.weights), _calibration_error(affine, sample, sample.weights)),
        error_of_events=(
            _calibration_error(same, sample, sample.event_weights),
            _calibration_error(affine, sample, sample.event_weights),
        ),
    )


def _calibration_error(affine: Affine, sample: Sample, weights: Tensor) -> float:
    logits, targets = affine(sample.logits), sample.targets
    if logits.shape[1] == 1:
        confidence, correct = logits.squeeze(1).sigmoid(), targets == 1
    else:
        confidence, predicted = logits.softmax(dim=1).max(dim=1)
        correct = predicted == targets
    return calibration_error(confidence.numpy(), correct.numpy(), weights.numpy())


def _write(checkpoint: Path, output: Path, calibration: dict[str, Any]) -> None:
    content = read_checkpoint(checkpoint)
    own = content[CHECKPOINT_KEY]
    kept = {key: content[key] for key in KEPT if key in content}
    kept[CHECKPOINT_KEY] = {**own, "payload": {**own["payload"], "calibration": calibration}}
    AtomicCheckpointIO().save_checkpoint(kept, output)
