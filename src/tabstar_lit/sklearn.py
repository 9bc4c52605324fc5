"""TabSTAR for scikit-learn: estimators that fine-tune a model on a table and predict.

    from tabstar_lit.sklearn import TabSTARClassifier

    model = TabSTARClassifier(checkpoint="pretrained.ckpt").fit(X, y)
    model.predict_proba(X)

They train through ``tabstar_lit.train`` in a temporary folder, nothing of which is left.
"""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from tabstar_lit.api import train
from tabstar_lit.config.paths import packaged_config_dir, roots
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
from tabstar_lit.engine.weights.loading import find_checkpoint
from tabstar_lit.errors import CheckpointError, DataError
from tabstar_lit.families.tabstar.config import TargetOffset
from tabstar_lit.families.tabstar.deployment.exporting import write_checkpoint
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar, restore
from tabstar_lit.families.tabstar.estimation.fitting import (
    TABLE,
    Method,
    Rows,
    Wishes,
    base_settings,
    free_name,
    quiet,
    run_settings,
    with_validation,
    write_table,
)
from tabstar_lit.families.tabstar.estimation.frames import feature_frame, matched

__all__ = ["TabSTARClassifier", "TabSTARRegressor"]

Task = Literal["classification", "regression"]
KEPT = "estimator"
"""Where a saved estimator keeps its parameters in a checkpoint."""

MAX_SEED = 2**31 - 1


class _TabSTAR(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn states no types
    """What both estimators share.

    Parameters
    ----------
    checkpoint : str, Path or None
        Model to start from: a checkpoint, a folder of the package ``tabstar``, or its name on the hub, such as
        ``alana89/TabSTAR``. None: a small new network on the sentence encoder of ``tabstar_lit[encoder]``.
    method : {"lora", "full", "probe"}
        What of a trained model is trained: low-rank adapters, as the package ``tabstar`` has them; everything above
        the text encoder; or the prediction heads alone. A new network is trained above its text encoder.
    unfreeze_layers : int, "all" or None
        Last layers of the text encoder that have adapters (``lora``) or are trained (``full``). None: 6 and 0. With 0
        each string is encoded once, which is fast.
    max_epochs : int
        Epochs at most.
    patience : int
        Epochs without a better validation loss after which training ends.
    batch_size : int
        Rows whose gradients make a step; of fewer than eight times as many rows, an eighth.
    learning_rate : float or None
        Highest rate. None: 1e-3; 1e-4 for ``full``.
    class_weight : "balanced", dict or None
        Of classifiers: how much rows of a class count in the loss, by class; balanced: all classes alike.
    target_offset : {"trees", "additive"} or None
        Of regressors: a model of the training rows that predictions start from, see ``dataset_config``. It belongs to
        the model here, and folders for the package ``tabstar`` do without it.
    validation_fraction : float
        Share of the rows that choose the best epoch, unless ``fit`` is given others.
    time_limit : float or None
        Seconds to train for at most; the best epoch so far counts.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    random_state : int, RandomState or None
        Of split, order and new weights.
    progress_bar : bool
        Show progress and messages.
    overrides : sequence of str
        Further settings as ``train_tabstar`` takes them, such as
        ``"model_config.training_config.gradient_clip_val=0.5"``.

    Attributes
    ----------
    model_ : TrainedTabstar
        The model, with ``predict``, ``embed`` and ``explain``; its table is called ``table``.
    feature_names_ : list of str
        The columns of ``fit``.
    """

    _task: ClassVar[Task]

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        method: Method = "lora",
        unfreeze_layers: int | Literal["all"] | None = None,
        max_epochs: int = 50,
        patience: int = 5,
        batch_size: int = 128,
        learning_rate: float | None = None,
        target_offset: TargetOffset | None = None,
        validation_fraction: float = 0.1,
        time_limit: float | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        progress_bar: bool = False,
        overrides: Sequence[str] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.method = method
        self.unfreeze_layers = unfreeze_layers
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.target_offset = target_offset
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.device = device
        self.random_state = random_state
        self.progress_bar = progress_bar
        self.overrides = overrides

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Fine-tune on a table.

        Parameters
        ----------
        X : DataFrame or array-like
            ``[N, M]`` rows: numbers, texts, dates, categories, gaps.
        y : Series or array-like
            ``[N]`` classes or numbers, without gaps. The name of a Series is read by the model.
        sample_weight : array-like, optional
            ``[N]`` how much each row counts in the loss, 0 or more.
        eval_set : (X, y), optional
            Rows that choose the best epoch, in place of a share of ``X``.

        Raises
        ------
        DataError
            The table cannot be learnt from; names column and rows.
        """
        frame = self._features(X, reset=True)
        if len(frame) == 1:
            raise DataError("X has 1 sample; two or more are needed to train, and one to validate.")
        names = self._remember(y)
        weights = (
            None if sample_weight is None else _check_sample_weight(sample_weight, frame, ensure_non_negative=True)
        )
        rows = Rows(frame, self._target(y, frame, names), weights=weights)
        if eval_set is not None:
            own = matched(feature_frame(eval_set[0]), self.feature_names_)
            rows = with_validation(rows, own, self._target(eval_set[1], own, names).tolist())
        with tempfile.TemporaryDirectory(prefix="tabstar_lit_") as folder, quiet(not self.progress_bar):
            self.model_ = self._trained(rows, Path(folder))
        return self

    def save(self, path: str | Path) -> Path:
        """Write the estimator as a checkpoint, which ``tabstar_lit.load`` and every command understand too.

        It holds tensors and plain values only: loading it runs no code.
        """
        check_is_fitted(self, "model_")
        parameters = self.get_params() | {"checkpoint": None if self.checkpoint is None else str(self.checkpoint)}
        if not isinstance(self.random_state, int | None):
            parameters["random_state"] = None
        kept = {"task": self._task, "parameters": parameters, "features": self.feature_names_, **self._kept()}
        return write_checkpoint(self.model_, Path(path), **{KEPT: kept})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the estimator that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            The file holds none, or one of the other task.
        """
        path = Path(path)
        kept = read_checkpoint(path).get(CHECKPOINT_KEY, {}).get(KEPT)
        if kept is None or kept["task"] != cls._task:
            seen = "no estimator" if kept is None else f"an estimator for {kept['task']}"
            raise CheckpointError(f"{path} holds {seen}; {cls.__name__}.load needs one for {cls._task}.")
        estimator = cls(**kept["parameters"])
        estimator.model_ = restore(path)
        estimator.feature_names_ = list(kept["features"])
        estimator.n_features_in_ = len(estimator.feature_names_)
        estimator._restore(kept)
        return estimator

    def _trained(self, rows: Rows, folder: Path) -> TrainedTabstar:
        base = None if self.checkpoint is None else find_checkpoint(str(self.checkpoint), [roots().models])
        wishes = self._wishes()
        write_table(rows, self._task, wishes, folder / "table.h5")
        settings = [*base_settings(base, wishes), *run_settings(wishes, rows, folder)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            run = train("train_tabstar", settings, packaged_config_dir())
        kept = run.best_checkpoint or max((folder / "models").rglob("*_last.ckpt"), default=None)
        if kept is None:
            raise DataError("the time limit came before the first step: no weights were kept. Give more time.")
        return restore(kept)

    def _wishes(self) -> Wishes:
        seed = self.random_state
        if not isinstance(seed, int):
            seed = int(check_random_state(seed).randint(MAX_SEED))
        return Wishes(
            method=self.method,
            unfreeze_layers=self.unfreeze_layers,
            max_epochs=self.max_epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            class_weights=self._class_weights(),
            target_offset=self.target_offset,
            validation_fraction=self.validation_fraction,
            time_limit=self.time_limit,
            seed=seed,
            device="gpu" if self.device == "cuda" else self.device,
            progress_bar=self.progress_bar,
            overrides=tuple(self.overrides),
        )

    def _features(self, X: Any, *, reset: bool) -> pd.DataFrame:
        frame = feature_frame(X)
        if reset:
            self.feature_names_ = list(frame.columns)
            validate_data(self, frame if isinstance(X, pd.DataFrame) else X, reset=True, skip_check_array=True)
            return frame
        if not isinstance(X, pd.DataFrame):  # columns without names are those of fit, in their order
            validate_data(self, X, reset=False, skip_check_array=True)
            return frame.set_axis(self.feature_names_, axis=1)
        return matched(frame, self.feature_names_)

    def _predicted(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self, "model_")
        frame = self._features(X, reset=False)
        return self.model_.predict(frame, table=TABLE, device=self.device)

    def _target(self, y: Any, frame: pd.DataFrame, names: Mapping[Any, str]) -> pd.Series:
        check_consistent_length(frame, y)
        values = column_or_1d(y, warn=True)
        if pd.isna(values).any():
            raise DataError(f"Input y contains NaN: {int(pd.isna(values).sum())} of {len(values)}. Drop these rows.")
        name = str(getattr(y, "name", None) or "target")
        return pd.Series(self._cells(values, names), name=free_name(name, frame.columns))

    @abstractmethod
    def _remember(self, y: Any) -> dict[Any, str]:
        """Look at the targets of ``fit``; return the name of each class."""

    @abstractmethod
    def _cells(self, values: npt.NDArray[Any], names: Mapping[Any, str]) -> Any:
        """Return targets as the table has them."""

    def _class_weights(self) -> str | dict[str, float] | None:
        """Return how much rows of each class count; None: all alike."""
        return None

    def _kept(self) -> dict[str, Any]:
        """Return what else a saved estimator needs."""
        return {}

    def _restore(self, kept: Mapping[str, Any]) -> None:
        """Take it back."""

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that gaps and texts are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


class TabSTARClassifier(ClassifierMixin, _TabSTAR):  # type: ignore[misc]  # as above
    """Fine-tune a TabSTAR to predict classes."""

    _task = "classification"

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        method: Method = "lora",
        unfreeze_layers: int | Literal["all"] | None = None,
        max_epochs: int = 50,
        patience: int = 5,
        batch_size: int = 128,
        learning_rate: float | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        validation_fraction: float = 0.1,
        time_limit: float | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        progress_bar: bool = False,
        overrides: Sequence[str] = (),
    ) -> None:
        super().__init__(  # scikit-learn reads the parameters from the signature
            checkpoint, method=method, unfreeze_layers=unfreeze_layers, max_epochs=max_epochs, patience=patience,
            batch_size=batch_size, learning_rate=learning_rate, validation_fraction=validation_fraction,
            time_limit=time_limit, device=device, random_state=random_state, progress_bar=progress_bar,
            overrides=overrides,
        )  # fmt: skip
        self.class_weight = class_weight

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, ``[N]``."""
        probabilities = self.predict_proba(X)
        classes: npt.NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return classes

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probabilities of :attr:`classes_`, ``[N, C]``."""
        predicted = self._predicted(X)
        return predicted[[f"p_{_class_name(own)}" for own in self.classes_]].to_numpy(dtype=np.float64)

    def _remember(self, y: Any) -> dict[Any, str]:
        values = column_or_1d(y)
        if not pd.isna(values).any():
            check_classification_targets(values)
            self.classes_ = np.unique(values)
            if len(self.classes_) == 1:
                raise DataError(f"y has one class only, {self.classes_[0]!r}; two classes are needed.")
        return {} if pd.isna(values).any() else {own: _class_name(own) for own in self.classes_.tolist()}

    def _cells(self, values: npt.NDArray[Any], names: Mapping[Any, str]) -> Any:
        unknown = [own for own in dict.fromkeys(values.tolist()) if own not in names]
        if unknown:
            raise DataError(f"y of eval_set has the class {unknown[0]!r}, which fit has not.")
        return [names[own] for own in values.tolist()]

    def _class_weights(self) -> str | dict[str, float] | None:
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        return {_class_name(own): float(weight) for own, weight in self.class_weight.items()}

    def _kept(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "class_type": self.classes_.dtype.str}

    def _restore(self, kept: Mapping[str, Any]) -> None:
        self.classes_ = np.array(kept["classes"], dtype=np.dtype(kept["class_type"]))


class TabSTARRegressor(RegressorMixin, _TabSTAR):  # type: ignore[misc]  # as above
    """Fine-tune a TabSTAR to predict numbers."""

    _task = "regression"

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, ``[N]``, in the unit of ``y``."""
        return self._predicted(X)["prediction"].to_numpy(dtype=np.float64)

    def _remember(self, y: Any) -> dict[Any, str]:
        return {}

    def _cells(self, values: npt.NDArray[Any], names: Mapping[Any, str]) -> Any:
        return values.astype(np.float64)


for _estimator in (TabSTARClassifier, TabSTARRegressor):  # a notebook's help shows the parameters
    _estimator.__doc__ = f"{_estimator.__doc__}\n{(_TabSTAR.__doc__ or '').partition('.')[2]}"


def _class_name(value: Any) -> str:
    """Return how a class is called in the texts."""
    return str(value)
