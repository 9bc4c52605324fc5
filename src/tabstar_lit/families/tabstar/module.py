"""Training of the TabSTAR network: one table per batch, the loss of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from tabstar_lit.engine.devices.replays import Pieces
from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TabstarModel
from tabstar_lit.families.tabstar.deployment.stored import LORA_A, LORA_B, require_same
from tabstar_lit.families.tabstar.flops import StepFlops
from tabstar_lit.families.tabstar.heads import RegressionHead
from tabstar_lit.families.tabstar.losses import MultiTaskLoss
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.replaying import pieces_of


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
    records_steps = True

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

        These are ``predictions``, class probabilities ``[B, C]`` or scaled values ``[B]``, and ``targets``.
        """
        outputs: Tensor = self.network(batch)
        head = cast(RegressionHead, self.network.reg_head)
        loss = self.loss(outputs, batch.targets, batch.weights, head=head)
        if self.training:
            return StepOutput(loss, batch.source, len(batch), flops=self._flops_of(batch))
        scores = outputs.detach().float()
        predictions = scores.softmax(dim=-1) if batch.task == "classification" else head.values(scores)
        columns = {"predictions": predictions, "targets": batch.targets}
        if batch.offsets is not None:
            columns = {name: column + batch.offsets for name, column in columns.items()}
        return StepOutput(loss, batch.source, len(batch), columns=columns)

    def pieces(self, batch: TableBatch) -> Pieces | None:
        """Return a batch with its strings padded to one of few sizes."""
        return pieces_of(batch, cast(TabStarNetwork, self.network))

    def replayed(self, output: StepOutput, batch: TableBatch) -> StepOutput:
        """Return the output of a step with the table that it is of, and the operations that it asks for."""
        return replace(output, source=batch.source, flops=self._flops_of(batch))

    # -- checkpoints of adapters --------------------------------------------------------------------------------------

    def accept(self, payload: Mapping[str, Any]) -> None:
        """Refuse adapters of another model than the one that is fine-tuned here."""
        if "lora" in payload and "lora" in self.payload:
            require_same(payload["base"], self.payload["base"]["weights"], "the checkpoint")

    def complete(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a checkpoint with those of the base, which one of adapters leaves out."""
        own = self.network.state_dict() if "lora" in self.payload else {}
        return {name: weight for name, weight in own.items() if not _of_adapter(name)} | dict(weights)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the base out where adapters are trained: it is known, and does not change."""
        super().on_save_checkpoint(checkpoint)
        if "lora" in self.payload:
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: weight for name, weight in weights.items() if _of_adapter(name)}

    def _flops_of(self, batch: TableBatch) -> float:
        if self._flops is None:
            self._flops = StepFlops(cast(TabStarNetwork, self.network))
        return self._flops.of(batch, remembered=self.network.frozen_lookup is not None)


def _of_adapter(name: str) -> bool:
    return name.endswith((LORA_A, LORA_B))
