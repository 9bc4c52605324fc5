"""Means of a loss and of its named terms over the rows of an epoch, in all and by source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from tabstar_lit.engine.devices.reading import Reading

LOSS = "loss"
LONGEST_WAIT = 512
"""Batches whose values stay unread at most, so that long epochs do not pile them up."""

Batch = tuple[str, float | Tensor, dict[str, Tensor]]
"""A batch that has not been read: its source, its size, and its scalars by name."""

Sums = dict[str, dict[str, tuple[float, float]]]
"""By source and name: the sum of a value times its size, and of the sizes."""


class Mean:
    """Running mean of a loss, weighted by rows or their weights, that can be saved and restored without rounding."""

    def __init__(self, total: float = 0.0, size: float = 0) -> None:
        self.total = total
        self.size = size

    def add(self, loss: float, size: float) -> None:
        """Add a batch whose mean loss over ``size`` rows is ``loss``."""
        self.total += loss * size
        self.size += size

    @property
    def value(self) -> float:
        """The mean over all rows added so far; NaN when there are none."""
        return self.total / self.size if self.size else float("nan")


class Means:
    """Means of ``loss`` and of named terms by source.

    What a batch brings is kept where it is and read in one transfer when a mean is asked for, so that no step waits for
    its numbers. They are added on the host, in double precision and in the order of the batches.

    Parameters
    ----------
    sums : Mapping
        Where to go on, from :meth:`sums`.
    """

    def __init__(self, sums: Mapping[str, Mapping[str, Iterable[float]]] | None = None) -> None:
        self._means = {
            source: {name: Mean(*sum_) for name, sum_ in named.items()} for source, named in (sums or {}).items()
        }
        self._waiting: list[Batch] = []
        self._sent: list[tuple[list[Batch], Reading]] = []

    def add(self, source: str, size: float | Tensor, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """Add a batch: scalars that are means over ``size`` rows of ``source``.

        Raises
        ------
        ValueError
            A term is called ``loss``.
        """
        if LOSS in terms:
            raise ValueError(f"a term of the loss cannot be called {LOSS!r}: that is the whole.")
        detached = {name: term.detach() for name, term in terms.items()}
        self._waiting.append((source, size, {LOSS: loss.detach(), **detached}))
        if len(self._waiting) >= LONGEST_WAIT:
            self._receive()
            self.send()

    def send(self) -> None:
        """Let what waits be copied to the host, which goes on meanwhile."""
        waiting, self._waiting = self._waiting, []
        scalars = [scalar for _, _, named in waiting for scalar in named.values()]
        sizes = [size for _, size, _ in waiting if isinstance(size, Tensor)]
        if scalars:
            place = scalars[0].device
            self._sent.append((waiting, Reading([scalar.to(place) for scalar in (*scalars, *sizes)])))

    def join(self, sums: Sums) -> None:
        """Add the sums of another rank."""
        for source, named in sums.items():
            for name, (total, size) in named.items():
                mean = self._mean(source, name)
                mean.total, mean.size = mean.total + total, mean.size + size

    def sums(self) -> Sums:
        """Return what the means are made of, which a checkpoint keeps and ranks exchange."""
        self._read()
        return {
            source: {name: (mean.total, mean.size) for name, mean in named.items()}
            for source, named in self._means.items()
        }

    def value(self, name: str = LOSS) -> float:
        """Return the mean over the rows of all sources that have it; NaN when there are none."""
        self._read()
        own = [named[name] for named in self._means.values() if name in named]
        return Mean(sum(mean.total for mean in own), sum(mean.size for mean in own)).value

    def values(self, prefix: str) -> dict[str, float]:
        """Return ``<prefix>_<name>`` over all sources and, where there are several, ``<prefix>_<name>/<source>``."""
        self._read()
        names = dict.fromkeys([LOSS, *(name for named in self._means.values() for name in named)])
        whole = {f"{prefix}_{name}": self.value(name) for name in names}
        by_source = {
            f"{prefix}_{name}/{source}": named[name].value
            for name in names
            for source, named in sorted(self._means.items())
            if name in named
        }
        return {**whole, **(by_source if len(self._means) > 1 else {})}

    def _mean(self, source: str, name: str) -> Mean:
        return self._means.setdefault(source, {}).setdefault(name, Mean())

    def _read(self) -> None:
        """Add what waits to the sums."""
        self.send()
        self._receive()

    def _receive(self) -> None:
        """Add what has been sent to the sums."""
        sent, self._sent = self._sent, []
        for batches, reading in sent:
            self._add(batches, reading.values())

    def _add(self, batches: list[Batch], numbers: list[float]) -> None:
        values, counted = iter(numbers), iter(numbers[sum(len(named) for _, _, named in batches) :])
        for source, size, named in batches:
            rows = next(counted) if isinstance(size, Tensor) else size
            for name in named:
                self._mean(source, name).add(next(values), rows)


def joined(ranks: Iterable[Sums]) -> Means:
    """Return the means over the rows of all ranks."""
    means = Means()
    for sums in ranks:
        means.join(sums)
    return means
