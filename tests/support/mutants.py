"""Change the source in small ways, one at a time, and count the changes that the tests notice: `make mutants`.

The changes are those of cosmic-ray. They are made in a copy of the source, and each runs, in a process of its own that
has torch imported already, the tests that name the changed module. What is not noticed is printed with its place.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "tabstar_lit"
ROOMS = ("engine", "config", "losses", "metrics")
HEAVY = ("torch", "lightning.pytorch", "pandas", "sklearn.metrics", "matplotlib.figure", "mlflow", "transformers")
"""What is imported once, for all."""
EVERYWHERE = {
    "engine": ("engine/runs/test_resume_details.py", "engine/test_keys.py"),
    "config": ("config/test_load.py", "config/test_compose.py", "config/test_validation.py"),
}
"""Tests of a room that use most of it."""
SECONDS = 30
"""Of tests for one change; one that they do not notice in this time counts as not noticed, and is said to be late."""
OUTPUT = "output.txt"
"""What the tests print, beside the copy of the source."""

Position = tuple[tuple[int, int], tuple[int, int]]


class Mutant(NamedTuple):
    """A change of one place of one module: the n-th that an operator of cosmic-ray can make there."""

    module: Path
    operator: str
    occurrence: int
    position: Position


def main() -> None:
    """Sample changes, try each, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Begin no further change after these.")
    options = parser.parse_args()
    for name in HEAVY:
        importlib.import_module(name)
    until, noticed, tried = time.monotonic() + 60 * options.minutes, 0, 0
    with TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder, "src")
        shutil.copytree(REPOSITORY / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        unchanged = [str(REPOSITORY / "tests" / name) for names in EVERYWHERE.values() for name in names]
        if outcome(unchanged, copy, 20 * SECONDS) != 0:
            raise SystemExit(f"{(copy / OUTPUT).read_text()[-3000:]}\nThe tests fail without any change.")
        for mutant in sample(options.sample, options.seed):
            if time.monotonic() > until:
                break
            tried += 1
            noticed += is_noticed(mutant, copy)
            print(f"{noticed} of {tried} noticed", end="\r", file=sys.stderr)
    print(f"MUTANTS noticed={noticed} tried={tried} share={noticed / max(tried, 1):.3f} seed={options.seed}")


def sample(size: int, seed: int) -> list[Mutant]:
    """Return as many changes, each of another place: places have equal chances, however many changes they allow."""
    modules = [path for room in ROOMS for path in sorted((REPOSITORY / "src" / PACKAGE / room).rglob("*.py"))]
    places: dict[tuple[Path, Position], list[Mutant]] = defaultdict(list)
    for module in modules:
        for mutant in mutants_of(module):
            places[module, mutant.position].append(mutant)
    chosen = random.Random(seed)
    keys = chosen.sample(sorted(places), min(size, len(places)))
    return [chosen.choice(places[key]) for key in keys]


def mutants_of(module: Path) -> Iterator[Mutant]:
    """Yield the changes of a module, without those that change nothing: of annotations, and of ``==`` to ``is``."""
    source = module.read_text(encoding="utf-8")
    nodes, silent = list(ast_nodes(parso.parse(source))), unevaluated_lines(source)
    for name in operator_names():
        if name.endswith(("_Is", "_IsNot")) and "Is_IsNot" not in name and "IsNot_Is" not in name:
            continue
        kind = get_operator(name)
        positions = [] if kind.arguments() else [place for node in nodes for place in kind().mutation_positions(node)]
        for occurrence, (start, stop) in enumerate(positions):
            if not any(begin <= start and stop <= end for begin, end in silent):
                yield Mutant(module, name, occurrence, (start, stop))


def unevaluated_lines(source: str) -> list[Position]:
    """Return where annotations and blocks for type checkers stand."""
    found: list[ast.AST] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            taken = node.args
            arguments = (*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg)
            notes = (node.returns, *(argument.annotation for argument in arguments if argument is not None))
            found += [note for note in notes if note is not None]
        elif isinstance(node, ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.append(node)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in found]  # type: ignore[attr-defined]


def is_noticed(mutant: Mutant, copy: Path) -> bool:
    """Make the change, run the tests of its module, and take it back."""
    source = mutant.module.read_text(encoding="utf-8")
    changed = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    target = copy / mutant.module.relative_to(REPOSITORY / "src")
    target.write_text(changed, encoding="utf-8")
    ended = outcome(tests_of(mutant.module), copy, SECONDS)
    target.write_text(source, encoding="utf-8")
    if ended in (0, None):
        (line, _), _ = mutant.position
        was, now = (text.splitlines()[line - 1].strip() for text in (source, changed))
        late = " (time was up)" if ended is None else ""
        print(f"{mutant.module.relative_to(REPOSITORY)}:{line}{late}\n  - {was}\n  + {now}", flush=True)
        return False
    return True


def tests_of(module: Path) -> list[str]:
    """Return the test files that name a module, those called after it first, and those that use all of its room."""
    room = module.relative_to(REPOSITORY / "src" / PACKAGE).parts[0]
    dotted = ".".join(module.relative_to(REPOSITORY / "src").with_suffix("").parts).removesuffix(".__init__")
    named = [
        path
        for path in sorted((REPOSITORY / "tests" / room).rglob("test_*.py"))
        if dotted in path.read_text(encoding="utf-8") or module.stem in path.stem
    ]
    named.sort(key=lambda path: (module.stem not in path.stem, path.stat().st_size))
    always = [REPOSITORY / "tests" / name for name in EVERYWHERE.get(room, (room,))]
    return list(dict.fromkeys(map(str, [*named, *always])))


def outcome(files: list[str], copy: Path, seconds: float) -> int | None:
    """Return the exit code of tests in a process of their own; None where their time was up."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(files, copy))
    process.start()
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    return code


def run_tests(files: list[str], copy: Path) -> None:
    """Run test files against the changed copy, until one fails; the exit code is pytest's."""
    import pytest

    os.chdir(REPOSITORY)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(copy))
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    output = os.open(copy / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files])
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
