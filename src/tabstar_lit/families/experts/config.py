"""What ``train_experts`` reads. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from tabstar_lit.config.schema import Experiment
from tabstar_lit.families.experts.architecture import ExpertsModel
from tabstar_lit.families.experts.text.dataset_config import TextDataset


class ExpertsExperiment(Experiment):
    """Experts that read text, and a mixture of them."""

    data_key: ClassVar[str | None] = "corpus"

    dataset_config: TextDataset
    model: ExpertsModel = Field(alias="model_config")

    def earlier(self) -> Mapping[str, str | None]:
        """Return the trained models that this stage reads: earlier stages, or checkpoints."""
        return self.model.reads(self.stages)
