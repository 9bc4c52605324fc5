"""The data module of the antibody family: pairs tokenised once, served in batches of similar length."""

from __future__ import annotations

import hashlib
from dataclasses import replace as replaced
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tabstar_lit.arrays import Array, Int64
from tabstar_lit.data.plans import RowBatch, SequentialPlan, source_rng
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.engine.data import DataModule
from tabstar_lit.families.antibody.pairs.batch import GERMLINE_UNKNOWN, PairBatch
from tabstar_lit.families.antibody.pairs.config import AntibodyDataset
from tabstar_lit.families.antibody.pairs.file import Pairs
from tabstar_lit.families.antibody.pairs.plans import BucketPlan
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.selection import sample_rows, select_pairs, split_pairs
from tabstar_lit.families.antibody.pairs.tokens import TOKENIZER

CPU_BATCH, ACCELERATOR_BATCH = 16, 32
KEPT_ANTIBODIES = 50_000
"""Most training antibodies that a checkpoint keeps, for the novelty of generated ones."""


class AntibodyData(DataModule):
    """Pairs of antigen and antibody, split so that validation asks about unseen antigens.

    Parameters
    ----------
    config : AntibodyDataset
        Which pairs, how they are split and served.
    pairs : Pairs
        All that is in the file.
    seed : int
        Of the experiment.

    Attributes
    ----------
    dataset : AntibodyDataset
        The configuration.
    pairs : Pairs
        Those that are used.
    file_rows : NDArray of int64
        ``[N]`` rows of the file that these are.
    split : mapping of str to NDArray of int64
        Rows of ``pairs`` on each side.
    scale : PkdScale
        Of the affinities of training pairs, before ``max_samples``; or the given one.

    Raises
    ------
    DataError
        No pair is left, or a side of the split is empty.
    """

    def __init__(self, config: AntibodyDataset, pairs: Pairs, seed: int) -> None:
        options = config.dataloader_kwargs
        super().__init__(options.model_dump(exclude={"batch_size", "bucket_batches"}))
        self.dataset, self.seed = config, seed
        self.pairs, self.file_rows = select_pairs(pairs, config)
        sides = dict(split_pairs(self.pairs, config.split))
        given = config.pkd_scale
        self.scale = PkdScale(given.mean, given.std) if given else PkdScale.fit(self.pairs.pkd[sides["train"]])
        self.split = sides | {"train": sample_rows(self.pairs, sides["train"], config.max_samples)}
        self._served = PairRows(self.pairs, config)
        self._fingerprint = hashlib.sha256(
            f"{self.pairs.fingerprint}{config.split.model_dump_json()}".encode()
        ).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Hash of the pairs in use and of their split."""
        return self._fingerprint

    @property
    def batch_size(self) -> int:
        """Pairs in a batch."""
        asked = self.dataset.dataloader_kwargs.batch_size
        if asked != "auto":
            return asked
        return ACCELERATOR_BATCH if torch.accelerator.is_available() else CPU_BATCH

    def payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the scale of affinities, limits, and the antibodies that were trained on."""
        texts = sorted({self.pairs.antibodies[row] for row in self.split["train"]})
        kept = source_rng(0, "kept antibodies").permutation(len(texts))[:KEPT_ANTIBODIES]
        rows = TOKENIZER.encode([texts[number] for number in np.sort(kept)])
        return {
            "pkd": self.scale._asdict(),
            "max_antigen": self.dataset.max_antigen_tokens,
            "max_antibody": self.dataset.max_antibody_tokens,
            "germlines": self.germlines,
            "training": {
                "flat": torch.from_numpy(rows.flat.astype(np.uint8)),
                "offsets": torch.from_numpy(rows.offsets),
                "total": len(texts),
            },
        }

    @property
    def germlines(self) -> str:
        """What regions were numbered with."""
        return str(self.pairs.about.get("numbering", "none"))

    def antigens_of(self, rows: Int64) -> Ragged:
        """Return the tokens of the antigen of each pair."""
        return self._served.antigens.take(self.pairs.antigen[rows])

    def train_plan(self) -> BucketPlan:
        """Return the plan of the training batches."""
        rows = self.split["train"]
        pool = self.dataset.dataloader_kwargs.bucket_batches
        return BucketPlan(rows, self._served.lengths[rows], self.batch_size, pool=pool, seed=self.seed)

    def val_plan(self) -> SequentialPlan:
        """Return the plan of the validation batches: every pair once, of different antigens in each batch."""
        return self.plan_of("val")

    def plan_of(self, side: str) -> SequentialPlan:
        """Return the plan of a side of the split, in an order that mixes antigens and is always the same."""
        rows = self.split[side]
        return SequentialPlan([source_rng(0, side).permutation(rows)], self.batch_size)

    def train_dataset(self) -> Dataset[PairBatch]:
        """Return the dataset that makes batches."""
        return self._served

    def val_dataset(self) -> Dataset[PairBatch]:
        """Return the same dataset: nothing of it is random."""
        return self._served

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share of the test pairs."""
        return self.loader(self._served, self._sharded(self.plan_of(self.test_side)))

    @property
    def test_side(self) -> str:
        """The side that is tested: that of validation where no pair is held out for the test."""
        return "test" if len(self.split["test"]) else "val"


class PairRows(Dataset[PairBatch]):
    """Makes batches of pairs that were tokenised once.

    Parameters
    ----------
    pairs : Pairs
        The pairs.
    config : AntibodyDataset
        Limits of length.
    """

    def __init__(self, pairs: Pairs, config: AntibodyDataset) -> None:
        self.pairs = pairs
        self.antigens = replaced(TOKENIZER, max_tokens=config.max_antigen_tokens).encode(pairs.antigens)
        self.antibodies = TOKENIZER.encode(pairs.antibodies)
        self._regions = _framed(pairs.regions, 0)
        self._germline = _framed(pairs.germline, GERMLINE_UNKNOWN)

    @property
    def lengths(self) -> Int64:
        """Tokens of each pair: ``[N]``, antigen and antibody."""
        return self.antigens.lengths[self.pairs.antigen] + self.antibodies.lengths

    def __getitem__(self, key: RowBatch) -> PairBatch:
        """Return the batch of a key of a plan."""
        rows = key.rows
        antibodies, lengths = self.antibodies.padded(rows)
        germline, _ = self._germline.padded(rows)
        germline[np.arange(germline.shape[1]) >= lengths[:, None]] = GERMLINE_UNKNOWN
        return PairBatch(
            antigens=_tokens(self.antigens.padded(self.pairs.antigen[rows])[0]),
            antibodies=_tokens(antibodies),
            pkd=torch.from_numpy(self.pairs.pkd[rows]),
            regions=torch.from_numpy(self._regions.padded(rows)[0]),
            germline=torch.from_numpy(germline),
            rows=torch.from_numpy(rows),
            n_targets=int((lengths - 1).sum()),
        )


def _tokens(table: Array) -> torch.Tensor:
    return torch.from_numpy(table.astype(np.int64))


def _framed(rows: Ragged, value: int) -> Ragged:
    """Put ``value`` before and after each row, where START and END stand."""
    return Ragged.of((np.pad(rows[number], 1, constant_values=value) for number in range(len(rows))), np.int8)
