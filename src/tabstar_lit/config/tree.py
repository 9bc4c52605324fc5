"""A composed configuration that still knows the file, line and column of every value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from tabstar_lit.config.redact import redact_text, secret_values
from tabstar_lit.errors import ConfigError

Path_ = tuple[str | int, ...]
"""A place inside a configuration, such as ``("model_config", "training_config", "max_epochs")``."""

OVERLAYS = "stage_config"
"""The key whose mapping holds, by stage, parts of a whole configuration."""

MAX_LISTED = 20

LIKENESS = 0.6
"""How alike two names must be (``difflib``'s ratio, 1 for equal ones) for one to be offered in place of the other."""


class Position(NamedTuple):
    """Where a key or value was written; ``line`` 0 means a source without lines, such as the command line."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Give ``file:line:column``, the form editors and terminals turn into a link."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(NamedTuple):
    """One mistake: where it is, what it is, and the names that would have been right."""

    path: Path_
    message: str
    allowed: Sequence[str] = ()


@dataclass(frozen=True)
class ConfigTree:
    """Plain data (dictionaries, lists, scalars; secrets as ``SecretStr``) and where each part came from.

    Attributes
    ----------
    data : dict of str to Any
        The configuration as YAML would hold it.
    positions : mapping of path to Position
        The place of each key and list element that was written by somebody; defaults have none.
    """

    data: dict[str, Any]
    positions: Mapping[Path_, Position]

    def position(self, path: Path_) -> Position | None:
        """Give the position of `path`, or of its nearest ancestor that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return None


def dotted(path: Path_) -> str:
    """Write a path the way overrides do: ``model_config.training_config.max_epochs``."""
    return ".".join(str(part) for part in path)


def nearest_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` of the ``known`` names that are nearly ``name``, the most alike first."""
    alike = [other for other in dict.fromkeys(known) if _differ_little(name, other)]
    return difflib.get_close_matches(name, alike, n=n, cutoff=LIKENESS)


def _differ_little(one: str, two: str) -> bool:
    """Tell whether names are alike word by word: ``significance_config`` is no ``stage_config``."""
    ours, theirs = one.split("_"), two.split("_")
    if len(ours) != len(theirs):
        return True
    pairs = zip(ours, theirs, strict=True)
    return all(difflib.SequenceMatcher(None, mine, other).ratio() >= LIKENESS for mine, other in pairs)


def did_you_mean(name: str, known: Iterable[str], n: int = 1) -> str:
    """Give `` Did you mean 'a' or 'b'?`` with up to ``n`` near misses, nothing where there are none."""
    near = nearest_names(name, known, n)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def suggestion(name: str, allowed: Iterable[str], listed: str = "Allowed") -> str:
    """Give `` Did you mean ...?`` for a near miss, else `` Allowed: a, b.``, else nothing.

    ``listed`` stands before the list where its names are not a choice but what there is: ``It has``.
    """
    names = list(dict.fromkeys(allowed))
    if near := did_you_mean(name, names):
        return near
    if not names:
        return ""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f" {listed}: {', '.join(names[:MAX_LISTED])}{more}."


def fail(position: Position | None, message: str) -> NoReturn:
    """Raise a :class:`ConfigError` for a mistake that stops reading at once (syntax, missing files)."""
    raise ConfigError(f"{position}: {message}" if position else message)


MOST_SHOWN = 50
"""Problems that a message lists."""


def raise_problems(tree: ConfigTree, problems: Sequence[Problem]) -> None:
    """Report every problem of a configuration at once, each located and in order of file and line.

    Raises
    ------
    ConfigError
        When there is at least one problem; values of secrets are masked in its message.
    """
    if not problems:
        return
    located = {(tree.position(problem.path) or Position("default"), _text(problem)) for problem in problems}
    lines = [f"{position}: {text}" for position, text in sorted(located)[:MOST_SHOWN]]
    if len(located) > 1:
        lines.insert(0, f"{len(located)} problems in the configuration:")
    if len(located) > MOST_SHOWN:
        lines.append(f"and {len(located) - MOST_SHOWN} more")
    raise ConfigError(redact_text("\n".join(lines), secret_values(tree.data)))


def _text(problem: Problem) -> str:
    """Give the message with the nearest valid name, looked up by what the message quotes first."""
    quoted = problem.message.split("'")
    name = quoted[1] if len(quoted) > 2 else str(problem.path[-1]) if problem.path else ""
    return problem.message + suggestion(name, problem.allowed)
