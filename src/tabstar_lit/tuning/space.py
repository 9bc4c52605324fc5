"""The space a study searches: keys of the configuration, the values they take, and whether all of these can be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tabstar_lit.config import Composition, ConfigTree, Loaded, Path_, Position
from tabstar_lit.config.nodes import Node
from tabstar_lit.config.overrides import Override
from tabstar_lit.config.schema import CategoricalParameter, FloatParameter, IntParameter, TuningConfig
from tabstar_lit.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SCALARS = (str, int, float, bool, type(None))
PARAMETERS: Path_ = ("tuning_config", "parameters")
HEADER = " problems in the configuration:"


class SearchSpace:
    """The parameters of a study, as the sampler and as the configuration see them.

    Parameters
    ----------
    tuning : TuningConfig
        Its ``parameters``.
    tree : ConfigTree
        Where they were written: what a value breaks is reported there.
    """

    def __init__(self, tuning: TuningConfig, tree: ConfigTree) -> None:
        self.parameters = tuning.parameters
        self._tree = tree

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what the sampler draws from, by dotted key."""
        return {path: _distribution(parameter) for path, parameter in self.parameters.items()}

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the configuration for what the sampler drew."""
        return {path: _decoded(self.parameters[path], value) for path, value in drawn.items()}

    def overrides(self, values: Mapping[str, Any]) -> list[Override]:
        """Return ``values`` as they are laid over the configuration, each placed where its parameter was written."""
        return [self._override(path, value, (path,)) for path, value in values.items()]

    def check(self, composition: Composition[Any], check: Callable[[Loaded[Any]], None]) -> None:
        """Try every choice and both ends of every range in the configuration, one at a time.

        Parameters
        ----------
        composition : Composition
            What is tuned.
        check : callable
            Raises :class:`ConfigError` for a configuration that the schema alone cannot refuse.

        Raises
        ------
        ConfigError
            All mistakes at once: keys that do not exist, values that are not allowed, each where it was written.
        """
        found: dict[tuple[str, str], str] = {}
        for path, value, place in self._edges():
            override = self._override(path, value, place)
            try:
                check(composition.load([override]))
            except ConfigError as error:
                for line in str(error).splitlines():
                    if not line.endswith(HEADER):  # what is wrong with the key is said once, not of each value
                        found.setdefault((path, line.removeprefix(f"{override.position}: ")), line)
        if found:
            header = [f"{len(found)}{HEADER}"] if len(found) > 1 else []
            raise ConfigError("\n".join([*header, *found.values()]))

    def _edges(self) -> Iterator[tuple[str, Any, Path_]]:
        """Yield key, value and place of what bounds the space."""
        for path, parameter in self.parameters.items():
            if isinstance(parameter, CategoricalParameter):
                for index, choice in enumerate(parameter.choices):
                    yield path, choice, (path, "choices", index)
            else:
                yield path, parameter.low, (path, "low")
                yield path, parameter.high, (path, "high")

    def _override(self, path: str, value: Any, place: Path_) -> Override:
        position = self._tree.position((*PARAMETERS, *place)) or Position("tuning_config")
        return Override("", path, node(value, position), position)


def node(value: Any, position: Position) -> Node:
    """Return a plain value as a piece of a configuration that stands at ``position``."""
    if isinstance(value, Mapping):
        return Node({key: node(child, position) for key, child in value.items()}, position)
    if isinstance(value, list | tuple):
        return Node([node(child, position) for child in value], position)
    return Node(value, position)


def _distribution(parameter: FloatParameter | IntParameter | CategoricalParameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match parameter:
        case FloatParameter():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
        case IntParameter():
            return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return CategoricalDistribution([_encoded(choice) for choice in parameter.choices])


def _encoded(choice: Any) -> str | int | float | bool | None:
    """Return a choice as the database keeps it: lists and mappings as JSON."""
    return choice if isinstance(choice, SCALARS) else json.dumps(choice)


def _decoded(parameter: FloatParameter | IntParameter | CategoricalParameter, drawn: Any) -> Any:
    """Return the value that a drawn one stands for."""
    if not isinstance(parameter, CategoricalParameter):
        return drawn
    return next(choice for choice in parameter.choices if (type(c := _encoded(choice)), c) == (type(drawn), drawn))
