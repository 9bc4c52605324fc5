"""The house style, measured: ``make house`` prints every room and what breaks the budget, and fails if anything does.

A room is a package of ``src/tabstar_lit``. Its parts are the modules and packages that stand in it, and an arrow leads
from a part to another one that it imports: a room with many arrows between its parts is a hall without walls.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import grimp

PACKAGE = "tabstar_lit"
MAX_FILE, MEDIAN_FILE = 400, 130
MAX_FUNCTION, MEDIAN_FUNCTION = 70, 14
MAX_POSITIONAL = 5
DICTATED = frozenset({"on_validation_batch_end", "on_test_batch_end", "on_predict_batch_end"})
"""Methods whose parameters Lightning decides."""
TESTS_PER_SOURCE_LINE = 0.7

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


class Source(NamedTuple):
    """A file of the source: its path below the root, its module, number of lines and syntax tree."""

    path: str
    module: str
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package it stands in, which is itself for an ``__init__.py``."""
        return self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def at(self, node: ast.AST) -> str:
        """Where a node stands, and its name."""
        return f"{self.path}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}"


class Import(NamedTuple):
    """An import of one module by another, and whether it runs when a function is called only."""

    importer: str
    imported: str
    line: int
    deferred: bool


class House(NamedTuple):
    """All that is measured: the source, imports within it, the lines of its tests, and the layers from the top down."""

    sources: Sequence[Source]
    imports: Sequence[Import]
    test_lines: int
    layers: Sequence[Sequence[str]]


def read(root: Path, package: str = PACKAGE) -> House:
    """Read the project in ``root``, whose package must be what Python would import by that name."""
    sources = [_source(path, root) for path in sorted((root / "src" / package).rglob("*.py"))]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (c["layers"] for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return House(
        sources,
        list(_imports(sources, grimp.build_graph(package, cache_dir=None))),
        sum(_lines(path) for path in (root / "tests").rglob("*.py")),
        [[part.strip(" ()") for part in layer.split("|")] for layer in layers],
    )


def _source(path: Path, root: Path) -> Source:
    module = ".".join(path.relative_to(root / "src").with_suffix("").parts).removesuffix(".__init__")
    return Source(path.relative_to(root).as_posix(), module, _lines(path), ast.parse(path.read_text(encoding="utf-8")))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _imports(sources: Sequence[Source], graph: grimp.ImportGraph) -> Iterator[Import]:
    for source in (source for source in sources if source.module in graph.modules):
        inner = [(node.lineno, node.end_lineno or 0) for node in source.functions()]
        for imported in sorted(graph.find_modules_directly_imported_by(source.module)):
            for detail in graph.get_import_details(importer=source.module, imported=imported):
                line = detail["line_number"]
                deferred = any(first <= line <= last for first, last in inner)
                yield Import(source.module, imported, line, deferred)


# -- what one node is measured by ----------------------------------------------------------------------------------


def length(node: Function) -> int:
    """Lines of a function, with signature and docstring."""
    return (node.end_lineno or 0) - node.lineno + 1


def positional(node: Function) -> int:
    """Number of parameters that can be given by position."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def unannotated(node: Function) -> list[str]:
    """Names of the arguments, and ``return``, that carry no annotation."""
    given = node.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    missing = [a.arg for a in named if a is not None and a.annotation is None and a.arg not in {"self", "cls"}]
    return missing + ([] if node.returns is not None else ["return"])


def public_names(tree: ast.Module) -> Iterator[Documented]:
    """The module itself, its public classes and functions, and the public methods of those classes."""
    yield tree
    waiting: list[ast.Module | ast.ClassDef] = [tree]
    while waiting:
        for node in waiting.pop().body:
            if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
                continue
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
            if decorators.isdisjoint({"overload", "setter"}):
                yield node
            if isinstance(node, ast.ClassDef):
                waiting.append(node)


# -- rules: each gives what breaks it ------------------------------------------------------------------------------


def unseen_folders(house: House) -> Iterator[str]:
    """Every folder is a package, without which no tool sees what its modules import."""
    packages = {source.module for source in house.sources if source.path.endswith("__init__.py")}
    yield from (f"{room}: no __init__.py" for room in sorted({source.room for source in house.sources} - packages))


def long_files(house: House) -> Iterator[str]:
    """Files stay short."""
    yield from (f"{s.path}: {s.lines} lines, at most {MAX_FILE}" for s in house.sources if s.lines > MAX_FILE)
    middle = median(source.lines for source in house.sources)
    if middle > MEDIAN_FILE:
        yield f"the median file has {middle:g} lines, at most {MEDIAN_FILE}"


def long_functions(house: House) -> Iterator[str]:
    """Functions stay short."""
    lengths = {source.at(node): length(node) for source in house.sources for node in source.functions()}
    yield from (f"{at}: {n} lines, at most {MAX_FUNCTION}" for at, n in lengths.items() if n > MAX_FUNCTION)
    middle = median(lengths.values())
    if middle > MEDIAN_FUNCTION:
        yield f"the median function has {middle:g} lines, at most {MEDIAN_FUNCTION}"


def many_parameters(house: House) -> Iterator[str]:
    """Calls can be read: what comes after five parameters is given by name."""
    for source in house.sources:
        for node in source.functions():
            if positional(node) > MAX_POSITIONAL and node.name not in DICTATED:
                yield f"{source.at(node)}: {positional(node)} positional parameters, at most {MAX_POSITIONAL}"


def undocumented(house: House) -> Iterator[str]:
    """Every public name has a docstring."""
    for source in house.sources:
        for node in public_names(source.tree):
            if not (ast.get_docstring(node) or "").strip():
                yield f"{source.at(node)}: no docstring"


def without_types(house: House) -> Iterator[str]:
    """Every function is annotated."""
    for source in house.sources:
        for node in source.functions():
            if missing := unannotated(node):
                yield f"{source.at(node)}: no annotation of {', '.join(missing)}"


def little_tested(house: House) -> Iterator[str]:
    """There is enough test code."""
    share = house.test_lines / sum(source.lines for source in house.sources)
    if share < TESTS_PER_SOURCE_LINE:
        yield f"{share:.2f} lines of tests for a line of source, at least {TESTS_PER_SOURCE_LINE}"


def upward_imports(house: House) -> Iterator[str]:
    """Imports run downward only, from layer to layer."""
    heights = {name: -place for place, layer in enumerate(house.layers) for name in layer}
    for importer, imported, line, _ in house.imports:
        here, there = (module.split(".")[1] if "." in module else "" for module in (importer, imported))
        if here != there and here in heights and there in heights and heights[here] <= heights[there]:
            yield f"{importer}:{line} imports {imported}, which stands {_beside(heights, here, there)} it"


def _beside(heights: Mapping[str, int], here: str, there: str) -> str:
    return "beside" if heights[here] == heights[there] else "above"


def circles(house: House) -> Iterator[str]:
    """No import leads back to where it came from."""
    yield from _circles([found for found in house.imports if not found.deferred])


def deferred_circles(house: House) -> Iterator[str]:
    """No import leads back, not even through one inside a function."""
    yield from (circle for circle in _circles(house.imports) if circle not in set(circles(house)))


def _circles(imports: Sequence[Import]) -> Iterator[str]:
    edges = {(found.importer, found.imported) for found in imports}
    while True:
        needs: dict[str, list[str]] = {}
        for importer, imported in sorted(edges):
            needs.setdefault(importer, []).append(imported)
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            path = error.args[1][::-1]  # from importer to imported; the last is the first again
            yield " -> ".join(path)
            edges.discard((path[-2], path[-1]))
        else:
            return


RULES: Mapping[str, Callable[[House], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        unseen_folders,
        long_files,
        long_functions,
        many_parameters,
        undocumented,
        without_types,
        little_tested,
        upward_imports,
        circles,
        deferred_circles,
    )
}
"""The budget, rule by rule."""


# -- the table -----------------------------------------------------------------------------------------------------

HEADINGS = ("room", "files", "lines", "median", "longest", "functions", "median", "longest", "parts", "arrows")


def table(house: House) -> list[tuple[str, ...]]:
    """A row for each room: its files and functions without those of rooms inside it, and its parts and arrows."""
    rooms: dict[str, list[Source]] = {}
    for source in house.sources:
        rooms.setdefault(source.room, []).append(source)
    rows = [_row(room, sources, *_arrows(house, room)) for room, sources in sorted(rooms.items())]
    everything = {(i.importer, i.imported) for i in house.imports}
    return [*rows, _row("all", house.sources, len(house.sources), len(everything))]


def _row(room: str, sources: Sequence[Source], parts: int, arrows: int) -> tuple[str, ...]:
    files = [source.lines for source in sources]
    functions = [length(node) for source in sources for node in source.functions()]
    sizes = [len(functions), median(functions or [0]), max(functions, default=0)]
    return room, *(f"{n:g}" for n in (len(files), sum(files), median(files), max(files), *sizes, parts, arrows))


def _arrows(house: House, room: str) -> tuple[int, int]:
    """Return how many parts a room has and how many pairs of them import each other directly."""

    def part(module: str) -> str:
        inside = module.startswith(f"{room}.")
        return module.removeprefix(f"{room}.").partition(".")[0] if inside else ""

    parts = {part(source.module) for source in house.sources} - {""}
    pairs = {(part(i.importer), part(i.imported)) for i in house.imports}
    return len(parts), sum(1 for one, other in pairs if one and other and one != other)


def _text(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join("  ".join(cells) for cells in aligned)


def main(root: Path) -> int:
    """Print the table and what breaks the budget; returns 1 if anything does."""
    house = read(root)
    print(_text([HEADINGS, *table(house)]))
    source_lines = sum(source.lines for source in house.sources)
    print(f"tests: {house.test_lines} lines, {house.test_lines / source_lines:.2f} for a line of source")
    broken = {rule: found for rule in RULES.values() if (found := list(rule(house)))}
    for rule, found in broken.items():
        print(f"\n{rule.__doc__} Not so:", *found, sep="\n  ")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
