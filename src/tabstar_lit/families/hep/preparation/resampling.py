"""Balanced classes by drawing training events anew each epoch, in the words of imbalanced-learn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tabstar_lit.arrays import Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import Sampler


class Resampler:
    """Draw the training events of an epoch, a pure function of (seed, epoch).

    A class that is lowered gives that many different events; one that is raised gives all of its events and fills up
    with events drawn again.

    Parameters
    ----------
    rows : ndarray of int64 [n]
        The training events.
    targets : ndarray of int64 [n]
        Class number of each.
    counts : ndarray of int64 [C]
        Events of each class in an epoch, from :func:`epoch_counts`.
    seed : int
        Of the experiment.

    Attributes
    ----------
    n_events : int
        Events in every epoch.
    """

    def __init__(self, rows: Int64, targets: Int64, counts: Int64, *, seed: int) -> None:
        self._rows = [rows[targets == number] for number in range(len(counts))]
        self._counts = counts
        self._seed = seed
        self.n_events = int(counts.sum())

    def draw(self, epoch: int) -> Int64:
        """Return the rows of ``epoch``, class after class."""
        rng = np.random.default_rng([self._seed, epoch])
        return np.concatenate(
            [self._draw_class(rng, rows, int(count)) for rows, count in zip(self._rows, self._counts, strict=True)]
        )

    @staticmethod
    def _draw_class(rng: np.random.Generator, rows: Int64, count: int) -> Int64:
        if count <= len(rows):
            return rng.choice(rows, size=count, replace=False)
        return np.concatenate([rows, rng.choice(rows, size=count - len(rows), replace=True)])


def epoch_counts(
    present: Int64, classes: tuple[str, ...], sampler: Sampler, strategy: str | Mapping[str, int]
) -> Int64:
    """Return how many events of each class an epoch holds.

    Parameters
    ----------
    present : ndarray of int64 [C]
        Training events of each class.
    classes : tuple of str
        Their names.
    sampler : str
        Name of the sampler.
    strategy : str or mapping of str to int
        ``sampling_strategy``: which classes are resampled, or events by class.

    Raises
    ------
    DataError
        A class that is not there, or a number that oversampling cannot reach from above or undersampling from below.
    """
    if not isinstance(strategy, str):
        return _named_counts(present, classes, sampler, strategy)
    over = sampler == "RandomOverSampler"
    aim = present.max() if over else present.min()
    smallest, largest = present == present.min(), present == present.max()
    chosen = {
        "auto": ~largest if over else ~smallest,
        "all": np.ones(len(present), dtype=bool),
        "minority": smallest,
        "not minority": ~smallest,
        "majority": largest,
        "not majority": ~largest,
    }[strategy]
    return np.where(chosen, aim, present)


def _named_counts(present: Int64, classes: tuple[str, ...], sampler: Sampler, asked: Mapping[str, int]) -> Int64:
    place = "dataset_config.dataset_kwargs.imbalanced_sampler_kwargs.sampling_strategy"
    counts = present.copy()
    for name, count in asked.items():
        if name not in classes:
            raise DataError(f"{place}: there is no class '{name}'.{suggestion(name, classes)}")
        found = int(present[classes.index(name)])
        wrong = {"RandomOverSampler": count < found, "RandomUnderSampler": count > found}.get(sampler, False)
        if wrong:
            side = "fewer" if count < found else "more"
            raise DataError(
                f"{place}: {count} events of class '{name}' are {side} than the {found} in the training split, which "
                f"{sampler} cannot give; use RandomResampleToTarget."
            )
        counts[classes.index(name)] = count
    return counts
