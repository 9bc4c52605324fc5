"""From files and arguments to a checked, typed experiment whose every value knows where it was written."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from tabstar_lit.config.compose import Composer
from tabstar_lit.config.data_names import named_after_data
from tabstar_lit.config.interpolation import Interpolation
from tabstar_lit.config.nodes import Node, find, to_tree
from tabstar_lit.config.overrides import Override, parse_override
from tabstar_lit.config.paths import PRIMARY_NAME, find_config_dirs
from tabstar_lit.config.redact import MASK, seal
from tabstar_lit.config.schema import Experiment
from tabstar_lit.config.schema_walk import lookup, respell, secret_keys
from tabstar_lit.config.tree import ConfigTree, Path_, Position, Problem
from tabstar_lit.config.validate import complete, no_problems, validate
from tabstar_lit.config.yaml_reader import read_yaml
from tabstar_lit.errors import ConfigError

E = TypeVar("E", bound=Experiment)
API_KEY: Path_ = ("experiment_config", "comet_api_key")
API_KEY_VARIABLE = "COMET_API_KEY"


@dataclass(frozen=True)
class Stage(Generic[E]):
    """One stage, with the experiment as this stage sees it: its overlay merged and checked."""

    name: str
    experiment: E
    tree: ConfigTree


@dataclass(frozen=True)
class Loaded(Generic[E]):
    """A checked experiment, its stages in order, its data with positions, and notices for the user."""

    experiment: E
    stages: tuple[Stage[E], ...]
    tree: ConfigTree
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Composition(Generic[E]):
    """A configuration that has been composed once, over which values can still be laid without reading a file again.

    References are resolved with those values in place, so what refers to a changed key changes with it.

    Attributes
    ----------
    schema : type
        The family's :class:`Experiment`.
    """

    schema: type[E]
    _root: Node
    _composer: Composer

    def load(
        self, overrides: Sequence[Override] = (), further: Callable[[E], Iterable[Problem]] = no_problems
    ) -> Loaded[E]:
        """Resolve and check the configuration with ``overrides`` laid over it; for ``further`` see :func:`validate`.

        Raises
        ------
        ConfigError
            With every mistake found, each located.
        """
        secrets = secret_keys(self.schema)
        composed = self._composer.lay_over(self._root, overrides)
        references = Interpolation(composed, secrets)
        root, key_notice = _with_api_key(references.resolve())
        given = to_tree(_as_text(root, references.texts, secrets))
        given = ConfigTree(seal(given.data, secrets), given.positions)
        experiment, tree = _checked(self.schema, given, references.texts, further)
        stages = tuple(_stage(self.schema, name, tree) for name in experiment.stages)
        return Loaded(experiment, stages, tree, (*self._composer.notices, *key_notice))


def load_experiment(
    schema: type[E],
    *,
    command: str,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    primary: Path | None = None,
    family_directory: str | None = None,
    family_files: Path | None = None,
    further: Callable[[E], Iterable[Problem]] = no_problems,
) -> Loaded[E]:
    """Compose, resolve and check the configuration of a command.

    Parameters
    ----------
    schema : type
        The family's :class:`Experiment`.
    command : str
        Which ``commands.<command>`` of the primary file is laid over it.
    overrides : sequence of str
        ``key=value`` arguments, applied in order.
    config_dir : Path, optional
        Searched before the variable, the working directory and the packaged copy.
    primary : Path, optional
        An already composed file to start from, such as the ``config.yaml`` of a run.
    family_directory : str, optional
        A folder of a configuration directory, searched first where it holds a ``training_config.yaml``.
    family_files : Path, optional
        The configuration directory of a family that does not come with the program, searched before the packaged copy.
        Its ``training_config.yaml`` also stands in for one that lists ``commands`` without this one.
    further : callable
        Finds mistakes beyond the schema, where there are others already; see :func:`tabstar_lit.config.validate`.

    Raises
    ------
    ConfigError
        With every mistake found, each located.
    """
    composition = compose_experiment(
        schema,
        command=command,
        overrides=overrides,
        config_dir=config_dir,
        primary=primary,
        family_directory=family_directory,
        family_files=family_files,
    )
    return composition.load(further=further)


def compose_experiment(
    schema: type[E],
    *,
    command: str,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    primary: Path | None = None,
    family_directory: str | None = None,
    family_files: Path | None = None,
) -> Composition[E]:
    """Compose the configuration of a command without checking it yet; the parameters of :func:`load_experiment`.

    Raises
    ------
    ConfigError
        A file or option is missing, or something is not written as it must be.
    """
    secrets = secret_keys(schema)
    directories = _with_family(find_config_dirs(config_dir, family_files), family_directory)
    foreign = schema.foreign_keys if primary is None else schema.earlier_keys
    settle = partial(named_after_data, key=schema.data_key)
    composer = Composer(directories, partial(_respelled, schema), foreign, settle, composed=primary is not None)
    parsed = [parse_override(text, secrets) for text in overrides]
    primary = primary or _primary(directories, command, family_files)
    return Composition(schema, composer.compose(primary, command, parsed), composer)


def _respelled(schema: type[Experiment], node: Node, tell: Callable[[str], None]) -> Node:
    return respell(node, (schema,), tell)


def _as_text(root: Node, texts: Mapping[Path_, str], secrets: Collection[str]) -> Node:
    """Let secrets from the environment be text even when they look like numbers."""
    for path, text in texts.items():
        written = find(root, path)
        if written is not None and path[-1] in secrets:
            root = root.replaced(path, Node(text, written.position))
    return root


def _with_family(directories: Sequence[Path], family: str | None) -> list[Path]:
    """Search the family's own folder of a directory before the directory itself."""
    found: list[Path] = []
    for directory in directories:
        if family is not None and (directory / family / PRIMARY_NAME).is_file():
            found.append(directory / family)
        found.append(directory)
    return found


def _primary(directories: Sequence[Path], command: str, family_files: Path | None) -> Path:
    """Return the first primary file; one that leaves a command out gives way to that of the command's own family."""
    found = [directory / PRIMARY_NAME for directory in directories if (directory / PRIMARY_NAME).is_file()]
    if not found:
        searched = ", ".join(str(directory) for directory in directories)
        raise ConfigError(f"no {PRIMARY_NAME} in any of: {searched}; `tabstar_lit init` writes one to edit")
    own = None if family_files is None else family_files / PRIMARY_NAME
    return own if own in found and _leaves_out(found[0], command) else found[0]


def _leaves_out(primary: Path, command: str) -> bool:
    """Tell whether a file lists commands and this is none of them."""
    commands = read_yaml(primary).value.get("commands")
    return commands is not None and isinstance(commands.value, dict) and command not in commands.value


def _with_api_key(root: Node) -> tuple[Node, list[str]]:
    """Take the Comet key from the environment when no file has it; null in a file means no Comet."""
    written = find(root, API_KEY)
    if written is not None and written.value != MASK:
        return root, []
    key = os.environ.get(API_KEY_VARIABLE)
    if key:
        position = Position(f"the variable {API_KEY_VARIABLE}")
        return root.replaced(API_KEY, Node(key, position)), []
    if written is None:
        return root, []
    notice = f"{written.position}: the key was masked when this was written; set {API_KEY_VARIABLE} to use Comet"
    return root.replaced(API_KEY, Node(None, written.position)), [notice]


def _checked(
    schema: type[E],
    given: ConfigTree,
    texts: Mapping[Path_, str],
    further: Callable[[E], Iterable[Problem]] = no_problems,
) -> tuple[E, ConfigTree]:
    """Give the experiment and its complete data; secrets in parts of stages, which have no types, stay secret."""
    experiment = validate(schema, given, texts, further)
    overlays = seal(experiment.stage_config, secret_keys(schema))
    experiment = experiment.model_copy(update={"stage_config": overlays})
    return experiment, ConfigTree(complete(experiment), given.positions)


def _stage(schema: type[E], name: str, tree: ConfigTree) -> Stage[E]:
    """Lay a stage's part over the experiment and check the result."""
    overlay = tree.data["stage_config"].get(name, {})
    merged = ConfigTree(_merged(tree.data, overlay), _stage_positions(tree, name))
    return Stage(name, *_checked(schema, merged, {}))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def _stage_positions(tree: ConfigTree, name: str) -> dict[Path_, Position]:
    """Let what the overlay sets point to the overlay, and the mappings around it to where they began."""
    prefix: Path_ = ("stage_config", name)
    positions = dict(tree.positions)
    for path, position in tree.positions.items():
        place = path[2:]
        if path[:2] == prefix and place:
            is_mapping = isinstance(lookup(tree.data, path), dict)
            positions[place] = positions.get(place, position) if is_mapping else position
    return positions
