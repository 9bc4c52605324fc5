"""``tracking_config``: what is generated and measured while a generator is trained. Light: no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tabstar_lit.config.schema import Section
from tabstar_lit.config.schema.base import Count, Fraction, PositiveCount, PositiveNumber


class AntibodyTracking(Section):
    """What is generated and measured while training, and when a warning is due."""

    samples: Count = Field(
        100, description="Antibodies that are generated for validation antigens when figures are due; 0: none."
    )
    antigens: PositiveCount = Field(20, description="Different validation antigens that they are generated for.")
    temperature: PositiveNumber = Field(1.0, description="Of sampling them.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Least likelihood that is sampled from.")
    bootstraps: PositiveCount = Field(
        1000, description="Resamples of clusters of antigens behind the intervals of the antigen and the pKd effect."
    )
    min_diversity: Fraction = Field(0.5, description="Warn below this share of different antibodies.")
    max_gap: PositiveNumber = Field(1.0, description="Warn where validation exceeds training loss by more, in nats.")
    max_run: PositiveCount = Field(6, description="Warn of, and count as invalid, longer runs of one letter.")
