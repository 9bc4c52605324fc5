"""What ``train_antibody`` reads. Light: no torch, no numpy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tabstar_lit.config.schema import Experiment
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.antibody.architecture import AntibodyModel
from tabstar_lit.families.antibody.pairs.config import AntibodyDataset
from tabstar_lit.families.antibody.tracking_config import AntibodyTracking


class AntibodyExperiment(Experiment):
    """A generator of antibodies for an antigen at a wanted affinity."""

    data_key: ClassVar[str | None] = "files"

    dataset_config: AntibodyDataset
    model: AntibodyModel = Field(alias="model_config")
    tracking_config: AntibodyTracking = Field(
        default_factory=AntibodyTracking, description="What is generated and measured while training."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse pairs without affinity where the network is told nothing else."""
        yield from super().problems()
        if self.dataset_config.pkd == "known" and self.model.architecture_config.conditioning == "none":
            yield Problem(
                ("dataset_config", "pkd"),
                "pairs without affinity are left out for a network that is not told it: set pkd: any, or conditioning",
            )
