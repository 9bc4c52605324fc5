"""``training_config`` of a density-ratio model: what all trainings have, and what makes replicas of its heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from tabstar_lit.config.schema import LossConfig, TrainingConfig
from tabstar_lit.config.schema.base import NonNegativeNumber
from tabstar_lit.config.tree import Problem

DEFAULT_LOSS = "bce"


class FakesTraining(TrainingConfig):
    """How a density ratio is learned; the default loss is bce."""

    w_lambda: NonNegativeNumber | None = Field(
        None, description="Factor on the mean squared log-ratio, which shrinks ratios to 1; null adds none."
    )
    ess_lambda: NonNegativeNumber | None = Field(
        None,
        description="Factor on the penalty for a small effective sample size of reweighted events; null adds none.",
    )
    ess_form: Literal["normalised", "original"] = Field(
        "normalised",
        description="normalised: 1 - n/B, whatever the size B of the batch; original: 1/n as in SeeSawML.",
    )
    mc_norm_sigma: NonNegativeNumber = Field(
        0.0,
        description="Relative uncertainty of the simulation's normalisation: each head takes its own factor, the same "
        "in numerator and denominator.",
    )
    poisson_bootstrap: bool = Field(
        False, description="Each head learns from its own bootstrap sample, fixed by seed, head and event."
    )
    balanced_replicas: bool = Field(
        False,
        description="Bootstrap samples of all heads hold each event as often as there are heads, and factors on the "
        "simulation cancel: heads differ as much, and their mean is what the whole sample gives.",
    )
    twins: NonNegativeInt = Field(
        0,
        description="So many heads at the end, at most half of them, learn from the same bootstrap samples as the "
        "first ones: how far the two are apart is what training adds to the spread of the heads.",
    )
    weight_clip_quantile: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Clip weights, in the ratio stage those of the subtraction, at this quantile of their size; null "
        "clips none.",
    )
    negative_weights: Literal["bounded", "correction", "plain", "absolute", "zero"] = Field(
        "bounded",
        description="Negative weights. bounded: as they are, with ratios kept between 1/max_ratio and max_ratio; "
        "plain: as they are, and ratios without bound; correction: keep the sum of the risk above its bound, which may "
        "lead to ratios of 0 everywhere; absolute, zero: without sign or as nothing, and the ratio of other densities.",
    )
    max_ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        1000.0,
        description="Ratios lie between 1 over it and it: in the subtraction, and with negative_weights: bounded "
        "wherever they are learned or predicted.",
    )

    @property
    def loss_name(self) -> str:
        """The name of the loss."""
        return self.loss.loss_name if isinstance(self.loss, LossConfig) else self.loss or DEFAULT_LOSS

    @property
    def draws_replicas(self) -> bool:
        """Whether heads differ in what they learn from."""
        return self.poisson_bootstrap or self.mc_norm_sigma > 0

    @property
    def balances_replicas(self) -> bool:
        """Whether what they differ in adds up to nothing."""
        return self.draws_replicas and self.balanced_replicas

    def twins_among(self, heads: int) -> int:
        """Return how many of so many heads are twins of others."""
        return min(self.twins, heads // 2)

    @property
    def bound(self) -> float | None:
        """Greatest ratio that is learned or predicted, and the inverse of the least; None where there is none."""
        return self.max_ratio if self.negative_weights == "bounded" else None

    def problems(self) -> Iterable[Problem]:
        """Refuse arguments: losses of density ratios have none."""
        yield from super().problems()
        if isinstance(self.loss, LossConfig) and self.loss.loss_params:
            yield Problem(("loss", "loss_params"), f"the loss '{self.loss_name}' takes no arguments; leave them out")
