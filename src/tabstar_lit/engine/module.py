"""The LightningModule of every family: a network, a loss, and what the configuration says about training them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tabstar_lit.config.schema import ModelConfig
from tabstar_lit.engine.callbacks.monitor import score_of_epoch
from tabstar_lit.engine.devices.replays import Pieces, Replays, pieces_of
from tabstar_lit.engine.finite import Checked, FiniteGuard, takes_found_inf
from tabstar_lit.engine.lean import LeanModule, gradient_norm
from tabstar_lit.engine.optim.optimizers import build_optimizer
from tabstar_lit.engine.optim.parameter_groups import parameter_groups
from tabstar_lit.engine.optim.schedulers import EpochDecay, build_scheduler
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, CHECKPOINT_SCHEMA_VERSION
from tabstar_lit.engine.weights.loading import NETWORK, difference_table, network_part
from tabstar_lit.engine.weights.transfer import apply_freeze, frozen_modules
from tabstar_lit.errors import CheckpointError
from tabstar_lit.nn.compiling import compile_in_place


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a family computes for one batch, in training and in validation alike.

    Attributes
    ----------
    loss : Tensor
        Scalar mean over the batch, differentiable while training.
    source : str
        Which named source (table, process, domain) the batch came from.
    size : float or Tensor
        Number of rows ``B`` the loss is a mean over, or the sum of their weights where it is a weighted mean; losses of
        batches are averaged by it, and so are their terms. A scalar tensor is left on its device until it is read.
    terms : Mapping of str to Tensor
        Named parts of the loss, or what it is made of: scalars over the same rows. They are logged as
        ``train_<term>``, ``val_<term>`` and, where there are several sources, ``val_<term>/<source>``; those that
        :meth:`ModelConfig.loss_terms` declares may be monitored.
    work : float or None
        Rows, events or tokens trained on, for the run's speed; None: ``size``.
    flops : float or Tensor or None
        Operations of a training step that the arithmetic asks for, padding left out; a scalar tensor is read later.
    columns : Mapping of str to Tensor
        ``[B, ...]`` by name, of any type. The tracker keeps those it asks for and nothing else of a batch.
    """

    loss: Tensor
    source: str
    size: float | Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    work: float | None = None
    flops: float | Tensor | None = None


class TrainingModule(LeanModule, ABC):
    """Wrap a network for training as ``model_config`` says.

    Parameters
    ----------
    network : nn.Module
        What is trained; its weights are the ``network.*`` entries of a checkpoint.
    config : ModelConfig
        Freezing, optimizer, scheduler, clipping and the policy for non-finite values.
    payload : Mapping
        Plain values and tensors that prediction needs beside the weights; stored in every checkpoint.

    Attributes
    ----------
    unit : str
        What ``size`` or ``work`` counts, for the name of the run's speed: ``rows``, ``events`` or ``tokens``.
    leaves_parameters_idle : bool
        Whether a batch may leave trained parameters without a gradient, which several processes must agree on.
    records_steps : bool
        Whether a training step may be recorded: it computes the same for the same batch but for dropout, draws nothing
        on the host, and all that it depends on is in :meth:`pieces`.
    accumulate_by : str
        How the batches of a step count; a run goes on as it was begun, whatever is configured.
    finite : FiniteGuard
        Keeps steps that are not finite from the weights, and counts them.
    replays : Replays or None
        Computes training steps by recordings of earlier ones, where that is asked for and a card trains.
    metrics_every : int or None
        Epochs from one computation of metrics to the next; between them the plateau scheduler waits for a value.
    """

    unit: ClassVar[str] = "rows"
    leaves_parameters_idle: ClassVar[bool] = False
    records_steps: ClassVar[bool] = False

    def __init__(self, network: nn.Module, config: ModelConfig, payload: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.payload = dict(payload)
        self.freeze_report = apply_freeze(network, config.freeze, config.unfreeze_last)
        self.steps_per_epoch = 1
        self.metrics_every: int | None = 1
        self.finite = FiniteGuard(config.training_config.non_finite)
        self._plateau: ReduceLROnPlateau | None = None
        self._decay: EpochDecay | None = None
        self._window: list[tuple[Tensor, str]] = []
        self.accumulate_by: str = config.training_config.accumulate_by
        self._weighs = False
        self._sizes: list[float | Tensor] = []
        self.replays: Replays | None = None
        self._resumed: dict[str, Any] = {}

    @abstractmethod
    def compute(self, batch: Any) -> StepOutput:
        """Run the network on one batch and return its loss, its terms and the columns a tracker may want."""

    def accept(self, payload: Mapping[str, Any]) -> None:
        """Refuse, before its weights are looked at, a checkpoint whose payload says that it goes with other data.

        Raises
        ------
        CheckpointError
            It does; says what differs, which shapes of weights would not.
        """

    def complete(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a checkpoint, ``[name in the network, tensor]``, with those that it leaves out.

        A family whose checkpoints hold a part of the network only, such as adapters, adds what the network has already.
        """
        return dict(weights)

    def compile_network(self, backend: str = "inductor") -> None:
        """Let ``torch.compile`` make kernels for the network, in place: the names of its weights stay."""
        compile_in_place(self.network, backend=backend)

    def pieces(self, batch: Any) -> Pieces | None:
        """Return a batch as a recording of its step reads it; None where it has to be computed as it comes."""
        return pieces_of(batch)

    def replayed(self, output: StepOutput, batch: Any) -> StepOutput:
        """Return what a replayed step computed with what the host knows of its batch, beyond tensors and facts."""
        return output

    def adopt(self, payload: Mapping[str, Any]) -> None:
        """Take over, before evaluation, what the payload of a checkpoint does to its network, as a calibration."""

    # -- steps --------------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Find out whether several batches make a step: then they count by their sizes."""
        training = self.config.training_config
        several = training.accumulate_grad_batches > 1 or self.trainer.world_size > 1
        self._weighs = several and self.accumulate_by == "weight"
        if several and self.accumulate_by != training.accumulate_by:
            rank_zero_warn(f"The run was begun with accumulate_by: {self.accumulate_by}, and goes on so.")
        if training.cuda_graphs and self.device.type == "cuda":
            self.replays = Replays(self.compute, [p for p in self.network.parameters() if p.requires_grad])

    def on_fit_end(self) -> None:
        """Let go of what was recorded."""
        self.replays = None

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the loss for Lightning, which scales it when accumulating, and what the training log needs."""
        output = self._computed(batch)
        mean = output.loss.detach()
        self._window.append((mean, output.source))
        terms = {name: term.detach() for name, term in output.terms.items()}
        if self._weighs:
            self._sizes.append(output.size)
        return {
            "loss": output.loss * output.size if self._weighs else output.loss,
            "mean": mean,
            "terms": terms,
            "source": output.source,
            "size": output.size,
            "work": output.size if output.work is None else output.work,
            "flops": output.flops,
        }

    def _computed(self, batch: Any) -> StepOutput:
        """Return the output of a training step, by a recording where there is one."""
        if self.replays is None:
            return self.compute(batch)
        pieces = self.pieces(batch)
        if pieces is None:
            self.replays.forget()
            return self.compute(batch)
        return self.replayed(self.replays.step(pieces), batch)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients, or take over those that a replayed step has computed with its loss."""
        if self.replays is None or not self.replays.is_replayed:
            super().backward(loss, *args, **kwargs)
            return
        batches = self.config.training_config.accumulate_grad_batches
        self.replays.hand_over(self._sizes[-1] / batches if self._weighs else 1.0 / batches)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the :class:`StepOutput`, all that the tracker needs: there is no second forward pass."""
        return self.compute(batch)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the :class:`StepOutput`, as in validation."""
        return self.compute(batch)

    def train(self, mode: bool = True) -> TrainingModule:
        """Switch to training, leaving frozen modules deterministic (no dropout, fixed statistics)."""
        super().train(mode)
        for module in frozen_modules(self.network):
            module.eval()
        return self

    # -- optimization -------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build optimizer and scheduler by name; the plateau scheduler is stepped here, see on_train_epoch_end."""
        training = self.config.training_config
        groups = parameter_groups(self.network, training)
        optimizer = build_optimizer(training.optimizer, groups, loss_scaling=self._has_loss_scaler)
        if training.reduce_lr_on_epoch is not None:
            self._decay = EpochDecay(optimizer, training.reduce_lr_on_epoch)
        scheduler = build_scheduler(
            training.scheduler,
            optimizer,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            monitor_mode=training.monitor_mode,
        )
        if isinstance(scheduler, ReduceLROnPlateau):
            self._plateau = scheduler
        self._restore_schedules()
        if scheduler is None or training.scheduler is None or self._plateau is not None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": training.scheduler.interval},
        }

    def _restore_schedules(self) -> None:
        for name, schedule in (("plateau", self._plateau), ("decay", self._decay)):
            if schedule is not None and self._resumed.get(name):
                schedule.load_state_dict(self._resumed[name])

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole stage, from the batch plan's length."""
        training = self.config.training_config
        steps = self.steps_per_epoch * training.max_epochs
        return steps if training.max_steps is None else min(steps, training.max_steps)

    def plan_steps(self, batches_per_epoch: int) -> None:
        """Tell the module how many batches an epoch has on this rank, before the optimizer is built."""
        self.steps_per_epoch = math.ceil(batches_per_epoch / self.config.training_config.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Check the gradient norm before the step, then clip with that same norm."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self._weighs:
            self._average(gradients)
        known = None if self._weighs or self.replays is None else self.replays.norm
        norm = gradient_norm(gradients) if known is None else known
        self._check(optimizer, norm)
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def _average(self, gradients: list[Tensor]) -> None:
        """Divide gradients of sums by what the batches of this step weigh together, on all devices.

        Lightning has divided them by the number of batches, and torch by that of the devices.
        """
        total, self._sizes = sum(self._sizes), []
        if not gradients:
            return
        dtype = torch.promote_types(gradients[0].dtype, torch.float32)
        weight = torch.zeros((), dtype=dtype, device=gradients[0].device).add_(total)
        weight = self.trainer.strategy.reduce(weight, reduce_op="mean")
        batches = self.config.training_config.accumulate_grad_batches
        torch._foreach_mul_(gradients, torch.where(weight == 0, 0.0, batches / weight))

    def _check(self, optimizer: Optimizer, norm: Tensor) -> None:
        """Keep a step that is not finite from the weights; where only the host can, it has to wait and look."""
        losses, sources = zip(*self._window, strict=True)
        self._window = []
        step, epoch = self.trainer.global_step + 1, self.trainer.current_epoch
        scaled = self._has_loss_scaler  # it expects overflowing gradients and skips them itself
        if scaled:
            norm = torch.zeros_like(norm)
        found: Any = self.finite.check(Checked(step, epoch, sources, losses, norm))
        if not scaled and takes_found_inf(optimizer):
            optimizer.found_inf = found  # type: ignore[attr-defined]  # torch's name for it
        elif self.finite.read():
            optimizer.zero_grad(set_to_none=True)  # the optimizer leaves parameters without a gradient untouched

    @property
    def skipped_steps(self) -> int:
        """Optimizer steps left out so far because they were not finite, of those that have been read."""
        return self.finite.skipped

    @property
    def _has_loss_scaler(self) -> bool:
        return self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def on_train_epoch_end(self) -> None:
        """Read what the steps left, and step what runs once an epoch, before this epoch's checkpoint is written."""
        self.finite.read()
        if not self.trainer.is_last_batch:  # the run ends inside the epoch, at max_steps or max_time
            return
        validated = (self.trainer.current_epoch + 1) % (self.trainer.check_val_every_n_epoch or 1) == 0
        if self._plateau is not None and validated:
            score = self._plateau_score()
            if score is not None:
                self._plateau.step(score)
        if self._decay is not None:
            self._decay.step()

    def _plateau_score(self) -> float | None:
        scheduler = self.config.training_config.scheduler
        monitor = (scheduler and scheduler.monitor) or self.config.training_config.monitor
        key = "training_config.scheduler.monitor"
        return score_of_epoch(self.trainer, monitor, metrics_every=self.metrics_every, key=key)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction needs and the state of the once-an-epoch schedules; steps are read first.

        Raises
        ------
        NonFiniteError
            One of them was not finite and ends the run, which writes nothing from there on.
        """
        self.finite.read()
        checkpoint[CHECKPOINT_KEY] = {
            "schema_version": CHECKPOINT_SCHEMA_VERSION,
            "payload": self.payload,
            "skipped_steps": self.finite.skipped,
            "accumulate_by": self.accumulate_by,
            "plateau": None if self._plateau is None else self._plateau.state_dict(),
            "decay": None if self._decay is None else self._decay.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another model with a table of what differs; keep schedule state for later."""
        self.accept(checkpoint[CHECKPOINT_KEY]["payload"])
        weights, rest = network_part(checkpoint["state_dict"])
        checkpoint["state_dict"] = rest | {NETWORK + name: weight for name, weight in self.complete(weights).items()}
        differences = difference_table(self.state_dict(), checkpoint["state_dict"])
        if differences:
            raise CheckpointError(f"The checkpoint holds another model than the configuration builds.\n{differences}")
        self._resumed = checkpoint[CHECKPOINT_KEY]
        self.accumulate_by = self._resumed.get("accumulate_by", "batch")  # without it, from before there was a choice
        self.finite.restore(self._resumed["skipped_steps"])
