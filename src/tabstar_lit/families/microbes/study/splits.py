"""Which samples train, validate and test: whole groups, dealt out evenly or by hash."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tabstar_lit.arrays import Bool, Int8, Int64
from tabstar_lit.data.splits import Fold, Split, document_ids
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.config import SampleFolds, SampleLabels, SampleSplit

SIDES = ("train", "val", "test")

log = logging.getLogger(__name__)


def split_samples(
    sample_ids: Sequence[str],
    groups: Sequence[str],
    split: SampleSplit,
    folds: SampleFolds | None = None,
    classes: Int64 | None = None,
) -> Int8:
    """Give every sample its side.

    Parameters
    ----------
    sample_ids, groups : sequence of str
        ``[N]`` of each sample.
    split : SampleSplit
        Shares and rule.
    folds : SampleFolds, optional
        Test on this fold.
    classes : NDArray of int64, optional
        ``[N]`` class of each sample, -1 where missing; ``dealt`` spreads them over the sides.

    Returns
    -------
    NDArray of int8
        ``[N]`` positions in :data:`SIDES`.

    Raises
    ------
    DataError
        There are too few groups for the shares: a side that was asked for has none.
    """
    if split.by == "sample" and len(set(groups)) < len(groups):
        log.warning(
            "dataset_config.split.by: sample parts samples of one group (%d samples of %d groups), which are alike: "
            "scores will be better than for new groups. Take by: group for honest ones.",
            len(groups),
            len(set(groups)),
        )
    names = groups if split.by == "group" else sample_ids
    if split.rule == "hash":
        test = Fold(folds.fold, folds.n) if folds is not None else split.test
        sides = Split(split.seed, {"val": split.val}, test).sides(document_ids(names))
    else:
        sides = _dealt(names, split, folds, classes)
    _require_sides(sides, names, split, folds)
    return sides


def keep_labels(groups: Sequence[str], training: Bool, labels: SampleLabels, classes: Int64 | None = None) -> Bool:
    """Tell which samples are of the training groups whose targets are used.

    Parameters
    ----------
    groups : sequence of str
        ``[N]`` of each sample.
    training : NDArray of bool
        ``[N]`` which samples are for training and have a target.
    labels : SampleLabels
        Share and seed.
    classes : NDArray of int64, optional
        ``[N]`` class of each sample; groups are taken from one class after the other, so that each has some.

    Returns
    -------
    NDArray of bool
        ``[N]``.
    """
    names = np.asarray(groups, dtype=object)
    frame = pd.DataFrame({"group": names[training], "class": -1 if classes is None else classes[training]})
    strata = frame.groupby("group")["class"].agg(lambda own: own.mode().iloc[0])
    order = np.argsort(document_ids(f"labels {labels.seed} {name}" for name in strata.index), kind="stable")
    shuffled = strata.iloc[order]
    turns = shuffled.groupby(shuffled).cumcount()
    dealt = turns.sort_values(kind="stable").index
    fewest = max(2, shuffled.nunique())
    return np.isin(names, dealt[: max(fewest, round(labels.share * len(dealt)))])


def _dealt(names: Sequence[str], split: SampleSplit, folds: SampleFolds | None, classes: Int64 | None) -> Int8:
    """Order the groups by class, then by hash, and deal them out in that order."""
    codes, groups = pd.factorize(np.asarray(names, dtype=object))
    frame = pd.DataFrame({"group": codes, "class": -1 if classes is None else classes})
    strata = frame.groupby("group")["class"].agg(lambda own: own.mode().iloc[0]).to_numpy()
    hashes = document_ids(f"{split.seed} {name}" for name in groups)
    order = np.lexsort((hashes, strata))
    side = np.zeros(len(groups), dtype=np.int8)
    tested = np.arange(len(order)) % folds.n == folds.fold if folds is not None else _every(len(order), split.test)
    side[order[tested]] = SIDES.index("test")
    rest = order[~tested]
    share = split.val if folds is not None else split.val / max(1 - split.test, 1e-9)
    side[rest[_every(len(rest), share)]] = SIDES.index("val")
    return side[codes]


def _every(n: int, share: float) -> Bool:
    """Tell which of ``n`` in a row are in a share, as evenly as can be: ``[n]``."""
    steps = np.floor(np.arange(n + 1) * share + 0.5)
    return np.asarray(np.diff(steps) > 0)


def _require_sides(sides: Int8, names: Sequence[str], split: SampleSplit, folds: SampleFolds | None) -> None:
    asked = {"train": True, "val": True, "test": folds is not None or split.test > 0}
    n_groups = len(set(names))
    for position, side in enumerate(SIDES):
        if asked[side] and not (sides == position).any():
            raise DataError(
                f"dataset_config.split: of {n_groups} groups none is in the {side} split. Give it a larger share, take "
                "rule: dealt, or bring more groups."
            )
