"""Losses of pytorch_optimizer for classifiers: each made per event where it can be, so that event weights count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from pytorch_optimizer.loss import LOSS_FUNCTIONS
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from tabstar_lit.errors import ConfigError
from tabstar_lit.losses.classification import EventLoss, logits_by_class


@dataclass(frozen=True, slots=True)
class Use:
    """How a loss of the library is called.

    Attributes
    ----------
    classes : str
        ``two`` (one logit), ``any`` number, or ``more`` than two.
    per_event : str
        ``reduction``: it can leave the mean to us. ``rows``: it is a mean over events and is called for each event at
        once by vectorization. ``batch``: it is a function of the whole batch and can take no event weights.
    shape : str
        What it takes for two classes: ``flat`` ``[B]``, ``column`` ``[B, 1]``, ``row`` ``[1, B]``, or the logits of
        both ``classes`` ``[B, 2]``.
    probabilities : bool
        It takes probabilities instead of logits.
    mode : bool
        It has to be told whether there are two classes or more.
    """

    classes: Literal["two", "any", "more"]
    per_event: Literal["reduction", "rows", "batch"]
    shape: Literal["flat", "column", "row", "classes"] = "flat"
    probabilities: bool = False
    mode: bool = False


USES: Mapping[str, Use] = {
    "bcefocalloss": Use("two", "reduction", probabilities=True),
    "bceloss": Use("two", "reduction", probabilities=True),
    "binarybitemperedlogisticloss": Use("two", "reduction", "column"),
    "bitemperedlogisticloss": Use("any", "reduction", "classes"),
    "diceloss": Use("any", "batch", "column", mode=True),
    # It normalizes the logits of an event, which leaves nothing of one logit but its sign.
    "focalcosineloss": Use("more", "reduction", "classes"),
    "focalloss": Use("two", "rows"),
    "focaltverskyloss": Use("two", "batch"),
    "jaccardloss": Use("any", "batch", "column", mode=True),
    "ldamloss": Use("any", "rows", "classes"),
    "lovaszhingeloss": Use("two", "batch", "row"),
    "softf1loss": Use("two", "batch", probabilities=True),
    "tverskyloss": Use("two", "batch"),
}
"""The losses of pytorch_optimizer, all of which fit a classifier, by name."""

NOT_CONFIGURED = ("reduction", "mode", "from_logits", "ignore_index", "per_image", "weight")
"""Parameters that follow from the data, or mean nothing for events."""


class LibraryLoss(EventLoss):
    """A loss of pytorch_optimizer.

    Parameters
    ----------
    name : str
        A key of :data:`USES`.
    n_classes : int
        Number of classes.
    params : Mapping
        Arguments of the loss, without those in :data:`NOT_CONFIGURED`.

    Raises
    ------
    ConfigError
        The loss refuses its parameters, or they do not fit the number of classes.
    """

    def __init__(self, name: str, n_classes: int, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.name, self.use = name, USES[name]
        self.takes_weights = self.use.per_event != "batch"
        if name == "ldamloss":
            _check_class_list(params.get("num_class_list"), n_classes)
        own: dict[str, Any] = {"reduction": "none"} if self.use.per_event == "reduction" else {}
        if self.use.mode:
            own["mode"] = "binary" if n_classes == 2 else "multiclass"
        try:
            self.loss = LOSS_FUNCTIONS[name](**params, **own)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"training_config.loss: {name} refuses its parameters: {error}") from error

    def forward(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; see :meth:`EventLoss.forward`.

        Raises
        ------
        ConfigError
            There are weights, and the loss is a function of the whole batch.
        """
        if self.takes_weights:
            return super().forward(logits, targets, weights)
        if weights is not None:
            raise ConfigError(needs_no_weights(self.name))
        value: Tensor = self.loss(*self._arguments(logits, targets))
        return value

    def per_event(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each event."""
        scores, truth = self._arguments(logits, targets)
        if self.use.per_event == "reduction":
            return torch.as_tensor(self.loss(scores, truth)).reshape(len(logits))
        if self.name == "ldamloss":
            return _margin_loss(self.loss, scores, truth)
        by_row = torch.func.vmap(lambda score, true: self.loss(score.unsqueeze(0), true.unsqueeze(0)))
        return torch.as_tensor(by_row(scores, truth))

    def _arguments(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if logits.shape[1] > 1 or self.use.shape == "classes":
            return logits_by_class(logits), targets.long()
        scores = logits.sigmoid() if self.use.probabilities else logits
        truth = targets.to(scores.dtype).unsqueeze(1)
        if self.use.shape == "column":
            return scores, truth
        return (scores.T, truth.T) if self.use.shape == "row" else (scores.squeeze(1), truth.squeeze(1))


def _check_class_list(counts: Any, n_classes: int) -> None:
    """Refuse what ``ldamloss`` would take for numbers of events, and fail on in the first batch."""
    where = "loss_params.num_class_list: "
    remedy = "Give the number of training events of each class, in order, or leave it out: then they are counted."
    if not isinstance(counts, list | tuple) or not all(isinstance(count, int | float) for count in counts):
        raise ConfigError(f"{where}{counts!r} is not a list of numbers. {remedy}")
    if len(counts) != n_classes:
        raise ConfigError(f"{where}it has {len(counts)} numbers, and there are {n_classes} classes. {remedy}")
    if not all(0 < count < math.inf for count in counts):
        raise ConfigError(f"{where}{list(counts)} are not all positive and finite. {remedy}")


def _margin_loss(loss: nn.Module, logits: Tensor, targets: Tensor) -> Tensor:
    """Return ``ldamloss`` of each event (arXiv 1906.07413).

    The library's own is a mean, and what it fills its margins in with cannot be vectorized: torch would go event by
    event, with a warning.
    """
    margins = one_hot(targets, logits.shape[1]) * loss.get_buffer("m_list").to(logits)
    return cross_entropy(cast(float, loss.s) * (logits - margins), targets, reduction="none")


def needs_no_weights(name: str) -> str:
    """Return the message that a loss of whole batches cannot weigh events."""
    return (
        f"training_config.loss: {name} is a function of the whole batch and cannot weigh events. "
        "Set use_mc_weights and use_class_weights to false, or take a loss per event such as bce, ce or focalloss."
    )
