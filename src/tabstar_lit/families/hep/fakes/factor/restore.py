"""A trained density-ratio model out of a checkpoint alone: network, link and preprocessing, without any YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tabstar_lit.engine.trained import read_stored
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.families.hep.deployment.event_model import event_architecture, stored_dataset
from tabstar_lit.families.hep.fakes.architecture import FakesArchitecture
from tabstar_lit.families.hep.fakes.config import FakesDataset
from tabstar_lit.families.hep.fakes.factor.apply import factors_of
from tabstar_lit.families.hep.fakes.factor.model import BATCH_SIZE, RatioModel
from tabstar_lit.families.hep.fakes.losses import link_of
from tabstar_lit.families.hep.fakes.network import network_of
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("role", "loss", "architecture_config", "preprocessing", "dataset_config")


@dataclass(frozen=True)
class Restored(RatioModel):
    """A density-ratio model out of its checkpoint; that of the ratio predicts by itself."""

    def predict(self, data: str | Path, *, split: str | None = None, batch_size: int = BATCH_SIZE) -> pd.DataFrame:
        """Return the fake factor of every loose event of a file, in the order of the file.

        Parameters
        ----------
        data : str or Path
            An event file.
        split, batch_size
            As for :func:`~tabstar_lit.families.hep.fakes.factor.apply.apply_factor`, whose columns it has.

        Raises
        ------
        CheckpointError
            The model is no fake factor: it is of the stage numerator or denominator.
        DataError
            There are no loose events, or they lack a feature.
        """
        return factors_of(self, Path(data), split=split, batch_size=batch_size)


def restore(path: Path) -> Restored:
    """Rebuild the model of a stage.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_fakes``.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="fakes", needed=NEEDED)
    preprocessor = Preprocessor.from_payload(config["preprocessing"])
    architecture = event_architecture(FakesArchitecture, config, path)
    network = network_of(architecture, preprocessor, stored_dataset(FakesDataset, config))
    load_strict(network, weights, strict=True, source=str(path))
    return Restored(path, network.eval(), config, preprocessor, link_of(config))
