"""A trained classifier out of a checkpoint alone: network, calibration and preprocessing, without any YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tabstar_lit.engine.trained import read_stored
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.deployment.classifier import BATCH_SIZE, Classifier
from tabstar_lit.families.hep.deployment.event_model import event_architecture
from tabstar_lit.families.hep.deployment.prediction import scored
from tabstar_lit.families.hep.networks.build import build_network
from tabstar_lit.families.hep.networks.calibrated import calibrated
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("architecture_config", "output_dim", "preprocessing", "dataset_config")


@dataclass(frozen=True)
class RestoredClassifier(Classifier):
    """A classifier out of its checkpoint, which predicts by itself."""

    def predict(
        self,
        data: str | Path,
        *,
        split: str | None = None,
        spectators: bool = False,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the scores of an event file, a row for each event in the order of the file.

        Parameters
        ----------
        data : str or Path
            An event file with the features of the training.
        split, spectators, batch_size, device
            As for :func:`~tabstar_lit.families.hep.deployment.prediction.predict_events`, whose columns it has.

        Raises
        ------
        DataError
            The file lacks a feature, holds values that cannot be used, or the split has no events.
        """
        return scored(self, Path(data), split=split, spectators=spectators, batch_size=batch_size, device=device)


def restore(path: Path, *, as_trained: bool = False) -> RestoredClassifier:
    """Rebuild a classifier.

    Parameters
    ----------
    path : Path
        A checkpoint of a run, or a calibrated one.
    as_trained : bool, default False
        Leave its calibration out.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="signal", needed=NEEDED)
    preprocessor = Preprocessor.from_payload(config["preprocessing"])
    architecture = event_architecture(SignalArchitecture, config, path)
    network = build_network(architecture, preprocessor.inputs, config["output_dim"], state=weights)
    load_strict(network, weights, strict=True, source=str(path))
    network = network if as_trained else calibrated(network, config)
    return RestoredClassifier(path, network.eval(), config, preprocessor)
