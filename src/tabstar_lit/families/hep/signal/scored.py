"""Validation events with their scores, as arrays that metrics and figures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.engine.tracking.columns import Columns


@dataclass(frozen=True)
class Scored:
    """``N`` events with a score for each of ``C`` classes.

    Attributes
    ----------
    log_p : ndarray
        ``[N, C]`` logarithms of the class probabilities.
    targets : ndarray of int
        ``[N]`` true classes.
    weights : ndarray
        ``[N]`` event weights, signed.
    variables : dict of str to ndarray
        Spectators ``[N]`` by name.
    classes : tuple of str
        Class names.
    signal : tuple of int
        Numbers of the signal classes.
    """

    log_p: Float64
    targets: Int64
    weights: Float64
    variables: Mapping[str, Float64]
    classes: tuple[str, ...]
    signal: tuple[int, ...]

    @classmethod
    def of(
        cls,
        rows: Columns,
        *,
        classes: Sequence[str],
        signal: Sequence[int],
        spectators: Sequence[str],
    ) -> Scored:
        """Return the scored events of a validation.

        Parameters
        ----------
        rows : Mapping of str to Tensor
            ``logits`` ``[N, C]``, or ``[N, 1]`` log-odds of the one signal class of two; class numbers ``targets``
            ``[N]``; and, where there are any, event ``weights`` ``[N]`` and ``spectators`` ``[N, S]``.
        classes, signal, spectators : sequence
            Class names, numbers of signal classes, names of the spectators.
        """
        values = rows["logits"].double().numpy()
        if values.shape[1] == 1:
            values = np.concatenate([values * 0, values] if signal[0] == 1 else [values, values * 0], axis=1)
        columns = rows["spectators"].double().numpy() if "spectators" in rows else np.zeros((len(values), 0))
        return cls(
            _log_softmax(values),
            rows["targets"].long().numpy(),
            rows["weights"].double().numpy() if "weights" in rows else np.ones(len(values)),
            {name: columns[:, i] for i, name in enumerate(spectators) if i < columns.shape[1]},
            tuple(classes),
            tuple(signal),
        )

    @property
    def is_signal(self) -> Bool:
        """Whether each event is of a signal class, ``[N]``."""
        return np.isin(self.targets, self.signal)

    @property
    def p(self) -> Float64:
        """Class probabilities ``[N, C]``."""
        return np.exp(self.log_p)

    @property
    def predicted(self) -> Int64:
        """The most probable class, ``[N]``."""
        return self.log_p.argmax(axis=1) if len(self.log_p) else self.targets

    def discriminant(self, signal: Sequence[int], background: Sequence[int]) -> Float64:
        """Return ``log(sum p_signal / sum p_background)`` ``[N]``; the logit, where those are all classes."""
        own, other = self.log_p[:, list(signal)], self.log_p[:, list(background)]
        return _log_sum(own) - _log_sum(other)

    @property
    def background_classes(self) -> tuple[int, ...]:
        """Numbers of the classes that are no signal."""
        return tuple(c for c in range(len(self.classes)) if c not in self.signal)

    @property
    def logit(self) -> Float64:
        """Log-odds of signal, ``[N]``."""
        return self.discriminant(self.signal, self.background_classes)

    def rows(self, chosen: Bool | slice) -> Scored:
        """Return some of the events."""
        return replace(
            self,
            log_p=self.log_p[chosen],
            targets=self.targets[chosen],
            weights=self.weights[chosen],
            variables={name: column[chosen] for name, column in self.variables.items()},
        )

    def at_most(self, events: int) -> Scored:
        """Return every k-th event, so that there are at most ``events``, with weights times k."""
        step = max(1, -(-len(self.targets) // events))
        if step == 1:
            return self
        thinned = self.rows(slice(None, None, step))
        return replace(thinned, weights=thinned.weights * step)

    def grouped(self, groups: Mapping[str, Sequence[str]]) -> Scored:
        """Return events with classes merged into ``groups``; events and probability of other classes are left out."""
        members = [[self.classes.index(name) for name in names] for names in groups.values()]
        number = np.full(len(self.classes), -1)
        for group, classes in enumerate(members):
            number[classes] = group
        merged = np.stack([_log_sum(self.log_p[:, classes]) for classes in members], axis=1)
        signal = tuple(g for g, classes in enumerate(members) if set(classes) <= set(self.signal))
        whole = replace(
            self,
            log_p=_log_softmax(merged),
            targets=number[self.targets],
            classes=tuple(groups),
            signal=signal,
        )
        return whole.rows(whole.targets >= 0)


def _log_sum(values: Float64) -> Float64:
    """Return ``log(sum(exp))`` of each row."""
    return np.asarray(np.logaddexp.reduce(values, axis=1))


def _log_softmax(values: Float64) -> Float64:
    with np.errstate(invalid="ignore"):  # a diverged network: what becomes NaN is looked for later
        return values - _log_sum(values)[:, None]
