"""The data module of every family: batch plans served so that a run can stop and go on at any batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from tabstar_lit.data.plans import BatchPlan, PlanSampler
from tabstar_lit.engine.devices.rows import DeviceDataset, PlanLoader, place_of
from tabstar_lit.engine.lean import LeanModule
from tabstar_lit.engine.runs.signals import leave_to_main_process


class DataModule(LightningDataModule, ABC):
    """Serve the batches of a training and a validation plan.

    A family implements the two datasets (a batch key of the plan in, a finished batch out) and the two plans. The
    position within the training plan is counted here and saved with every checkpoint.

    Parameters
    ----------
    loader_options : dict
        Passed to :class:`torch.utils.data.DataLoader`: ``num_workers``, ``prefetch_factor``, ``pin_memory``,
        ``persistent_workers``; and ``cache``, see :func:`~tabstar_lit.engine.devices.rows.place_of`.
    """

    def __init__(self, loader_options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.loader_options = dict(loader_options or {})
        self._position = (0, 0)
        self._sampler: PlanSampler[Any] | None = None

    # -- what a family provides ---------------------------------------------------------------------------------------

    @abstractmethod
    def train_plan(self) -> BatchPlan[Any]:
        """Return the plan of the training batches, a pure function of (seed, epoch)."""

    @abstractmethod
    def val_plan(self) -> BatchPlan[Any]:
        """Return the plan of the validation batches: every row once."""

    @abstractmethod
    def train_dataset(self) -> Dataset[Any]:
        """Return the dataset that turns a key of the training plan into a batch."""

    @abstractmethod
    def val_dataset(self) -> Dataset[Any]:
        """Return the dataset that turns a key of the validation plan into a batch."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the data this run is trained on."""

    @property
    def earlier_fingerprints(self) -> tuple[str, ...]:
        """Hashes by which runs of earlier releases know the same data."""
        return ()

    @property
    def about(self) -> str:
        """What a user should know of the data before the training: a line for log and report, or nothing."""
        return ""

    # -- what the engine does with it ---------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share, standing where the run was stopped."""
        self._sampler = self._sharded(self.train_plan())
        self._sampler.start_at(*self._position)
        return self.loader(self.train_dataset(), self._sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share of the validation rows."""
        return self.loader(self.val_dataset(), self._sharded(self.val_plan()))

    @property
    def test_side(self) -> str:
        """What :meth:`test_dataloader` serves: ``test``, or ``val`` where there are no test rows."""
        return "val"

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the validation loader: a family with a test split overrides this and :attr:`test_side`."""
        return self.val_dataloader()

    def loader(self, dataset: Dataset[Any], sampler: PlanSampler[Any]) -> DataLoader[Any]:
        """Return a loader whose sampler yields whole-batch keys and whose dataset answers with whole batches.

        On a card, either the dataset lives there and a batch is indexed where it is, or batches come in page-locked
        memory, made ahead of the training by a thread where that reads from a disk. (A thread that only computes would
        keep the interpreter from the training.) Rows and order are the same everywhere.
        """
        options = dict(self.loader_options)
        device = self._device
        place = place_of(dataset, device, options.pop("cache", "auto"))
        if self.trainer:
            cast(LeanModule, self.trainer.lightning_module).batches_in_place = place == "device"
        if place == "device":
            dataset, options = cast("Dataset[Any]", cast(DeviceDataset, dataset).to(device)), {}
        elif device.type == "cuda":
            options["pin_memory"] = True
        if not options.get("num_workers"):
            options.pop("prefetch_factor", None)
            options.pop("persistent_workers", None)
        # Its own generator: making an iterator must not draw from the stream that dropout uses.
        loader = PlanLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
            worker_init_fn=leave_to_main_process,
            **options,
        )
        reads = getattr(dataset, "reads_ahead", False) and not options.get("num_workers")
        loader.ahead = reads and device.type == "cuda"
        return loader

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """Return the number of training batches an epoch has on one of ``world_size`` ranks."""
        return len(PlanSampler(self.train_plan(), rank=0, world_size=world_size))

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _sharded(self, plan: BatchPlan[Any]) -> PlanSampler[Any]:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return PlanSampler(plan, rank=rank, world_size=world_size)

    # -- position -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches that were trained on when the checkpoint was written."""
        if self.trainer is None:
            return {}
        epoch, done = self.trainer.current_epoch, self.trainer.fit_loop.batch_idx + 1
        if self._sampler is not None and done >= len(self._sampler):
            epoch, done = epoch + 1, 0
        return {"epoch": epoch, "batches": done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stand where ``state_dict`` says when the next training loader is made."""
        self._position = (int(state_dict["epoch"]), int(state_dict["batches"]))


def _as_it_is(batch: Any) -> Any:
    """Return a batch as the dataset made it; torch would search it for arrays to convert."""
    return batch
