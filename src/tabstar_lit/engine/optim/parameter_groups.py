"""Optimizer groups by parameter name: who gets which learning rate, and who is not decayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from tabstar_lit.config.schema import ParameterGroup, TrainingConfig
from tabstar_lit.engine.optim.optimizers import ParamGroup, base_lr, has_weight_decay, orthogonalises
from tabstar_lit.engine.weights.patterns import matches, nearest_parts
from tabstar_lit.errors import ConfigError

NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.batchnorm._NormBase,  # all batch and instance norms, lazy and synchronized ones included
)


def parameter_groups(network: nn.Module, config: TrainingConfig) -> list[ParamGroup]:
    """Divide the trainable parameters of ``network`` into optimizer groups.

    The first pattern of ``parameter_groups.groups`` that matches a parameter's name, or a module it is inside
    of, decides its learning rate and weight decay. With ``exclude_from_decay: norms_and_biases`` all biases
    and the weights of norm layers get no weight decay; weights of embeddings and of every other layer keep
    it, as in the reference training of BERT (arXiv 1810.04805) and its successors.

    Parameters
    ----------
    network : nn.Module
        The network; its frozen parameters are left out.
    config : TrainingConfig
        ``parameter_groups`` and ``optimizer`` of it are used.

    Returns
    -------
    list of dict
        ``params`` in the network's own order, ``name`` for logs (``default``, the pattern, ``.../no_decay``),
        and ``lr`` and ``weight_decay`` where they differ from the optimizer's own.

    Raises
    ------
    ConfigError
        A pattern matches nothing, nothing is trainable, or the optimizer lacks what a group sets.
    """
    patterns = config.parameter_groups.groups
    _check_patterns(network, patterns)
    exclude = config.parameter_groups.exclude_from_decay == "norms_and_biases" and has_weight_decay(config.optimizer)
    spared = _norms_and_biases(network) if exclude else set()
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            place = next((i for i, group in enumerate(patterns) if matches(group.pattern, name)), len(patterns))
            members.setdefault((place, id(parameter) in spared), []).append(parameter)
    if not members:
        raise ConfigError("Nothing is left to train: every parameter of the network is frozen. Look at `freeze`.")
    return [
        {"params": parameters, **_settings(patterns, place, without_decay, config)}
        for (place, without_decay), parameters in sorted(members.items(), key=lambda item: item[0])
    ]


def _settings(
    patterns: Sequence[ParameterGroup], place: int, without_decay: bool, config: TrainingConfig
) -> dict[str, Any]:
    group = patterns[place] if place < len(patterns) else None
    settings: dict[str, Any] = {"name": group.pattern if group else "default"}
    if group and group.lr is not None:
        settings["lr"] = group.lr
    if group and group.lr_scale is not None:
        settings["lr"] = group.lr_scale * _base_lr(config, place)
    if group and group.weight_decay is not None:
        _require_weight_decay(config, place)
        settings["weight_decay"] = group.weight_decay
    if group and not group.muon and orthogonalises(config.optimizer):
        settings["use_muon"] = False
    if without_decay:
        settings |= {"name": f"{settings['name']}/no_decay", "weight_decay": 0.0}
    return settings


def _norms_and_biases(network: nn.Module) -> set[int]:
    """Return the identities of all biases and of every parameter of a norm layer."""
    return {id(parameter) for parameter in _without_decay(network)}


def _without_decay(network: nn.Module) -> Iterator[nn.Parameter]:
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            # Attention layers call theirs in_proj_bias, bias_k, bias_v; home-made norms are known by their
            # class name; scales are factors around 1, as the weights of norms are.
            if (
                "bias" in name
                or name.startswith("scale")
                or isinstance(module, NORMS)
                or type(module).__name__.endswith("Norm")
            ):
                yield parameter


def _check_patterns(network: nn.Module, patterns: Sequence[ParameterGroup]) -> None:
    names = [name for name, _ in network.named_parameters()]
    for place, group in enumerate(patterns):
        if not any(matches(group.pattern, name) for name in names):
            near = nearest_parts(group.pattern, names)
            hint = f" Nearest: {', '.join(near)}." if near else f" The first parameters are {', '.join(names[:5])}."
            raise ConfigError(f"{_where(place)}.pattern: '{group.pattern}' matches no parameter of the network.{hint}")


def _base_lr(config: TrainingConfig, place: int) -> float:
    lr = base_lr(config.optimizer)
    if lr is None:
        raise ConfigError(
            f"{_where(place)}.lr_scale: {config.optimizer.optimizer_name} has no fixed learning rate to "
            "scale. Give optimizer_params.lr or use `lr` in the group."
        )
    return lr


def _require_weight_decay(config: TrainingConfig, place: int) -> None:
    if not has_weight_decay(config.optimizer):
        raise ConfigError(
            f"{_where(place)}.weight_decay: {config.optimizer.optimizer_name} has no weight decay. Leave it "
            "out or take another optimizer, such as AdamW."
        )


def _where(place: int) -> str:
    return f"training_config.parameter_groups.groups[{place}]"
