"""``training_config`` of a signal classifier: what all trainings have, and DisCo."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tabstar_lit.config.schema import Section, TrainingConfig
from tabstar_lit.config.schema.base import Name, NonNegativeNumber, PositiveNumber


class DiscoConfig(Section):
    """Distance correlation that keeps the score of background independent of variables (arXiv 2001.05310)."""

    variables: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="Flat features or spectators the score shall not depend on, such as a mass."
    )
    strength: NonNegativeNumber = Field(
        alias="lambda", description="Factor on the sum of the correlations in the loss; 0 only measures them."
    )
    power: PositiveNumber = Field(
        1.0, description="Exponent of the squared distance correlation; 0.5 is the distance correlation itself."
    )
    weighted: bool = Field(False, description="Use the weights of the loss (event and class weights) in it.")
    multiclass_reduction: Literal["logits", "entropy"] = Field(
        "logits",
        description="With more than two classes: the sum over the correlations of all logits, or the "
        "correlation of the entropy of the class probabilities.",
    )


class SignalTraining(TrainingConfig):
    """How a signal classifier is trained; the default loss is bce for two classes and ce for more."""

    disco: DiscoConfig | None = Field(
        None, description="Distance correlation added to the loss, over background events; null adds none."
    )
