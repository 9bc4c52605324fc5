"""Optimizers by name, from torch and pytorch_optimizer, for one automatic optimization step per batch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_optimizer
import torch
from pytorch_optimizer.base.exception import NegativeLRError, NegativeStepError
from torch.optim import Optimizer

from tabstar_lit.config.arguments import fail_unless_empty, parameters_of
from tabstar_lit.config.registry import Registry
from tabstar_lit.config.schema import OptimizerConfig
from tabstar_lit.config.tree import Problem
from tabstar_lit.engine.optim.fused import FusedAdam, FusedAdamW
from tabstar_lit.errors import ConfigError

ParamGroup = dict[str, Any]

_TWO_PASSES = "it evaluates each batch twice or more, and a step here is one evaluation."
_SECOND_DERIVATIVES = "it needs second derivatives (a backward pass with create_graph=True)."
_TAKES_MODEL = "it takes the model instead of parameter groups and updates it during the backward pass."
_SWITCHES = (
    "it trains other weights than it evaluates and has to be switched around validation and saving. "
    "A schedule with AdamW or prodigy gives a similar effect."
)
_NOT_PLAIN = "its state is made of Python objects that a checkpoint without code cannot hold, so no resume."
_NO_LR = "it has no learning rate, which schedules, parameter groups and logs here work with."

REFUSED: Mapping[str, str] = {
    "LBFGS": "it evaluates each batch up to 20 times per step, and a step here is one evaluation.",
    "Muon": "torch's Muon takes matrices only. Write 'muon', which uses AdamW for everything else.",
    "SparseAdam": "it takes sparse gradients only, and the layers here give dense ones. Use Adam.",
    "a2grad": _NO_LR,
    "adahessian": _SECOND_DERIVATIVES,
    "adalomo": _TAKES_MODEL,
    "adammini": "it takes the model instead of parameter groups.",
    "adashift": _NOT_PLAIN,
    "alig": _NO_LR,
    "bsam": _TWO_PASSES,
    "conda": _NOT_PLAIN,
    "demo": "it communicates between processes itself, which DDP already does.",
    "distributedmuon": "it communicates between processes itself, which DDP already does. Use 'muon'.",
    "friendlysam": _TWO_PASSES,
    "gsam": _TWO_PASSES,
    "lomo": _TAKES_MODEL,
    "looksam": _TWO_PASSES,
    "lorarite": "it takes pairs of LoRA factors only.",
    "sam": _TWO_PASSES,
    "scalableshampoo": _NOT_PLAIN + " Use 'shampoo' or 'soap'.",
    "schedulefreeadamw": _SWITCHES,
    "schedulefreeradam": _SWITCHES,
    "schedulefreesgd": _SWITCHES,
    "scion": _NOT_PLAIN,
    "scionlight": _NOT_PLAIN,
    "sophiah": _SECOND_DERIVATIVES,
    "spectralsphere": "it takes matrices only, and networks have biases. Use 'muon'.",
    "splus": _SWITCHES,
    "wsam": _TWO_PASSES,
}
"""Optimizers of the two libraries that cannot work here, and why."""

FUSED: Mapping[str, type[Optimizer]] = {"Adam": FusedAdam, "AdamW": FusedAdamW, "SGD": torch.optim.SGD}
"""Optimizers of torch with one kernel for the update of all weights, which takes a fraction of the time of a kernel for
each operation on each weight, and which torch chooses only when told to; and what is built of them then."""

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps"})
"""Kinds of devices that have these kernels."""

MUON_FAMILY = frozenset({"adago", "adamuon", "muon", "muonclip", "normuon"})
"""Optimizers that orthogonalize matrices and hand everything else to AdamW."""

# What the libraries raise for a value out of range: several types that share no base class.
_BAD_VALUES = (ValueError, TypeError, RuntimeError, AssertionError, NegativeLRError, NegativeStepError)

_PASSED_BY_US = ("params", "optimizer")


def _classes() -> dict[str, type[Optimizer]]:
    """Return both libraries' optimizers by name, torch's first and each class once."""
    classes = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
    }
    for name in pytorch_optimizer.get_supported_optimizers():
        kind = pytorch_optimizer.load_optimizer(name)
        if kind not in classes.values():
            classes[name] = kind
    return classes


OPTIMIZERS: Registry[type[Optimizer]] = Registry(
    "optimizer",
    _classes(),
    refused=REFUSED,
    passed=_PASSED_BY_US,
    more={"magma": parameters_of(torch.optim.AdamW, without=_PASSED_BY_US)},  # a mask around it, with **kwargs
)
"""Every optimizer by name. An exact spelling comes first, then any case, in both torch before pytorch_optimizer:
``Adamax`` is torch's and ``adamax`` the other one's."""


def check_optimizer(config: OptimizerConfig) -> list[Problem]:
    """Return what is wrong with ``config``; paths are relative to ``training_config``.

    The name must be one of :data:`OPTIMIZERS`, its parameters those of the class, and their values such that the
    optimizer can be built.
    """
    unknown = OPTIMIZERS.problems(config.optimizer_name, ("optimizer", "optimizer_name"))
    if unknown:
        return unknown
    name, arguments, problems = _choice(config)
    if problems:
        return problems
    trial = {"params": [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))]}
    try:
        _build(name, arguments, [trial])
    except _BAD_VALUES as error:
        return [Problem(("optimizer", "optimizer_params"), f"{name} refuses its parameters: {error}")]
    return []


def build_optimizer(config: OptimizerConfig, groups: Sequence[ParamGroup], *, loss_scaling: bool = False) -> Optimizer:
    """Build the optimizer that ``config`` names, with a fused kernel where torch has one.

    Parameters
    ----------
    config : OptimizerConfig
        Name and parameters.
    groups : sequence of dict
        As :func:`tabstar_lit.engine.optim.parameter_groups.parameter_groups` makes them.
    loss_scaling : bool
        Whether losses are scaled for float16. Fused kernels then undo the scale themselves, after gradients have been
        checked and clipped.

    Raises
    ------
    ConfigError
        The name or a parameter is not right, see :func:`check_optimizer`; or a fused kernel is asked for while losses
        are scaled.
    """
    fail_unless_empty(check_optimizer(config))
    name, arguments, _ = _choice(config)
    if loss_scaling and arguments.get("fused"):
        raise ConfigError(
            "training_config.optimizer.optimizer_params.fused: with precision 16-mixed, gradients could not be clipped "
            "or checked, since a fused kernel undoes the scale of the loss only in its step. Leave it out, or set "
            "experiment_config.precision to bf16-mixed."
        )
    if not loss_scaling and _can_be_fused(name, arguments, groups):
        arguments["fused"] = True
    return _build(name, arguments, groups)


def _can_be_fused(name: str, arguments: Mapping[str, Any], groups: Sequence[ParamGroup]) -> bool:
    """Tell whether there is a fused kernel for all weights, and nothing configured chooses another way."""
    return (
        name in FUSED
        and not arguments.keys() & {"fused", "foreach", "differentiable"}
        and all(p.is_floating_point() and p.device.type in FUSED_DEVICES for group in groups for p in group["params"])
    )


def base_lr(config: OptimizerConfig) -> float | None:
    """Return the learning rate as configured or by the optimizer's own default; None when it has neither."""
    name, arguments, _ = _choice(config)
    parameter = OPTIMIZERS.parameters(name).get("lr")
    lr = arguments.get("lr", parameter.default if parameter else None)
    return float(lr) if isinstance(lr, int | float) else None


def has_weight_decay(config: OptimizerConfig) -> bool:
    """Tell whether the optimizer knows weight decay."""
    return "weight_decay" in OPTIMIZERS.parameters(_choice(config)[0])


def orthogonalises(config: OptimizerConfig) -> bool:
    """Tell whether the optimizer orthogonalizes matrices and hands everything else to AdamW."""
    return _choice(config)[0] in MUON_FAMILY


def _choice(config: OptimizerConfig) -> tuple[str, dict[str, Any], list[Problem]]:
    """Return the name that is meant, its arguments, and what is wrong with them."""
    name = OPTIMIZERS.resolve(config.optimizer_name)
    return name, *OPTIMIZERS.arguments(name, config.optimizer_params, ("optimizer", "optimizer_params"))


def _build(name: str, arguments: Mapping[str, Any], groups: Sequence[ParamGroup]) -> Optimizer:
    if name in MUON_FAMILY:
        groups = _split_for_muon(name, arguments, groups)
    kind = FUSED[name] if arguments.get("fused") and name in FUSED else OPTIMIZERS[name]
    return kind([dict(group) for group in groups], **arguments)


def _split_for_muon(name: str, arguments: Mapping[str, Any], groups: Sequence[ParamGroup]) -> list[ParamGroup]:
    """Divide every group into matrices, which are orthogonalized, and the rest, which AdamW updates.

    A group whose ``use_muon`` is False is AdamW's as a whole. A learning rate set on the group is that of the matrices;
    AdamW's keeps its ratio to it.
    """
    parameters = OPTIMIZERS.parameters(name)
    lr, adamw_lr = (arguments.get(key, parameters[key].default) for key in ("lr", "adamw_lr"))
    split: list[ParamGroup] = []
    for group in groups:
        wanted = group.get("use_muon", True)
        matrices = [p for p in group["params"] if p.ndim >= 2 and wanted]
        others = [p for p in group["params"] if p.ndim < 2 or not wanted]
        if matrices:
            split.append(group | {"params": matrices, "use_muon": True})
        if others:
            adamw = group | {"params": others, "use_muon": False, "name": f"{group.get('name', 'all')}/adamw"}
            split.append(adamw | ({"lr": group["lr"] * adamw_lr / lr} if "lr" in group else {}))
    return split
