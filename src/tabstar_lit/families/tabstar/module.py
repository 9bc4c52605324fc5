"""Training of the TabSTAR network: one table per batch, the loss of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarModel
from tabstar_lit.families.tabstar.flops import StepFlops
from tabstar_lit.families.tabstar.losses import MultiTaskLoss
from tabstar_lit.families.tabstar.network import TabStarNetwork


class TabstarModule(TrainingModule):
    """Train a :class:`TabStarNetwork` on classification and regression tables alike.

    Parameters
    ----------
    network : TabStarNetwork
        The network.
    loss : MultiTaskLoss
        Loss by task.
    config : TabstarModel
        The ``model_config``.
    payload : Mapping
        Encoder configuration, tokenizer and table schemas, for prediction from a checkpoint alone.
    """

    leaves_parameters_idle = True  # the head of the other task

    def __init__(
        self, network: TabStarNetwork, loss: MultiTaskLoss, config: TabstarModel, payload: Mapping[str, Any]
    ) -> None:
        super().__init__(network, config, payload)
        self.loss = loss
        self._flops: StepFlops | None = None

    def compile_network(self, backend: str = "inductor") -> None:
        """Compile the parts, each for any number of rows, elements and strings: what is between them is the host's."""
        network = cast(TabStarNetwork, self.network)
        for part in (network.numerical_fusion, network.tabular_encoder):
            part.compile(dynamic=True, backend=backend)
        network.text_encoder.compile_layers(backend)
        network.is_compiled = True

    def compute(self, batch: TableBatch) -> StepOutput:
        """Return the loss of a batch and, unless training, columns of the tracker.

        These are ``predictions``, class probabilities ``[B, C]`` or z-scores ``[B]``, and ``targets``.
        """
        logits: Tensor = self.network(batch)
        loss = self.loss(logits, batch.targets, batch.weights)
        if self.training:
            return StepOutput(loss, batch.source, len(batch), flops=self._flops_of(batch))
        scores = logits.detach().float()
        predictions = scores.softmax(dim=-1) if batch.task == "classification" else scores.squeeze(-1)
        columns = {"predictions": predictions, "targets": batch.targets}
        return StepOutput(loss, batch.source, len(batch), columns=columns)

    def _flops_of(self, batch: TableBatch) -> float:
        if self._flops is None:
            self._flops = StepFlops(cast(TabStarNetwork, self.network))
        return self._flops.of(batch, remembered=self.network.frozen_lookup is not None)
