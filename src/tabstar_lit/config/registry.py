"""What a configuration may name (an optimizer, a loss, an activation, ...), and what makes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from tabstar_lit.config.arguments import Parameters, check_arguments, fail_unless_empty, parameters_of
from tabstar_lit.config.tree import Path_, Problem

M = TypeVar("M", bound=Callable[..., Any])

NONE: Mapping[str, Any] = {}


class Registry(Mapping[str, M]):
    """Classes or functions of one kind by the names that configurations use; as a mapping, those that can be used.

    Parameters
    ----------
    kind : str
        What they are, for messages: ``optimizer``.
    makers : mapping of str to callable
        Name -> class or function. The first line of its docstring describes it in lists.
    spellings : mapping of str to str
        Other name -> name; lists give them in brackets.
    refused : mapping of str to str
        Name that is known and cannot be used -> the reason, a sentence.
    passed : collection of str
        Parameters that the program passes itself.
    more : mapping of str to Parameters
        Name -> parameters that it takes beside those of its signature.
    absent : str
        What is said of a name that is not here, in front of the name; by default ``unknown <kind>``.
    """

    def __init__(
        self,
        kind: str,
        makers: Mapping[str, M],
        *,
        spellings: Mapping[str, str] = NONE,
        refused: Mapping[str, str] = NONE,
        passed: Collection[str] = (),
        more: Mapping[str, Parameters] = NONE,
        absent: str = "",
    ) -> None:
        self.kind, self.absent = kind, absent or f"unknown {kind}"
        self.spellings, self.refused, self.passed, self.more = spellings, refused, passed, more
        self._makers = makers
        self._usable = {name: maker for name, maker in makers.items() if name not in refused}

    def __getitem__(self, name: str) -> M:
        """Return what ``name``, exactly as it stands here, is made by."""
        return self._usable[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names that can be used."""
        return iter(self._usable)

    def __len__(self) -> int:
        """Return how many can be used."""
        return len(self._usable)

    def resolve(self, written: str) -> str:
        """Return the name that is meant: ``written``, or one that differs from it in case or spelling.

        What means nothing comes back as it is; :meth:`problems` tells.
        """
        known = {name: name for name in (*self._makers, *self.refused)} | dict(self.spellings)
        if written in known:
            return known[written]
        return next((name for other, name in known.items() if other.lower() == written.lower()), written)

    def problems(self, written: str, path: Path_) -> list[Problem]:
        """Return what is wrong with a name that stands at ``path``: that there is no such thing, or no use for it."""
        name = self.resolve(written)
        if name in self.refused:
            return [Problem(path, f"the {self.kind} '{written}' cannot be used: {self.refused[name]}")]
        if name not in self:
            return [Problem(path, f"{self.absent} '{written}'.", tuple(self))]
        return []

    def find(self, written: str, path: Path_) -> M:
        """Return what ``written`` is made by.

        Raises
        ------
        ConfigError
            There is no such name, or it cannot be used; with its ``path`` below ``training_config``.
        """
        fail_unless_empty(self.problems(written, path))
        return self[self.resolve(written)]

    def parameters(self, name: str) -> Parameters:
        """Return what a configuration can set of ``name``; nothing of what there is not."""
        own = parameters_of(self._makers[name], without=self.passed) if name in self._makers else {}
        return {**self.more.get(name, {}), **own}

    def arguments(
        self, name: str, given: Mapping[str, Any], path: Path_, *, filled: Collection[str] = ()
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Check the dictionary at ``path`` against :meth:`parameters`, see :func:`check_arguments`."""
        return check_arguments(self.parameters(name), given, owner=name, path=path, filled=filled)

    def lines(self) -> dict[str, str]:
        """Return a line about each name; of refused ones ``refused:`` and the reason."""
        lines = {self._listed(name): describe(maker) for name, maker in self._usable.items()}
        return lines | {name: f"refused: {reason}" for name, reason in self.refused.items()}

    def _listed(self, name: str) -> str:
        others = [other for other, meant in self.spellings.items() if meant == name]
        return f"{name} ({', '.join(others)})" if others else name


def describe(maker: Callable[..., Any]) -> str:
    """Return the first line of a docstring; without one the name."""
    text: str = inspect.getdoc(maker) or maker.__name__
    return text.strip().partition("\n")[0].strip()
