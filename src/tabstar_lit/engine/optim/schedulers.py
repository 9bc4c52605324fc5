"""Learning-rate schedules by name, with lengths filled in from the run."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MethodType
from typing import Any

import pytorch_optimizer
import torch
from pytorch_optimizer.base.exception import NegativeLRError, NegativeStepError
from pytorch_optimizer.lr_scheduler.chebyshev import get_chebyshev_lr_lambda
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from tabstar_lit.config.arguments import Parameters, fail_unless_empty, parameters_of
from tabstar_lit.config.registry import Registry
from tabstar_lit.config.schema import SchedulerConfig
from tabstar_lit.config.tree import Problem
from tabstar_lit.engine.optim import warmups
from tabstar_lit.errors import ConfigError

log = logging.getLogger(__name__)

Factory = Callable[..., LRScheduler]

_NO_STATE = "it keeps no state that a checkpoint could hold, so a run could not resume."
_TAKES_FUNCTION = "it takes a Python function, which a configuration cannot hold."
_TAKES_SCHEDULERS = "it takes other schedule objects."

REFUSED: Mapping[str, str] = {
    "ChainedScheduler": _TAKES_SCHEDULERS,
    "LambdaLR": _TAKES_FUNCTION,
    "MultiplicativeLR": _TAKES_FUNCTION,
    "SequentialLR": _TAKES_SCHEDULERS,
    "cosine": _NO_STATE + " Use CosineWarmup.",
    "linear": _NO_STATE + " Use LinearLR or OneCycleLR with anneal_strategy: linear.",
    "multiplicative": _TAKES_FUNCTION,
    "poly": _NO_STATE + " Use PolynomialLR.",
    "proportion": _TAKES_SCHEDULERS,
}
"""Schedules of the libraries that cannot work here, and why."""

LENGTHS: Mapping[str, str] = {
    "CosineAnnealingLR": "T_max",
    "CosineWarmup": "T_max",
    "LinearLR": "total_iters",
    "OneCycleLR": "total_steps",
    "PolynomialLR": "total_iters",
    "chebyshev": "num_epochs",
    "cosine_annealing": "T_max",
    "cosine_annealing_with_warmup": "first_cycle_steps",
    "one_cycle": "total_steps",
    "rex": "total_steps",
}
"""Parameter of each schedule that is the run's length when it is left out."""

WARMUP_PARAMETERS = ("n_warmup_steps", "warmup_steps", "num_warmup_steps")
WARMUP_FRACTION = "warmup_fraction"

_PER_GROUP = ("base_lr", "max_lr", "min_lr")  # these may be lists with one rate per parameter group
_ONE_LR = ("rex", "cosine_annealing_with_warmup")  # these two give every group the same rate
_BAD_VALUES = (ValueError, TypeError, ZeroDivisionError, NegativeLRError, NegativeStepError)
_PATH = ("scheduler", "scheduler_params")


class OneCycleLR(lr_scheduler.OneCycleLR):
    """Torch's one-cycle schedule (arXiv 1708.07120), staying at its end where torch raises an error.

    A rise of a single step starts at the top, where torch divides by zero.
    """

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of every group, the last one for all steps after the end."""
        rise = self._schedule_phases[0]
        if rise["end_step"] == 0:
            rise["end_step"] = -math.ulp(1.0)
        if self.last_epoch >= self.total_steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return super().get_lr()


class EpochDecay:
    """Multiply every group's learning rate by a factor after each epoch, on top of any schedule.

    The factor acts only inside ``optimizer.step``, so schedules that set the rate and schedules that multiply
    it both go on as if it were not there. :func:`learning_rates` gives the rates that steps really use.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    factor : float
        Factor per epoch.
    """

    KEY = "epoch_decay"

    def __init__(self, optimizer: Optimizer, factor: float) -> None:
        self.optimizer = optimizer
        self.factor = factor
        self.epochs = 0
        self._mark()
        plain_step = optimizer.step

        @wraps(plain_step)
        def step(_: Optimizer, *args: Any, **kwargs: Any) -> Any:
            with self._scaled_rates():
                return plain_step(*args, **kwargs)

        # Not torch's step hooks: they run twice where one optimizer's step calls its base class's. A bound method,
        # because the schedules of torch wrap it in their turn.
        vars(optimizer)["step"] = MethodType(step, optimizer)

    @property
    def scale(self) -> float:
        """What learning rates are multiplied by now."""
        return self.factor**self.epochs

    def step(self) -> None:
        """Count an epoch."""
        self.epochs += 1
        self._mark()

    def state_dict(self) -> dict[str, int]:
        """Return the number of epochs counted."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Go on from a saved number of epochs."""
        self.epochs = state_dict["epochs"]
        self._mark()

    def _mark(self) -> None:
        for group in self.optimizer.param_groups:
            group[self.KEY] = self.scale

    @contextmanager
    def _scaled_rates(self) -> Iterator[None]:
        groups = self.optimizer.param_groups
        rates = [(group["lr"], group["lr"] * self.scale) for group in groups]
        for group, (_, scaled) in zip(groups, rates, strict=True):
            group["lr"] = scaled
        try:
            yield
        finally:
            for group, (plain, scaled) in zip(groups, rates, strict=True):
                # Some optimizers (SWATS, adaptive SGD) find a new rate in their step: that one stays.
                group["lr"] = plain if group["lr"] is scaled else group["lr"] / self.scale


def learning_rates(optimizer: Optimizer) -> list[float]:
    """Return the learning rate of each group as the next optimizer step uses it."""
    return [float(group["lr"]) * group.get(EpochDecay.KEY, 1.0) for group in optimizer.param_groups]


def chebyshev(optimizer: Optimizer, num_epochs: int, is_warmup: bool = False) -> LambdaLR:
    """Fractal Chebyshev schedule of pytorch_optimizer (arXiv 2103.01338), in plain floats.

    The library's own puts numpy scalars into the optimizer, which a checkpoint without code cannot hold.
    """
    return LambdaLR(optimizer, lambda epoch: float(get_chebyshev_lr_lambda(epoch, num_epochs, is_warmup)))


def _schedules() -> dict[str, Factory]:
    """Return our schedules, torch's and pytorch_optimizer's by name."""
    own = (warmups.AttentionWarmup, warmups.CosineWarmup, warmups.LinearWarmup, warmups.SqrtExpWarmup)
    schedules: dict[str, Factory] = {kind.__name__: kind for kind in own}
    for name, kind in vars(lr_scheduler).items():
        if inspect.isclass(kind) and issubclass(kind, LRScheduler) and not name.startswith(("_", "LRS")):
            schedules[name] = kind
    for name in pytorch_optimizer.get_supported_lr_schedulers():
        schedules[name] = pytorch_optimizer.load_lr_scheduler(name)
    return schedules | {"OneCycleLR": OneCycleLR, "one_cycle": OneCycleLR, "chebyshev": chebyshev}


def _fractions(schedules: Mapping[str, Factory]) -> dict[str, Parameters]:
    """Give schedules with a warm-up the parameter that sets its length as a fraction."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    fraction = {WARMUP_FRACTION: inspect.Parameter(WARMUP_FRACTION, keyword, default=None, annotation=float)}
    return {
        name: fraction
        for name, kind in schedules.items()
        if not parameters_of(kind).keys().isdisjoint(WARMUP_PARAMETERS)
    }


SCHEDULERS: Registry[Factory] = Registry(
    "scheduler", _schedules(), refused=REFUSED, passed=("optimizer", "last_epoch"), more=_fractions(_schedules())
)
"""Every schedule by name."""


def check_scheduler(config: SchedulerConfig | None) -> list[Problem]:
    """Return what is wrong with ``config``; paths are relative to ``training_config``."""
    if config is None:
        return []
    unknown = SCHEDULERS.problems(config.scheduler_name, ("scheduler", "scheduler_name"))
    if unknown:
        return unknown
    name = SCHEDULERS.resolve(config.scheduler_name)
    arguments, problems = _arguments(name, config)
    if problems:
        return problems
    per_group = [len(arguments[key]) for key in _PER_GROUP if isinstance(arguments.get(key), list | tuple)]
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(max(per_group, default=1))]
    trial = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    try:
        _build(name, config, trial, horizon=1000, monitor_mode="min")
    except (ConfigError, *_BAD_VALUES) as error:
        return [Problem(_PATH, f"{name} refuses its parameters: {error}")]
    return []


def build_scheduler(
    config: SchedulerConfig | None,
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    monitor_mode: str = "min",
) -> LRScheduler | ReduceLROnPlateau | None:
    """Build the schedule that ``config`` names.

    Left out, ``max_lr`` is the optimizer's learning rate and the length of the schedule is that of the run,
    in optimizer steps or, with ``interval: epoch``, in epochs. ``warmup_fraction`` gives the warm-up as a
    fraction of it.

    Parameters
    ----------
    config : SchedulerConfig or None
        Name and parameters; None keeps the learning rate constant.
    optimizer : Optimizer
        The optimizer, with the configured learning rates in its groups.
    total_steps : int
        Optimizer steps of the whole run.
    steps_per_epoch : int
        Optimizer steps of one epoch.
    monitor_mode : str
        ``min`` or ``max``: what ReduceLROnPlateau takes for an improvement unless its ``mode`` says
        otherwise.

    Raises
    ------
    ConfigError
        The name or a parameter is not right, see :func:`check_scheduler`.
    """
    if config is None:
        return None
    fail_unless_empty(check_scheduler(config))
    horizon = total_steps if config.interval == "step" else math.ceil(total_steps / steps_per_epoch)
    name = SCHEDULERS.resolve(config.scheduler_name)
    _warn_of_long_warmup(name, config, horizon)
    try:
        schedule = _build(name, config, optimizer, horizon=horizon, monitor_mode=monitor_mode)
    except _BAD_VALUES as error:
        place = ".".join(("training_config", *_PATH))
        raise ConfigError(f"{place}: {name} refuses its parameters: {error}") from error
    _warn_of_idle_epoch(name, config, optimizer)
    return schedule


def _arguments(name: str, config: SchedulerConfig) -> tuple[dict[str, Any], list[Problem]]:
    """Return the configured arguments and what is wrong with them."""
    given = config.scheduler_params
    filled = {"max_lr", LENGTHS.get(name, "")} - ({"max_lr"} if name in ("CyclicLR", "cyclic") else set())
    if WARMUP_FRACTION in given:
        filled |= set(WARMUP_PARAMETERS)
    arguments, problems = SCHEDULERS.arguments(name, given, _PATH, filled=filled)
    place, fraction = (*_PATH, WARMUP_FRACTION), arguments.get(WARMUP_FRACTION)
    if fraction is not None and not 0 <= fraction <= 1:
        problems.append(Problem(place, f"'{WARMUP_FRACTION}' is between 0 and 1, not {fraction}."))
    for warmup in WARMUP_PARAMETERS:
        if warmup in given and WARMUP_FRACTION in given:
            problems.append(Problem(place, f"'{WARMUP_FRACTION}' and {warmup} both set the warm-up; keep one."))
    return arguments, problems


def _build(name: str, config: SchedulerConfig, optimizer: Optimizer, *, horizon: int, monitor_mode: str) -> LRScheduler:
    arguments, _ = _arguments(name, config)
    parameters = SCHEDULERS.parameters(name)
    fraction = arguments.pop(WARMUP_FRACTION, None)
    warmup = next((parameter for parameter in WARMUP_PARAMETERS if parameter in parameters), "")
    if fraction is not None:
        arguments[warmup] = round(fraction * horizon)
    length = LENGTHS.get(name)
    if length and not {length, "epochs"} & arguments.keys():
        # CosineWarmup counts its fall from the end of the warm-up, the others count from the first step.
        arguments[length] = max(1, horizon - (arguments[warmup] if name == "CosineWarmup" else 0))
    if "max_lr" in parameters and name not in ("CyclicLR", "cyclic"):
        arguments["max_lr"] = _max_lr(name, arguments.get("max_lr"), optimizer)
    if name == "ReduceLROnPlateau":
        arguments.setdefault("mode", monitor_mode)
    return SCHEDULERS[name](optimizer, **arguments)


def _warn_of_long_warmup(name: str, config: SchedulerConfig, horizon: int) -> None:
    """Say so where most of a run is warm-up: the rate hardly reaches its top, or never does."""
    given, _ = _arguments(name, config)
    warmup = next((given[parameter] for parameter in WARMUP_PARAMETERS if parameter in given), 0)
    warmup = round(given[WARMUP_FRACTION] * horizon) if WARMUP_FRACTION in given else warmup
    if 2 * warmup > horizon:
        log.warning(
            "The warm-up takes %d of %d %ss, more than half of the run. Shorten it in training_config.scheduler."
            "scheduler_params, or give it as warmup_fraction.",
            warmup,
            horizon,
            config.interval,
        )


def _warn_of_idle_epoch(name: str, config: SchedulerConfig, optimizer: Optimizer) -> None:
    """Say so where a schedule that advances every epoch begins at 0: nothing is learnt in the first epoch."""
    if config.interval == "epoch" and not any(learning_rates(optimizer)):
        log.warning(
            "%s starts at a learning rate of 0, which with interval: epoch is that of the whole first epoch: nothing "
            "is learnt in it. Set training_config.scheduler.interval to step, or take another schedule.",
            name,
        )


def _max_lr(name: str, max_lr: Any, optimizer: Optimizer) -> Any:
    """Return ``max_lr``: the optimizer's rate when left out, and one rate per group where that is taken."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if name in _ONE_LR and len(set(rates)) > 1:
        raise ConfigError(
            f"The scheduler {name} sets one learning rate for all parameter groups, and yours differ: "
            f"{rates}. Use CosineWarmup, LinearWarmup or OneCycleLR, which keep their ratios."
        )
    top = max(rates) if max_lr is None else max_lr
    if name not in ("OneCycleLR", "one_cycle") or isinstance(top, tuple):
        return list(top) if isinstance(top, tuple) else top
    return [top * rate / max(rates) if max(rates) else top for rate in rates]
