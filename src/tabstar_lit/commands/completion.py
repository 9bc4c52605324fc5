"""What the Tab key offers: keys, configuration files and values of ``KEY=VALUE``, and names of runs.

Options and commands are completed by click, which also prints the scripts that switch completion on, see
``docs/configuration.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from click import Context, Parameter
from click.shell_completion import BashComplete, add_completion_class

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

Completer = Callable[[Context, Parameter, str], list[str]]


class WithoutSpaces(BashComplete):
    """Bash without a space behind what is completed: a key goes on with ``.`` or ``=``."""

    source_template = BashComplete.source_template.replace("complete -o nosort", "complete -o nosort -o nospace")


add_completion_class(WithoutSpaces)


def overrides_of(family: AnyFamily) -> Completer:
    """Return what completes ``KEY=VALUE`` for a training command.

    Bash takes ``=`` for a word of its own: there the value comes alone, behind the words ``KEY`` and ``=``.
    """

    def complete(context: Context, parameter: Parameter, incomplete: str) -> list[str]:
        before = list(context.params.get(parameter.name or "") or ())
        if incomplete == "=":
            return _values(family, context, before[-1], "") if before else []
        if len(before) > 1 and before[-1] == "=":
            return _values(family, context, before[-2], incomplete)
        key, equals, value = incomplete.partition("=")
        if equals:
            return [f"{key}={found}" for found in _values(family, context, key, value)]
        return [found for found in dict.fromkeys(_keys(family, context, key)) if found.startswith(key)]

    return complete


def names_of_runs(context: Context, parameter: Parameter, incomplete: str) -> list[str]:
    """Return the runs below ``--save-dir`` whose name, or last part of it, begins so."""
    from tabstar_lit.config import roots
    from tabstar_lit.engine.runs.files import run_directories

    names = [run.name for run in run_directories(context.params.get("save_dir") or roots().logs)]
    short = [name for name in (name.rpartition("/")[2] for name in names) if name.startswith(incomplete)]
    return short or [name for name in names if name.startswith(incomplete)]


def _keys(family: AnyFamily, context: Context, begun: str) -> Iterator[str]:
    """Yield the keys beside ``begun``: those of sections end with a dot, all others and groups of files with ``=``."""
    from tabstar_lit.config.schema_walk import models_at, models_in, yaml_fields

    above = begun.rpartition(".")[0]
    for model in models_at(family.schema(), {}, tuple(above.split(".")) if above else ()):
        for name, field in yaml_fields(model).items():
            key = f"{above}.{name}" if above else name
            if models_in(field.annotation):
                yield f"{key}."
            if not models_in(field.annotation) or (not above and _files(family, context, key)):
                yield f"{key}="


def _values(family: AnyFamily, context: Context, key: str, begun: str) -> list[str]:
    """Return the files of a group, or the words that a key can have."""
    from tabstar_lit.config.schema_walk import models_at, yaml_fields

    above, _, name = key.rpartition(".")
    fields = [
        yaml_fields(model).get(name) for model in models_at(family.schema(), {}, tuple(filter(None, above.split("."))))
    ]
    words = [word for field in fields if field is not None for word in _words(field.annotation)]
    return [value for value in dict.fromkeys([*_files(family, context, key), *words]) if value.startswith(begun)]


def _files(family: AnyFamily, context: Context, group: str) -> list[str]:
    """Return the options of a group, those of the family alone where it has some."""
    from tabstar_lit.config.compose import Composer
    from tabstar_lit.config.paths import find_config_dirs

    if not group.isidentifier():
        return []
    chosen: Path | None = context.params.get("config_dir")
    options = Composer(find_config_dirs(chosen, family.configurations()), lambda node, _: node).options(group)
    return [option for option in options if option.startswith(f"{family.name}/")] or options


def _words(annotation: Any) -> Sequence[str]:
    """Return what may be written for a type that has few values."""
    if annotation is bool:
        return ["true", "false"]
    if annotation is type(None):
        return ["null"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]
