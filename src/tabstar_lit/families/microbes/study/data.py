"""The study of a run as batches: training in a new order each epoch, validation and test in that of the study."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.data.plans import RowBatch, RowPlan, SequentialPlan, cut
from tabstar_lit.engine.data import DataModule
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.study.batch import SampleBatch
from tabstar_lit.families.microbes.study.labels import group_codes, read_categories, read_targets, texts
from tabstar_lit.families.microbes.study.samples import Labels, SampleBatches
from tabstar_lit.families.microbes.study.splits import SIDES, keep_labels, split_samples
from tabstar_lit.families.microbes.study.study import Study

log = logging.getLogger(__name__)


class PairedPlan(RowPlan):
    """All training samples once an epoch, in random order; no batch holds a single one, which has no distance to any.

    Parameters
    ----------
    rows : NDArray of int64
        The training samples.
    batch_size : int
        Samples in a batch; the last may have fewer, or one more.
    seed : int
        Of the experiment.
    """

    def __init__(self, rows: Int64, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed

    def batches(self, epoch: int) -> list[RowBatch]:
        """Return the batches of ``epoch``."""
        parts = paired(np.random.default_rng([self._seed, epoch]).permutation(self._rows), self._batch_size)
        return [RowBatch(0, part) for part in parts]


class PairedSequence(SequentialPlan):
    """Every sample once, in order; the last batch takes in a single one that would be left.

    Parameters
    ----------
    rows : NDArray of int64
        The samples.
    batch_size : int
        Samples in a batch.
    """

    def __init__(self, rows: Int64, batch_size: int) -> None:
        super().__init__([], batch_size)
        self._batches = [RowBatch(0, part) for part in paired(rows, batch_size)]


def paired(rows: Int64, batch_size: int) -> list[Int64]:
    """Return rows in pieces of ``batch_size``; a single last one joins the piece before."""
    parts = cut(rows, batch_size)
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


class MicrobesData(DataModule):
    """The samples of a study as training, validation and test batches.

    Parameters
    ----------
    config : MicrobesDataset
        Which columns are read and predicted, and how samples are split.
    study : Study
        The samples.
    seed : int
        Seed of the experiment: fixes the order of training samples.
    labelled : bool, default False
        Serve only samples that have a target.

    Attributes
    ----------
    facts : StudyFacts
        What networks, losses and figures need to know.
    sides : NDArray of int8
        ``[N]`` split of each sample, a position in ``SIDES``.
    targets : Targets
        Of all samples.
    categories, groups : NDArray of int64
        ``[N, C]`` and ``[N]`` numbers of all samples.

    Raises
    ------
    DataError
        A column is not in the study, there are no sequences, or a split is empty.
    """

    def __init__(self, config: MicrobesDataset, study: Study, *, seed: int, labelled: bool = False) -> None:
        super().__init__(config.dataloader_kwargs.model_dump(exclude={"batch_size"}))
        self.config, self.study, self.seed = config, study, seed
        self.targets = read_targets(study, config.target)
        classes = self.targets.values if self.targets.kind == "classification" else None
        self.sides = split_samples(study.sample_ids, study.groups(), config.split, config.folds, classes)
        self._served = self._labelled() if labelled else np.ones(len(study), dtype=bool)
        self._say_what_is_missing()
        training = self.rows("train")
        self.categories, self.category_labels = read_categories(study, config.categories, training)
        self.groups, self.group_names = group_codes(study)
        self._dataset = SampleBatches(
            study,
            Labels(self.targets.values, self.categories, self.groups),
            max_asvs=config.max_asvs,
            max_bases=config.max_bases,
        )
        self.facts = self._facts(training)

    def rows(self, split: str) -> Int64:
        """Return the served samples of ``train``, ``val`` or ``test``, as rows of the study.

        Raises
        ------
        DataError
            It has none, or only one, which has no distance to another.
        """
        rows = np.flatnonzero((self.sides == SIDES.index(split)) & self._served)
        if len(rows) < 2 and (split != "test" or self._tests):
            raise DataError(
                f"the {split} split of the study '{self.study.name}' has {len(rows)} samples with a target; it needs "
                "two at least. Give it a larger share in dataset_config.split, or bring more samples."
            )
        return rows

    def samples(self) -> Iterator[SampleBatch]:
        """Yield every sample of the study once, always in the same batches."""
        for part in paired(np.arange(len(self.study)), self.config.dataloader_kwargs.batch_size):
            yield self._dataset[RowBatch(0, part)]

    def train_plan(self) -> PairedPlan:
        """Return the plan of the training batches."""
        return PairedPlan(self.rows("train"), self.config.dataloader_kwargs.batch_size, self.seed)

    def val_plan(self) -> PairedSequence:
        """Return the plan of the validation batches."""
        return PairedSequence(self.rows("val"), self.config.dataloader_kwargs.batch_size)

    def train_dataset(self) -> SampleBatches:
        """Return the dataset that serves training batches."""
        return self._dataset

    def val_dataset(self) -> SampleBatches:
        """Return the dataset that serves all other batches."""
        return self._dataset

    @property
    def test_side(self) -> str:
        """Return ``test``: these families have rows for it."""
        return "test"

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's test samples; of its validation samples where none are set apart."""
        if not self._tests:
            return self.val_dataloader()
        plan = PairedSequence(self.rows("test"), self.config.dataloader_kwargs.batch_size)
        return self.loader(self._dataset, self._sharded(plan))

    @property
    def fingerprint(self) -> str:
        """Hash of the study and of how it is used."""
        used = self.config.model_dump(mode="json", exclude={"name", "study", "baseline", "dataloader_kwargs"})
        return hashlib.sha256(f"{self.study.checksum} {json.dumps(used, sort_keys=True)}".encode()).hexdigest()

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to read other tables as this study was read."""
        return {
            "name": self.study.name,
            "made_from": dict(self.study.made_from),
            "max_asvs": self.config.max_asvs,
            "max_bases": self.config.max_bases,
            "categories": {name: list(labels) for name, labels in self.category_labels.items()},
            "samples": {side: [self.study.sample_ids[row] for row in self._on(side)] for side in SIDES},
        }

    @property
    def _tests(self) -> bool:
        return self.config.folds is not None or self.config.split.test > 0

    def _labelled(self) -> Bool:
        """Return which samples have a target that is used, ``[N]``."""
        known, labels = self.targets.known, self.config.labels
        if labels is None:
            return known
        training = known & (self.sides == SIDES.index("train"))
        classes = self.targets.values if self.targets.kind == "classification" else None
        left_out = training & ~keep_labels(self.study.groups(), training, labels, classes)
        n_used, n_training = int((training & ~left_out).sum()), int(training.sum())
        log.info("Targets of %d of %d training samples are used.", n_used, n_training)
        used: Bool = known & ~left_out
        return used

    def _on(self, side: str) -> list[int]:
        return np.flatnonzero(self.sides == SIDES.index(side)).tolist()

    def _facts(self, training: Int64) -> StudyFacts:
        study, targets, known = self.study, self.targets, self.study.distances
        values = targets.values[training]
        largest = max((float(self._dataset.counts[int(row)].max(initial=0)) for row in training), default=1.0)
        return StudyFacts(
            max_bases=self._dataset.max_bases,
            max_asvs=self._dataset.max_asvs,
            kind=targets.kind,
            targets=targets.names,
            classes=targets.classes,
            categories={name: len(labels) for name, labels in self.category_labels.items()},
            taxa=study.taxa,
            train_rows=training,
            train_targets=values if targets.kind == "classification" else values.astype(np.float64),
            train_categories=self.categories[training],
            train_faith_pd=np.full(len(training), np.nan) if study.faith_pd is None else study.faith_pd[training],
            train_counts_max=largest,
            group_names=self.group_names,
            metadata=texts(study, [*targets.names, *self.config.categories, *([study.group] if study.group else [])]),
            distances=None if known is None else lambda rows: known[np.ix_(rows, rows)],
        )

    def _say_what_is_missing(self) -> None:
        if n_missing := int((~self._served).sum()):
            log.info(
                "%d of %d samples have no %s and are left out of the predictor.",
                n_missing,
                len(self.study),
                " and no ".join(self.targets.names),
            )
        if self.targets.kind != "classification":
            return
        for number, name in enumerate(self.targets.classes):
            if not ((self.sides == 0) & (self.targets.values == number)).any():
                log.warning("No training sample is of class '%s': the network can never predict it.", name)
