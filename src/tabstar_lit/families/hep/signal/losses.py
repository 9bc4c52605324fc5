"""The loss of a signal classifier: one by name, and DisCo beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pytorch_optimizer.loss import LOSS_FUNCTIONS
from torch import Tensor, nn

from tabstar_lit.config.arguments import fail_unless_empty
from tabstar_lit.config.registry import Registry
from tabstar_lit.config.schema import LossConfig
from tabstar_lit.config.tree import Problem
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.signal.training_config import DiscoConfig, SignalTraining
from tabstar_lit.losses.classification import BCEWithLogitsLoss, CrossEntropyLoss, EventLoss, MSELoss
from tabstar_lit.losses.disco import DisCo
from tabstar_lit.losses.focal import MulticlassFocalLoss, SigmoidFocalLoss
from tabstar_lit.losses.library import NOT_CONFIGURED, USES, LibraryLoss, needs_no_weights

OWN: Mapping[str, type[EventLoss]] = {
    "bce": BCEWithLogitsLoss,
    "ce": CrossEntropyLoss,
    "mse": MSELoss,
    "sigmoid_focal": SigmoidFocalLoss,
    "multiclass_focal": MulticlassFocalLoss,
}
"""Our own losses by short name."""

LOSSES: Registry[Callable[..., Any]] = Registry(
    "loss",
    {**OWN, **{name: LOSS_FUNCTIONS[name] for name in USES}},
    spellings={kind.__name__: name for name, kind in OWN.items()},
    passed=NOT_CONFIGURED,
    absent="no loss is called",
)
"""Every loss by name; those of pytorch_optimizer are called as :class:`LibraryLoss` says."""


def list_losses() -> dict[str, str]:
    """Return a line about every loss by name."""
    kinds = {"two": "two classes", "any": "any number of classes", "more": "three classes or more"}
    lines = LOSSES.lines()
    for name, use in USES.items():
        weights = "" if use.per_event != "batch" else "; of whole batches, takes no event weights"
        lines[name] += f" [pytorch_optimizer; {kinds[use.classes]}{weights}]"
    return lines


def loss_of(training: SignalTraining, n_classes: int | None = None) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of the configured loss; without one bce for two classes and ce for more."""
    loss = training.loss
    if isinstance(loss, LossConfig):
        return loss.loss_name, dict(loss.loss_params)
    return loss or ("ce" if n_classes is not None and n_classes > 2 else "bce"), {}


def check_loss(training: SignalTraining, *, n_classes: int | None = None, weighted: bool = False) -> list[Problem]:
    """Return what is wrong with ``loss``; paths are relative to ``training_config``.

    Parameters
    ----------
    training : SignalTraining
        The configuration.
    n_classes : int or None
        Number of classes; None when the data has not been opened yet.
    weighted : bool
        Whether events will have weights.
    """
    written, params = loss_of(training, n_classes)
    return _problems(written, params, n_classes=n_classes, weighted=weighted)


def build_loss(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    n_classes: int,
    weighted: bool = False,
    class_counts: Sequence[float] | None = None,
) -> EventLoss:
    """Return the loss ``name``.

    Parameters
    ----------
    name : str
        A name of :func:`list_losses`, or the name of its class.
    params : Mapping or None
        Its parameters.
    n_classes : int
        Number of classes; with two there is one logit.
    weighted : bool
        Whether events will have weights.
    class_counts : sequence of float or None
        Training events of each class, what ``ldamloss`` takes for ``num_class_list`` where it is not given.

    Raises
    ------
    ConfigError
        No loss has that name, it does not fit the classes or the weights, or a parameter is wrong.
    """
    given = dict(params or {})
    known = LOSSES.resolve(name)
    if class_counts is not None and known == "ldamloss":
        given.setdefault("num_class_list", list(class_counts))
    fail_unless_empty(_problems(name, given, n_classes=n_classes, weighted=weighted, filled=()))
    arguments, _ = _arguments(known, given)
    return _made(known, arguments, n_classes)


class LossTerms(NamedTuple):
    """The parts of a loss.

    Attributes
    ----------
    total : Tensor
        Scalar that is minimized.
    classification : Tensor
        Scalar weighted mean over events.
    correlations : Tensor
        ``[V]`` distance correlation with each DisCo variable; ``[0]`` without DisCo.
    """

    total: Tensor
    classification: Tensor
    correlations: Tensor


class SignalLoss(nn.Module):
    """Classification loss plus ``lambda`` times the sum of distance correlations of background.

    Parameters
    ----------
    loss : EventLoss
        Of the classes.
    disco : DiscoConfig or None
        None adds nothing.
    signal : collection of int
        Numbers of the signal classes, for more than two classes; all other classes are background.
    """

    signal: Tensor

    def __init__(self, loss: EventLoss, disco: DiscoConfig | None = None, signal: Collection[int] = (1,)) -> None:
        super().__init__()
        self.loss = loss
        self.strength = 0.0 if disco is None else disco.strength
        self.disco = None if disco is None else DisCo(disco.power, disco.weighted, disco.multiclass_reduction)
        self.register_buffer("signal", torch.tensor(sorted(signal)), persistent=False)

    def forward(
        self, logits: Tensor, targets: Tensor, weights: Tensor | None = None, variables: Tensor | None = None
    ) -> LossTerms:
        """Return the loss of a batch.

        Parameters
        ----------
        logits : Tensor
            ``[B, K]``.
        targets : Tensor
            ``[B]``: 1 for signal and 0 for background as floating point with one logit, else class numbers int64.
        weights : Tensor or None
            ``[B]`` weights of the loss, at least 0.
        variables : Tensor or None
            ``[B, V]`` DisCo variables in any unit.
        """
        classification = self.loss(logits, targets, weights)
        if self.disco is None or variables is None:
            return LossTerms(classification, classification, classification.new_zeros(0))
        background = targets == 0 if logits.shape[1] == 1 else ~torch.isin(targets, self.signal)
        correlations = self.disco(logits, variables, background, weights)
        return LossTerms(classification + self.strength * correlations.sum(), classification, correlations)


def _problems(
    written: str,
    params: Mapping[str, Any],
    *,
    n_classes: int | None,
    weighted: bool,
    filled: Collection[str] = ("num_class_list",),
) -> list[Problem]:
    name, unknown = LOSSES.resolve(written), LOSSES.problems(written, ("loss",))
    if unknown:
        return unknown
    arguments, problems = _arguments(name, params, filled)
    if not problems:
        problems = _refusals(name, arguments, n_classes, filled)
    classes = USES[name].classes if name in USES else ("two" if not OWN[name].multiclass else "any")
    if n_classes is not None and classes == "two" and n_classes > 2:
        problems.append(Problem(("loss",), f"{written} is for two classes and there are {n_classes}. Use ce."))
    if n_classes is not None and classes == "more" and n_classes <= 2:
        problems.append(Problem(("loss",), f"{written} needs three classes or more. Use bce or focalloss."))
    if weighted and name in USES and USES[name].per_event == "batch":
        problems.append(Problem(("loss",), needs_no_weights(written).partition(": ")[2]))
    return problems


def _refusals(name: str, arguments: Mapping[str, Any], n_classes: int | None, filled: Collection[str]) -> list[Problem]:
    """Return what a loss itself says about the values of its parameters: it is built on trial."""
    listed = arguments.get("num_class_list")
    count = n_classes or (len(listed) if isinstance(listed, list | tuple) else 2)
    stand_in = {key: [1.0] * count for key in filled if key in LOSSES.parameters(name)}
    try:
        _made(name, {**stand_in, **arguments}, count)
    except ConfigError as error:
        _, named, text = str(error).partition("loss_params.")
        key, _, text = text.partition(": ")
        place = ("loss", "loss_params")
        return [Problem((*place, key), f"'{key}' of {name}: {text}") if named else Problem(place, str(error))]
    return []


def _made(name: str, arguments: Mapping[str, Any], n_classes: int) -> EventLoss:
    return OWN[name](**arguments) if name in OWN else LibraryLoss(name, n_classes, arguments)


def _arguments(
    name: str, params: Mapping[str, Any], filled: Collection[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    return LOSSES.arguments(name, params, ("loss", "loss_params"), filled=filled)
