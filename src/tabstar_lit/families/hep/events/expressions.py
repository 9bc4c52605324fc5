"""A small language for columns: arithmetic, comparisons, logic and a few functions; nothing else can be said in it.

Python's own parser reads the text, and only the kinds of nodes listed here are evaluated, over NumPy arrays. A name is
a column; ``jets.pt`` is one too, and one with other characters stands in backquotes. A jagged column (one value an
object) mixes with a flat one (one value an event) by repeating the latter; ``jets.pt[0]``, ``count``, ``sum`` and the
like make it flat. A name may also be that of another expression, a definition, and then means what that one says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.aggregates import aggregated, element
from tabstar_lit.families.hep.events.arithmetic import INT64, UINT64, computed, numbers, truth
from tabstar_lit.families.hep.events.jagged import Jagged

__all__ = ["Expression", "ExpressionError", "Jagged", "Name", "truth"]

BINARY = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "true_divide",
    ast.Pow: "float_power",
    ast.Mod: "mod",
}
COMPARE = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
UNARY = {ast.USub: "negative", ast.UAdd: "positive", ast.Not: "logical_not"}
FUNCTIONS = {
    "abs": ("abs", 1),
    "sqrt": ("sqrt", 1),
    "log": ("log", 1),
    "log1p": ("log1p", 1),
    "exp": ("exp", 1),
    "sin": ("sin", 1),
    "cos": ("cos", 1),
    "tan": ("tan", 1),
    "arctan2": ("arctan2", 2),
    "arcsinh": ("arcsinh", 1),
    "isnan": ("isnan", 1),
    "min": ("minimum", 2),
    "max": ("maximum", 2),
    "where": ("where", 3),
    "delta_r": ("delta_r", 4),
    "mass": ("mass", 4),
}
"""Functions of the language: their name in NumPy and the number of arguments; ``min``, ``max``, ``mass`` take more."""
OF_MOMENTA = {"delta_r": ("eta", "phi"), "mass": ("pt", "eta", "phi", "mass")}
"""Functions of objects, and which columns of each they compute with."""
CONDITIONS = {"logical_and": 2, "logical_or": 2, "where": 1}
"""NumPy functions and how many of their first arguments are conditions."""
AGGREGATES = ("count", "sum", "mean", "min", "max", "argmin", "argmax")
"""Functions that turn one jagged column into one value an event."""
NEVER_MISSING = ("count", "sum")
"""Those that have a value where an event has no object."""
MISSING = "missing"
"""The word for no value; a column of this name stands in backquotes."""
MAX_LENGTH, MAX_DEPTH = 2000, 60
BACKQUOTED = re.compile(r"`([^`]*)`")


class Name(NamedTuple):
    """A column that an expression names, the place of its first letter, counted from 1, and whether it is text."""

    name: str
    position: int
    is_text: bool


class ExpressionError(DataError):
    """What is wrong with an expression, and at which of its characters."""


class Expression:
    """A parsed expression.

    Parameters
    ----------
    text : str
        What the user wrote.
    definitions : mapping of str to Expression, optional
        Expressions that the text may name; each may name those before it.

    Attributes
    ----------
    names : tuple of Name
        The columns it is computed from, those of the definitions it uses included.
    says_missing : bool
        Whether it, or a definition it uses, says that values are missing.

    Raises
    ------
    ExpressionError
        If it is no expression of this language; says where and what is allowed.
    """

    def __init__(self, text: str, definitions: Mapping[str, Expression] | None = None) -> None:
        self.text = text
        self._definitions = definitions or {}
        self._used: set[str] = set()
        self.says_missing = False
        self._quoted: dict[str, str] = {}
        source = BACKQUOTED.sub(self._placeholder, text.strip("\n"))
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed")
        try:
            self._root = _OfObjects().visit(ast.parse(source, mode="eval")).body
            _check_depth(self._root)
            self.names = tuple(dict.fromkeys(self._check(self._root)))
            if _is_text(self._root):
                raise self._error(self._root, "a text alone is no value")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            if isinstance(error, ExpressionError):
                raise
            where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            reason = error.msg if isinstance(error, SyntaxError) else error
            hint = "; a column with such a name stands in backquotes: `my column`"
            raise ExpressionError(f"'{text}' is no expression ({reason}{where}){hint}") from error

    def __call__(self, columns: Mapping[str, Array | Jagged], n: int) -> Array | Jagged:
        """Evaluate over ``n`` events.

        Parameters
        ----------
        columns : mapping of str to ndarray [n] or Jagged
            At least the columns of :attr:`names`.
        n : int
            Number of events.

        Returns
        -------
        ndarray [n] or Jagged
            The values. Division by zero and the like give NaN or infinities without a word: the caller checks.

        Raises
        ------
        DataError
            If text is used as a number or a number as text, or jagged columns of different objects are mixed.
        """
        scope = dict(columns)
        with np.errstate(all="ignore"):
            for name, definition in self._definitions.items():
                if name in self._used:  # once each, those that others name first
                    scope[name] = definition._value(definition._root, scope, n)
            value = self._value(self._root, scope, n)
        if isinstance(value, Jagged):
            return value
        return np.broadcast_to(value, (n,))

    def _placeholder(self, match: re.Match[str]) -> str:
        """Stand in for a backquoted name, at the same length so that positions stay right."""
        stand_in = f"Q{len(self._quoted)}_".ljust(len(match[0]), "_")
        self._quoted[stand_in] = match[1]
        return stand_in

    def _column(self, node: ast.AST) -> str | None:
        """Return the column that a node names: ``a``, ``a.b.c``, or what stood in backquotes."""
        if isinstance(node, ast.Attribute):
            front = self._column(node.value)
            return None if front is None else f"{front}.{node.attr}"
        return self._quoted.get(node.id, node.id) if isinstance(node, ast.Name) else None

    def _check(self, node: ast.AST, is_text: bool = False) -> Iterator[Name]:
        """Refuse what the language does not have and yield the columns."""
        if _is_missing(node):
            self.says_missing = True
            return
        column = self._column(node)
        if column is not None:
            yield from self._columns_of(Name(column, getattr(node, "col_offset", 0) + 1, is_text))
            return
        if isinstance(node, ast.Subscript):
            self.says_missing = True
            if _is_text(node.slice):
                raise self._error(node.slice, "the place in [...] is a whole number")
            yield from self._check(node.value, is_text)
            yield from self._check(node.slice)
            return
        if isinstance(node, ast.Call):
            self._check_call(node)
        allowed_operator = (
            (isinstance(node, ast.BinOp) and type(node.op) in BINARY)
            or (isinstance(node, ast.UnaryOp) and type(node.op) in UNARY)
            or (isinstance(node, ast.Compare) and all(type(op) in COMPARE for op in node.ops))
        )
        constant = isinstance(node, ast.Constant) and type(node.value) in (int, float, bool, str)
        if not (constant or allowed_operator or isinstance(node, ast.BoolOp | ast.Call)):
            raise self._error(node, f"'{ast.unparse(node)}' is not allowed")
        parts = node.args if isinstance(node, ast.Call) else list(ast.iter_child_nodes(node))
        texts = isinstance(node, ast.Compare) and any(_is_text(part) for part in parts)
        for part in parts:
            if _is_text(part) and not texts:
                raise self._error(part, f"the text {ast.unparse(part)} can only be compared with == or !=")
            if isinstance(part, ast.expr):
                yield from self._check(part, texts)

    def _columns_of(self, name: Name) -> Iterator[Name]:
        """Yield the column of this name, or all columns of the definition of this name, at the same place."""
        definition = self._definitions.get(name.name)
        if definition is None:
            yield name
            return
        self._used |= {name.name, *definition._used}
        self.says_missing |= definition.says_missing
        for column in definition.names:
            yield Name(column.name, name.position, column.is_text or name.is_text)

    def _check_call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in FUNCTIONS and name not in AGGREGATES:
            known = dict.fromkeys([*FUNCTIONS, *AGGREGATES])
            raise self._error(node, f"no function '{name}'.{suggestion(name, list(known))}")
        given = len(node.args)
        if name == "mass":
            enough = given > 0 and given % 4 == 0  # four columns of each object
        elif _is_aggregate(node):
            enough = given == 1
            self.says_missing |= name not in NEVER_MISSING
        else:
            enough = given >= 2 if name in {"min", "max"} else given == FUNCTIONS[name][1]
        if node.keywords or not enough:
            raise self._error(node, f"'{name}' takes {_arguments(name)}")

    def _error(self, node: ast.AST, problem: str) -> ExpressionError:
        grammar = (
            "Allowed: columns, numbers, missing, + - * / ** %, comparisons, and or not, parentheses, x[0], "
            f"and the functions {', '.join(dict.fromkeys([*FUNCTIONS, *AGGREGATES]))}"
        )
        text = problem
        for stand_in, name in self._quoted.items():
            text = text.replace(stand_in, f"`{name}`")
        return ExpressionError(
            f"'{self.text}', character {getattr(node, 'col_offset', 0) + 1}: {text.rstrip('.')}. {grammar}"
        )

    def _value(self, node: ast.AST, columns: Mapping[str, Array | Jagged], n: int) -> Any:
        if _is_missing(node):
            return np.float64(np.nan)
        column = self._column(node)
        if column is not None:
            return columns[column]
        if isinstance(node, ast.Constant):
            return _constant(cast("int | float | str", node.value))
        if isinstance(node, ast.Subscript):
            argument, place = (self._value(part, columns, n) for part in (node.value, node.slice))
            return element(argument, place, self.text)
        if isinstance(node, ast.Call):
            arguments = [self._value(part, columns, n) for part in node.args]
            return self._call(node, arguments)
        if isinstance(node, ast.BinOp):
            sides = [self._value(part, columns, n) for part in (node.left, node.right)]
            return self._apply(BINARY[type(node.op)], *sides)
        if isinstance(node, ast.UnaryOp):
            return self._apply(UNARY[type(node.op)], self._value(node.operand, columns, n))
        if isinstance(node, ast.BoolOp):
            function = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
            parts = [self._value(part, columns, n) for part in node.values]
            return reduce(lambda left, right: self._apply(function, left, right), parts)
        compare = cast(ast.Compare, node)  # _check has let nothing else through
        chain = [self._value(part, columns, n) for part in (compare.left, *compare.comparators)]
        links = [self._compare(op, *pair) for op, pair in zip(compare.ops, pairwise(chain), strict=True)]
        return reduce(lambda left, right: self._apply("logical_and", left, right), links)

    def _call(self, node: ast.Call, arguments: list[Any]) -> Any:
        name = ast.unparse(node.func)
        if _is_aggregate(node):
            return aggregated(name, arguments[0], self.text)
        function = FUNCTIONS[name][0]
        if name in {"min", "max"}:
            return reduce(lambda left, right: self._apply(function, left, right), arguments)
        return self._apply(function, *arguments)

    def _compare(self, op: ast.cmpop, left: Any, right: Any) -> Any:
        if not (isinstance(left, str) or isinstance(right, str)):
            return self._apply(COMPARE[type(op)], left, right)
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise DataError(f"'{self.text}': texts can only be compared with == or !=")
        text, column = (left, right) if isinstance(left, str) else (right, left)
        values = column.values if isinstance(column, Jagged) else column
        if isinstance(values, str):
            raise DataError(f"'{self.text}': compares two texts; one side has to be a column")
        if values.dtype != object:
            raise DataError(f"'{self.text}': the column compared with '{text}' holds numbers; leave out the quotes")
        same = (values == text) == isinstance(op, ast.Eq)
        return Jagged(same, column.counts) if isinstance(column, Jagged) else same

    def _apply(self, function: str, *arguments: Any) -> Any:
        """Apply a NumPy function, repeating flat values beside jagged ones."""
        jagged = [argument for argument in arguments if isinstance(argument, Jagged)]
        if any(not np.array_equal(other.counts, jagged[0].counts) for other in jagged[1:]):
            raise DataError(f"'{self.text}': mixes columns of objects that do not go together, event by event")
        plain = [argument.values if isinstance(argument, Jagged) else argument for argument in arguments]
        if jagged:
            counts = jagged[0].counts
            plain = [
                np.repeat(value, counts) if not isinstance(argument, Jagged) and np.ndim(value) else value
                for argument, value in zip(arguments, plain, strict=True)
            ]
        n_conditions = CONDITIONS.get(function, 0)
        read = [truth(value, self.text) for value in plain[:n_conditions]]
        read += [numbers(value, self.text) for value in plain[n_conditions:]]
        result = computed(function, read, self.text)
        return Jagged(result, jagged[0].counts) if jagged else result


class _OfObjects(ast.NodeTransformer):
    """Writes ``jets[0].pt`` as ``jets.pt[0]``, and functions of objects as functions of their columns."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Take the member before the element."""
        self.generic_visit(node)
        return _member(node.value, node.attr) if isinstance(node.value, ast.Subscript) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Spell out the columns of each object."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        of_objects = name == "mass" or (name == "delta_r" and len(node.args) == 2)
        if of_objects and node.args and all(map(_is_object, node.args)):
            node.args = [_member(own, part) for own in node.args for part in OF_MOMENTA[name]]
        self.generic_visit(node)
        return node


def _member(node: ast.expr, name: str) -> ast.expr:
    if isinstance(node, ast.Subscript):
        found: ast.expr = ast.Subscript(_member(node.value, name), node.slice, ast.Load())
    else:
        found = ast.Attribute(node, name, ast.Load())
    return ast.copy_location(found, node)


def _is_object(node: ast.expr) -> bool:
    """Tell whether a node names an object, or one object of each event."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)


def _is_aggregate(node: ast.Call) -> bool:
    """Tell whether a call makes one value an event: ``max(x)`` does, ``max(x, y)`` compares."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    return name in AGGREGATES and (name not in FUNCTIONS or len(node.args) == 1)


def _arguments(name: str) -> str:
    if name in OF_MOMENTA:
        return {"delta_r": "2 objects, or eta, phi, eta, phi", "mass": "objects"}[name]
    if name in {"min", "max"}:
        return "1 jagged column, or 2 arguments and more"
    wanted = 1 if name in AGGREGATES else FUNCTIONS[name][1]
    return f"{wanted} argument{'s' * (wanted > 1)}"


def _constant(value: float | str) -> Any:
    """Return a text, or a number of the type of its kind."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        for limits in (INT64, UINT64):
            if limits.min <= value <= limits.max:
                return limits.dtype.type(value)
    return np.float64(value)


def _check_depth(root: ast.AST) -> None:
    """Refuse what would exhaust the interpreter's stack."""
    level: list[ast.AST] = [root]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep")


def _is_missing(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == MISSING


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
