"""What ``train_signal`` reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tabstar_lit.config.foreign import ForeignKey
from tabstar_lit.config.schema import Experiment, ModelConfig
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.architecture.before import EARLIER_KEYS
from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.seesawml import SIGNAL
from tabstar_lit.families.hep.signal.plotting_config import SignalPlotting
from tabstar_lit.families.hep.signal.training_config import SignalTraining


class SignalModel(ModelConfig):
    """The ``model_config`` of a signal classifier."""

    architecture_config: SignalArchitecture = Field(description="The network; `model` names it.")
    training_config: SignalTraining = Field(default_factory=SignalTraining, description="How it is trained.")

    def loss_terms(self) -> tuple[str, ...]:
        """Return what DisCo makes of the loss: that of the classes, and the correlation with each variable."""
        disco = self.training_config.disco
        return () if disco is None else ("classification", *(f"correlation_{name}" for name in disco.variables))


class SignalExperiment(Experiment):
    """A signal-versus-background experiment."""

    foreign_keys: ClassVar[tuple[ForeignKey, ...]] = SIGNAL
    earlier_keys: ClassVar[tuple[ForeignKey, ...]] = EARLIER_KEYS
    data_key: ClassVar[str | None] = "files"

    dataset_config: EventsDataset
    model: SignalModel = Field(alias="model_config")
    plotting_config: SignalPlotting = Field(
        default_factory=SignalPlotting, description="Figures and physics metrics of the tracker."
    )

    def problems(self) -> Iterable[Problem]:
        """Ask for the bin edges that piecewise-linear embeddings need, and for the weights that DisCo shall use."""
        yield from super().problems()
        if self.model.architecture_config.reads_bins and self.dataset_config.ple_bins is None:
            yield Problem(
                ("dataset_config", "ple_bins"),
                "ple in architecture_config needs the number of its bins: set ple_bins, such as 32",
            )
        disco, data = self.model.training_config.disco, self.dataset_config
        if disco is not None and disco.weighted and not (data.use_mc_weights or data.use_class_weights):
            yield Problem(
                ("model_config", "training_config", "disco", "weighted"),
                "DisCo would use the weights of the loss, and there are none: set dataset_config.use_mc_weights or "
                "use_class_weights, or weighted: false",
            )
