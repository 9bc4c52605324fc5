"""Training of a density ratio: weighted events of two samples in, log-ratios of every head out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.fakes.config import FakesModel, Role
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble, displaced, over_heads
from tabstar_lit.families.hep.fakes.losses import link_of, loss_of
from tabstar_lit.families.hep.fakes.regularisers import ess_penalty, shrinkage
from tabstar_lit.families.hep.networks.flops import dense_flops
from tabstar_lit.families.hep.preparation.agreement import require_same_data
from tabstar_lit.losses.density_ratio import RatioLoss
from tabstar_lit.losses.ratio_risk import RatioRisk


class FakesModule(TrainingModule):
    """Train a network to be the ratio of two densities (arXiv 2511.06972).

    Parameters
    ----------
    network : nn.Module
        From :class:`~tabstar_lit.families.hep.batch.Features` to outputs ``[B, C]``.
    config : FakesModel
        The ``model_config``.
    payload : Mapping
        What prediction needs beside the weights.
    role : str
        The stage: numerator, denominator or ratio.
    sides : sequence of int
        For each class 1 if its events are the numerator of the ratio, 0 if its denominator.
    mean_weight : float
        Mean size of the weights of the training events.
    ensemble : Ensemble
        How heads are taken together.
    """

    unit = "events"
    records_steps = True
    sides: Tensor

    def __init__(
        self,
        network: nn.Module,
        config: FakesModel,
        payload: Mapping[str, Any],
        *,
        role: Role,
        sides: Sequence[int],
        mean_weight: float,
        ensemble: Ensemble = PLAIN,
    ) -> None:
        super().__init__(network, config, payload)
        self.role, self.ensemble = role, ensemble
        options = self.options = config.training_config
        self.risk = RatioRisk(
            loss_of(options.loss_name, role),
            options.negative_weights,
            mean_weight=mean_weight,
            max_ratio=options.max_ratio,
        )
        self.link: RatioLoss = self.risk.loss
        self.register_buffer("sides", torch.tensor(sides), persistent=False)

    def adopt(self, payload: Mapping[str, Any]) -> None:
        """Refuse to evaluate a checkpoint on data it was not trained for; read its outputs as it was trained to."""
        self._require(payload, "Evaluate it with the dataset_config and the events it was trained with.")
        self.link = link_of(payload)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with other data, which the weights would fit but not mean."""
        super().on_load_checkpoint(checkpoint)
        payload = checkpoint[CHECKPOINT_KEY]["payload"]
        self._require(payload, "Go on with the data it was begun with, or begin another run.")

    def _require(self, payload: Mapping[str, Any], remedy: str) -> None:
        if payload.get("role") != self.role:
            raise CheckpointError(
                f"The checkpoint is of the role {payload.get('role')}, and this stage of {self.role}. Name its stage: "
                f"stages=[{payload.get('role')}]."
            )
        require_same_data(payload.get("preprocessing"), self.payload["preprocessing"], remedy)

    def compute(self, batch: EventBatch) -> StepOutput:
        """Return the risk of a batch with its penalties, and the columns of the tracker.

        Columns are ``log_ratios`` ``[B, C]``, ``targets`` (1 and 0 for the two samples), signed ``weights`` and, in the
        file's units, the ``variables`` ``[B, S]`` carried along; outside of training the uncertainty ``std`` ``[B]``,
        where it is averaged around events. Terms are risk and penalties without their factors.
        """
        outputs: Tensor = self.network(batch.features)
        targets = self.sides[batch.targets]
        log_ratios = self.link.log_ratio(outputs)
        loss = risk = self.risk(outputs, targets, batch.loss_weights)
        penalties = self._penalties(log_ratios)
        for factor, penalty in penalties.values():
            loss = loss + factor * penalty
        return StepOutput(
            loss,
            source=self.role,
            size=len(targets),
            flops=dense_flops(self.network, batch.features) if self.training else None,
            terms={"risk": risk, **{name: penalty for name, (_, penalty) in penalties.items()}} if penalties else {},
            columns={
                "log_ratios": log_ratios.detach(),
                "targets": targets,
                "weights": batch.event_weights,
                "variables": batch.spectators,
                **self._averaged_spread(batch.features, log_ratios),
            },
        )

    def _averaged_spread(self, features: Features, log_ratios: Tensor) -> dict[str, Tensor]:
        """Return the uncertainty of events ``[B]`` that is averaged around them; nothing in training, or without."""
        if self.training or not self.ensemble.radius:
            return {}
        moved = displaced(features.numerical, self.ensemble.radius)
        around = [self.link.log_ratio(self.network(features._replace(numerical=own))).float() for own in moved]
        return {"std": over_heads(log_ratios.float(), self.ensemble, around).std}

    def _penalties(self, log_ratios: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Return factor and size of every penalty that is asked for."""
        penalties = {}
        if self.options.w_lambda:
            penalties["shrinkage"] = self.options.w_lambda, shrinkage(log_ratios)
        if self.options.ess_lambda:
            penalties["ess_penalty"] = self.options.ess_lambda, ess_penalty(log_ratios, self.options.ess_form)
        return penalties
