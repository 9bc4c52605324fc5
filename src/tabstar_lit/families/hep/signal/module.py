"""Training of a signal classifier: weighted events in, logits out, a classification loss and perhaps DisCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.families.hep.batch import EventBatch
from tabstar_lit.families.hep.networks.calibrated import calibrated
from tabstar_lit.families.hep.networks.flops import dense_flops
from tabstar_lit.families.hep.preparation.agreement import require_same_data
from tabstar_lit.families.hep.signal.config import SignalModel
from tabstar_lit.families.hep.signal.losses import LossTerms, SignalLoss


class SignalModule(TrainingModule):
    """Train a network of events to tell classes apart.

    Parameters
    ----------
    network : nn.Module
        From :class:`~tabstar_lit.families.hep.batch.Features` to logits ``[B, K]``, or ``[B, M, K]`` of the ``M``
        members of an ensemble while it is trained.
    loss : SignalLoss
        Loss of the classes, with the correlation terms.
    config : SignalModel
        The ``model_config``.
    payload : Mapping
        What prediction needs beside the weights.
    signal : int
        With two classes, the number of the one whose log-odds the single logit is.
    weighted : bool
        Whether events have weights in the loss.
    disco_columns : mapping of str to int
        Variables the score shall not depend on, and their columns among the spectators.
    """

    unit = "events"
    records_steps = True

    def __init__(
        self,
        network: nn.Module,
        loss: SignalLoss,
        config: SignalModel,
        payload: Mapping[str, Any],
        *,
        signal: int,
        weighted: bool,
        disco_columns: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(network, config, payload)
        self.loss = loss
        self.signal = signal
        self.weighted = weighted
        self.disco_columns = dict(disco_columns or {})

    def adopt(self, payload: Mapping[str, Any]) -> None:
        """Put the calibration of the evaluated checkpoint behind the network.

        Raises
        ------
        CheckpointError
            It was trained on features in another order or scaling, or on other classes: its weights would fit, and its
            scores would be wrong.
        """
        require_same_data(
            payload.get("preprocessing"),
            self.payload["preprocessing"],
            "Evaluate it with the dataset_config and the events it was trained with; score other events with "
            "`tabstar_lit predict`.",
        )
        self.network = calibrated(self.network, payload)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with other data, which the weights would fit but not mean."""
        super().on_load_checkpoint(checkpoint)
        remedy = "Go on with the data it was begun with, or begin another run, which may load its weights."
        theirs = checkpoint[CHECKPOINT_KEY]["payload"].get("preprocessing")
        require_same_data(theirs, self.payload["preprocessing"], f"{remedy} See load_modules.")

    def compute(self, batch: EventBatch) -> StepOutput:
        """Return the loss of a batch, with DisCo also its terms, and the columns of the tracker.

        Columns are raw ``logits`` ``[B, K]``, class numbers ``targets``, signed ``weights`` and, where there are any,
        ``spectators`` ``[B, S]``. Terms are the loss of the classes, and the correlations without their factor.
        """
        logits: Tensor = self.network(batch.features)
        weights = batch.loss_weights if self.weighted else None
        variables = batch.spectators[:, list(self.disco_columns.values())] if self.disco_columns else None
        parts = self._losses(logits, batch.targets, weights, variables)
        scores = logits.detach()
        columns = {
            "logits": scores.mean(1) if scores.ndim == 3 else scores,
            "targets": batch.targets,
            "weights": batch.event_weights,
        }
        return StepOutput(
            _mean([part.total for part in parts]),
            source="events",
            size=len(batch.targets) if weights is None else weights.sum(),
            terms=self._terms(parts) if self.disco_columns else {},
            work=len(batch.targets),
            flops=dense_flops(self.network, batch.features) if self.training else None,
            columns=columns | ({"spectators": batch.spectators} if batch.spectators.shape[1] else {}),
        )

    def _losses(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None, variables: Tensor | None
    ) -> list[LossTerms]:
        """Return the loss of a network, or of each member of an ensemble, which are judged for themselves."""
        expected = (targets == self.signal).to(logits.dtype) if logits.shape[-1] == 1 else targets
        members = logits.unbind(1) if logits.ndim == 3 else (logits,)
        return [self.loss(member, expected, weights, variables) for member in members]

    def _terms(self, parts: Sequence[LossTerms]) -> dict[str, Tensor]:
        correlations = _mean([part.correlations.detach() for part in parts])
        named = {f"correlation_{name}": value for name, value in zip(self.disco_columns, correlations, strict=True)}
        return {"classification": _mean([part.classification.detach() for part in parts]), **named}


def _mean(members: Sequence[Tensor]) -> Tensor:
    return members[0] if len(members) == 1 else torch.stack(list(members)).mean(0)
