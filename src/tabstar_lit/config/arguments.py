"""Free dictionaries of a configuration (``optimizer_params``, ...) checked against what takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tabstar_lit.config.tree import Path_, Problem, dotted, suggestion
from tabstar_lit.errors import ConfigError

Parameters = Mapping[str, inspect.Parameter]


def parameters_of(function: Callable[..., Any], *, without: Collection[str] = ()) -> Parameters:
    """Return the named parameters of ``function`` that a configuration may set.

    Parameters
    ----------
    function : callable
        A class or function; ``*args`` and ``**kwargs`` of it take nothing from a configuration.
    without : collection of str
        Parameters that the program passes itself.
    """
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind not in variadic and name not in without
    }


def check_arguments(
    parameters: Parameters, given: Mapping[str, Any], *, owner: str, path: Path_, filled: Collection[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Check ``given`` against ``parameters`` and convert numbers written as text.

    Parameters
    ----------
    parameters : mapping of str to inspect.Parameter
        What ``owner`` accepts, see :func:`parameters_of`.
    given : mapping
        The dictionary of the configuration.
    owner : str
        Name of the class or function for the messages.
    path : tuple
        Place of the dictionary, relative to ``training_config``.
    filled : collection of str
        Required parameters that the program fills in when they are left out.

    Returns
    -------
    arguments : dict
        The values to pass, lists as tuples where a tuple is expected.
    problems : list of Problem
        Unknown and missing names and values of a wrong kind.
    """
    arguments: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in given.items():
        if name not in parameters:
            problems.append(Problem((*path, name), f"unknown parameter '{name}' of {owner}.", tuple(parameters)))
            continue
        try:
            arguments[name] = _converted(value, parameters[name])
        except ValueError as error:
            problems.append(Problem((*path, name), f"'{name}' of {owner} {error}."))
    required = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    missing = [name for name in required if name not in given and name not in filled]
    if missing:
        problems.append(Problem(path, f"{owner} needs {', '.join(missing)}, which is not given."))
    return arguments, problems


def fail_unless_empty(problems: Sequence[Problem]) -> None:
    """Raise all ``problems`` as one error, for callers that have no file to point at.

    Raises
    ------
    ConfigError
        When there is at least one problem.
    """
    if problems:
        raise ConfigError("\n".join(f"training_config.{dotted(p.path)}: {_text(p)}" for p in problems))


def _text(problem: Problem) -> str:
    _, name, *_ = [*problem.message.split("'"), ""]  # what is quoted first is what was written
    return problem.message + suggestion(name, problem.allowed)


def _converted(value: Any, parameter: inspect.Parameter) -> Any:
    """Return ``value`` in the kind the parameter's default or annotation asks for."""
    default = parameter.default
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"is true or false, not {value!r}")
        return value
    if isinstance(default, tuple):
        return _numbers(value, len(default), accepts_none=None in default)
    if isinstance(default, int | float):
        return _number_or_alternative(value, str(parameter.annotation))
    if isinstance(value, list):
        return tuple(_number(v) if isinstance(v, str) else v for v in value)
    if isinstance(value, str) and _is_numeric(parameter):
        return _number(value)
    return value


def _number_or_alternative(value: Any, annotation: str) -> Any:
    if value is None and "None" in annotation:
        return None
    if isinstance(value, list) and "list" in annotation:
        return [_number(item) for item in value]
    return _number(value)


def _is_numeric(parameter: inspect.Parameter) -> bool:
    """Tell whether a parameter without a telling default takes numbers and no text."""
    annotation = str(parameter.annotation)
    return ("float" in annotation or "int" in annotation) and "str" not in annotation


def _number(value: Any) -> int | float:
    """Return a number; one written as text is converted, everything else refused."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"is a number, not {value!r}") from None
        return int(number) if value.strip().lstrip("+-").isdecimal() else number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is a number, not {value!r}")
    return value


def _numbers(value: Any, length: int, *, accepts_none: bool) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise ValueError(f"is a list of {length} numbers, not {value!r}")
    return tuple(None if item is None and accepts_none else _number(item) for item in value)
