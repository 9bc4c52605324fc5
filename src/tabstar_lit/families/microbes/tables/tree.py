"""Phylogenetic trees: Newick files in, flat arrays out.

Tips stand in the order of the file, so the tips below any branch are neighbours. A branch therefore is a length and a
range of tips, and everything summed over the tips below it is the difference of two cumulative sums.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tabstar_lit.arrays import Bool, Float64, Int64
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.tables.payload import read_payload

_TOKENS = re.compile(
    r"\s+ | \[[^\]]*\] | (?P<quoted>'(?:[^']|'')*') | (?P<mark>[(),:;]) | (?P<plain>[^\s()\[\]',:;]+)", re.VERBOSE
)
MEMBERS = ("tree.nwk",)
REMEDY = "A Newick file reads like ((A:0.1,B:0.2):0.3,C:0.4);"


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted tree with ``T`` tips and ``M`` branches, those to tips and the one above the root included.

    Attributes
    ----------
    tips : tuple of str
        Names, in the order of the file.
    lengths : NDArray of float64
        ``[M]`` length of each branch; NaN where the file gives none.
    first, end : NDArray of int64
        ``[M]`` the tips below a branch are those from ``first`` to before ``end``.
    source : str
        Where it came from, for messages.
    """

    tips: tuple[str, ...]
    lengths: Float64
    first: Int64
    end: Int64
    source: str = "tree"

    def __post_init__(self) -> None:
        """Refuse tips that cannot be told apart."""
        if len(set(self.tips)) < len(self.tips):
            twice = Counter(self.tips).most_common(1)[0][0]
            raise DataError(f"{self.source}: the tip {twice!r} is there twice; names of tips are unique.")

    @property
    def n_branches(self) -> int:
        """Number of branches ``M``."""
        return len(self.lengths)

    def require_lengths(self) -> Tree:
        """Return the tree with the root's branch at 0 where it has no length.

        Raises
        ------
        DataError
            Another branch has no length, or one is negative or infinite.
        """
        is_root = (self.end - self.first) == len(self.tips)
        lengths = np.where(is_root & np.isnan(self.lengths), 0.0, self.lengths)
        if missing := int(np.isnan(lengths).sum()):
            raise DataError(
                f"{self.source}: {missing} of {len(lengths)} branches have no length, such as "
                f"{self._name(np.isnan(lengths))}; UniFrac and Faith's PD are sums of lengths. Make the tree with a "
                "tool that estimates them."
            )
        odd = ~(np.isfinite(lengths) & (lengths >= 0))
        if odd.any():
            raise DataError(
                f"{self.source}: {self._name(odd)} has the length {lengths[odd][0]:g}; lengths are finite and not "
                "negative. Root or repair the tree with the tool that made it."
            )
        return Tree(self.tips, lengths, self.first, self.end, self.source)

    def sheared(self, names: Sequence[str]) -> Tree:
        """Return the tree of some tips only, in the order of ``names``' first appearance in the tree.

        Branches without any of them are gone, and those with the same tips are joined to one of their summed length, so
        all paths from the root keep their length.

        Parameters
        ----------
        names : sequence of str
            Tips to keep; names that are no tips are passed over.
        """
        wanted = set(names)
        kept = np.array([i for i, name in enumerate(self.tips) if name in wanted], dtype=np.int64)
        first, end = np.searchsorted(kept, self.first), np.searchsorted(kept, self.end)
        used = first < end
        pairs, inverse = np.unique(np.stack([first[used], end[used]], axis=1), axis=0, return_inverse=True)
        lengths = np.zeros(len(pairs))
        np.add.at(lengths, inverse.ravel(), self.lengths[used])
        return Tree(tuple(self.tips[i] for i in kept), lengths, pairs[:, 0], pairs[:, 1], self.source)

    def _name(self, branches: Bool) -> str:
        """Name the first of some branches by a tip below it."""
        branch = int(np.flatnonzero(branches)[0])
        tip, n_below = self.tips[self.first[branch]], self.end[branch] - self.first[branch]
        return f"that of the tip {tip!r}" if n_below == 1 else f"one above {n_below} tips, {tip!r} among them"


def read_tree(path: Path) -> Tree:
    """Read a Newick file, or the one in a QIIME 2 artifact.

    Raises
    ------
    DataError
        It cannot be read, or is no Newick tree: says at which line and column.
    """
    payload = read_payload(path, members=MEMBERS)
    return parse_newick(payload.text(), source=payload.source)


def parse_newick(text: str, source: str = "tree") -> Tree:
    """Parse a tree in Newick format, with quoted names, comments, and labels of inner nodes (which are passed over).

    Parameters
    ----------
    text : str
        The tree, to its semicolon.
    source : str
        Where it came from, for messages.

    Raises
    ------
    DataError
        It is no tree: says at which line and column.
    """
    return _Parser(text, source).parse()


class _Parser:
    """One pass over the text: an open parenthesis remembers the next tip, a closed one ends a range of tips."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.tips: list[str] = []
        self.branches: list[tuple[float, int, int]] = []
        self.opened: list[int] = []
        self.begun: tuple[int, int] | None = None  # range of tips of the node whose label and length may follow
        self.length = float("nan")
        self.named = self.awaits_length = False

    def parse(self) -> Tree:
        position = 0
        while position < len(self.text):
            match = _TOKENS.match(self.text, position)
            if match is None:
                raise self._error(position, f"a lone {self.text[position]!r}")
            if match["mark"] == ";":
                return self._finished(position)
            if match.lastgroup is not None:
                self._take(match.lastgroup, match[match.lastgroup], position)
            position = match.end()
        raise self._error(position, "the end of the text and no ';'")

    def _take(self, kind: str, word: str, position: int) -> None:
        if kind != "mark":
            self._take_word(word if kind == "plain" else word[1:-1].replace("''", "'"), position)
        elif word == "(":
            if self.begun is not None or self.awaits_length:
                raise self._error(position, "'(' after a node")
            self.opened.append(len(self.tips))
        elif word == ":":
            if self.awaits_length or not math.isnan(self.length):
                raise self._error(position, "':' twice")
            self._begin("")
            self.awaits_length = True
        else:
            if not self.opened:
                raise self._error(position, f"{word!r} outside of all parentheses")
            self._close(position)
            if word == ")":
                self.begun = (self.opened.pop(), len(self.tips))

    def _take_word(self, word: str, position: int) -> None:
        if not self.awaits_length:
            if self.named:
                raise self._error(position, f"{word!r} after a name; names with spaces stand in single quotes")
            self._begin(word)
            self.named = True
            return
        try:
            self.length = float(word)
        except ValueError:
            raise self._error(position, f"{word!r} for a length") from None
        self.awaits_length = False

    def _begin(self, name: str) -> None:
        """Make a tip of what has no children; a label of an inner node says nothing here."""
        if self.begun is None:
            self.tips.append(name)
            self.begun = (len(self.tips) - 1, len(self.tips))

    def _close(self, position: int) -> None:
        if self.awaits_length:
            raise self._error(position, "no length after ':'")
        self._begin("")
        first, end = self.begun or (0, 0)
        self.branches.append((self.length, first, end))
        self.begun, self.length, self.named = None, float("nan"), False

    def _finished(self, position: int) -> Tree:
        self._close(position)
        if self.opened:
            raise self._error(position, f"';' while {len(self.opened)} '(' are open")
        if not all(self.tips):
            raise DataError(f"{self.source}: tip {self.tips.index('') + 1} has no name. {REMEDY}")
        lengths, first, end = (np.array(column) for column in zip(*self.branches, strict=True))
        return Tree(tuple(self.tips), lengths, first.astype(np.int64), end.astype(np.int64), self.source)

    def _error(self, position: int, seen: str) -> DataError:
        before = self.text[:position]
        line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
        return DataError(f"{self.source}:{line}:{column}: {seen}. {REMEDY}")
