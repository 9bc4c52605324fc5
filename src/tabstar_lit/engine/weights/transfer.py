"""Staged training: weights of modules taken from other checkpoints, and modules that are not trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from tabstar_lit.config.schema import LoadModule
from tabstar_lit.engine.weights.loading import load_strict, load_weights
from tabstar_lit.engine.weights.patterns import matches, nearest_parts
from tabstar_lit.errors import CheckpointError, ConfigError


@dataclass(frozen=True, slots=True)
class FreezeReport:
    """How much of a network is trained.

    Attributes
    ----------
    trainable_parameters, frozen_parameters : int
        Numbers of scalars.
    frozen : tuple of str
        Names of the frozen parameters, in the network's order.
    """

    trainable_parameters: int
    frozen_parameters: int
    frozen: tuple[str, ...]

    def __str__(self) -> str:
        """Give one line for the log."""
        total = self.trainable_parameters + self.frozen_parameters
        return f"{self.trainable_parameters:,} of {total:,} parameters are trained, {self.frozen_parameters:,} frozen"


def transfer_modules(
    network: nn.Module,
    load_modules: Mapping[str, str | LoadModule],
    resolve: Callable[[str], Path],
    strict: bool,
) -> list[str]:
    """Copy weights of modules from other checkpoints into ``network``.

    Parameters
    ----------
    network : nn.Module
        What receives the weights.
    load_modules : mapping
        Dotted path of a module in ``network`` to its source: the name of an earlier stage or a checkpoint
        path, or a ``LoadModule`` that also says which module of the source it is.
    resolve : callable
        Returns the checkpoint file of a source.
    strict : bool
        Refuse weights that do not correspond one to one.

    Returns
    -------
    list of str
        A line for the log about each module.

    Raises
    ------
    ConfigError
        ``network`` has no such module.
    CheckpointError
        The source has no such module, or its weights do not fit.
    """
    lines = []
    for target, spec in load_modules.items():
        source, origin = (spec, target) if isinstance(spec, str) else (spec.source, spec.module or target)
        module, path = _module(network, target, "load_modules"), resolve(source)
        state = _submodule_state(load_weights(path), origin, path)
        report = load_strict(module, state, strict=strict, source=f"'{origin}' in {path}", into=f"'{target}'")
        skipped = f"; skipped {report.differences}" if report.differences else ""
        lines.append(f"{target}: {report.loaded} tensors from '{origin}' in {path}{skipped}")
    return lines


def apply_freeze(network: nn.Module, freeze: Sequence[str], unfreeze_last: Mapping[str, int]) -> FreezeReport:
    """Decide which parameters of ``network`` are trained.

    Parameters
    ----------
    network : nn.Module
        Its parameters' ``requires_grad`` is set.
    freeze : sequence of str
        Globs over dotted names of modules and parameters; a module stands for everything below it.
    unfreeze_last : mapping of str to int
        Path of a list of layers to the number of its last layers that are trained, also where ``freeze``
        covers them; the layers before them are frozen.

    Raises
    ------
    ConfigError
        A pattern matches nothing, a path is no list of layers, or it has fewer layers than asked for.
    """
    parameters = dict(network.named_parameters())
    for pattern in freeze:
        matched = [parameter for name, parameter in parameters.items() if matches(pattern, name)]
        if not matched:
            near = nearest_parts(pattern, parameters)
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise ConfigError(f"freeze: '{pattern}' matches no module or parameter of the network.{hint}")
        for parameter in matched:
            parameter.requires_grad_(False)
    for path, last in unfreeze_last.items():
        layers = _layers(network, path, last)
        for index, layer in enumerate(layers):
            layer.requires_grad_(index >= len(layers) - last)
    return _report(parameters)


def frozen_modules(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules of ``network`` that have parameters and train none of them.

    Training keeps these in evaluation mode: their dropout is off and their running statistics stay.
    """
    parameters = list(network.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield network
        return
    for child in network.children():
        yield from frozen_modules(child)


def _report(parameters: Mapping[str, nn.Parameter]) -> FreezeReport:
    frozen = {name: parameter.numel() for name, parameter in parameters.items() if not parameter.requires_grad}
    total = sum(parameter.numel() for parameter in parameters.values())
    return FreezeReport(total - sum(frozen.values()), sum(frozen.values()), tuple(frozen))


def _module(network: nn.Module, path: str, key: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError:
        near = nearest_parts(path, (name for name, _ in network.named_modules() if name))
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise ConfigError(f"{key}: the network has no module '{path}'.{hint}") from None


def _layers(network: nn.Module, path: str, last: int) -> nn.ModuleList | nn.Sequential:
    layers = _module(network, path, "unfreeze_last")
    if not isinstance(layers, nn.ModuleList | nn.Sequential):
        lists = [name for name, m in network.named_modules() if isinstance(m, nn.ModuleList | nn.Sequential) and name]
        raise ConfigError(
            f"unfreeze_last: '{path}' is a {type(layers).__name__}, not a list of layers. Lists of layers "
            f"here: {', '.join(lists) or 'none'}."
        )
    if not 0 <= last <= len(layers):
        raise ConfigError(f"unfreeze_last: '{path}' has {len(layers)} layers, so not its last {last}.")
    return layers


def _submodule_state(weights: Mapping[str, Tensor], module: str, path: Path) -> dict[str, Tensor]:
    prefix = f"{module}." if module else ""
    state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if not state:
        near = nearest_parts(module, weights)
        top = ", ".join(dict.fromkeys(name.split(".")[0] for name in weights))
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise CheckpointError(f"{path} has no module '{module}'; it has {top}.{hint}")
    return state
