"""Change the source in small ways, one at a time, and count the changes that the tests notice: `make mutants`.

The changes are those of cosmic-ray, made in a copy of the source. The tests are run once unchanged, to see which lines
each runs; a change then meets, in a process of its own that has torch imported already, the tests that run its line.
Where there are none, it meets those of the function or class around it, or those that name its module. What is not
noticed is printed with its place.

What was tried is written down as it comes, so that a call that was stopped is gone on with by the same call:
`make mutants ARGS='--folder build/mutants'`. Begin in an empty folder when source or tests have changed.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import line_tests
import parso
import psutil
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "tabstar_lit"
ROOMS = ("engine", "config", "losses", "metrics")
WATCHED = (*ROOMS, "commands", "tuning")
"""Folders of the tests that are looked at: commands show runs and their records, and tuning has a schema of its own."""
BESIDE = ("training_config.yaml", "model_config", "dataset_config", "tuning_config", "schemas")
"""What the source finds in the folder above its own."""
HEAVY = (
    "torch", "lightning.pytorch", "pandas", "sklearn.metrics", "matplotlib.figure", "mlflow", "transformers",
    "pydantic", "pytest", "hypothesis", "dcor",
)  # fmt: skip
"""What is imported once, for all; dcor compiles itself meanwhile, which takes half a minute."""
PLUGINS = ("pytest_timeout", "_hypothesis_pytestplugin")
"""Those that the tests need. Finding and importing whatever else is installed takes longer than most tests."""
BUDGET = 10
"""Processor seconds of the tests that one change meets."""
PATIENCE = 40
"""Processor seconds that a change may cost, with the start of pytest. What is not noticed by then, as is a loop that is
left without an end, counts as not noticed, and is said to be late."""
CLOCK = 20
"""Seconds on the clock for each of the processor's: the machine may be busy."""
IDLE = 60
"""Seconds on the clock after which tests that only wait hang. That is noticed: the tests have a limit of time."""
HUNG = -1000
"""Stands for the exit code of tests that hang."""
OUTPUT = "output.txt"
"""What the tests print, beside the copy of the source."""
NOTICED, LATE = "noticed", "late"

Position = tuple[tuple[int, int], tuple[int, int]]


class Mutant(NamedTuple):
    """A change of one place of one module: the n-th that an operator of cosmic-ray can make there."""

    module: Path
    operator: str
    occurrence: int
    position: Position


class Tried(NamedTuple):
    """What came of a change; ``by`` names the test that noticed it, and says how."""

    place: str
    was: str
    now: str
    outcome: str
    by: str
    seconds: float


def main() -> None:
    """Sample changes, try each, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Begin no further change after these.")
    parser.add_argument("--folder", type=Path, help="Keep what is found there, and go on from it.")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="mutants-") as temporary:
        os.environ["NUMBA_CACHE_DIR"] = str(Path(temporary, "numba"))
        for name in HEAVY:
            importlib.import_module(name)
        gc.freeze()  # what is imported is not looked at again by each of the processes
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        copy = copied(Path(temporary))
        tests = line_tests.joined(watched(folder, room, copy) for room in WATCHED)
        chosen = sample(options.sample, options.seed)
        done = try_all(chosen, tests, copy, folder / f"tried-{options.seed}.jsonl", 60 * options.minutes)
    noticed = sum(tried.outcome == NOTICED for tried in done)
    late = sum(tried.outcome == LATE for tried in done)
    share = noticed / max(len(done), 1)
    print(f"MUTANTS noticed={noticed} tried={len(done)} share={share:.3f} late={late} seed={options.seed}")


def copied(folder: Path) -> Path:
    """Return a copy of the source in a folder, with the configurations beside it as in the repository."""
    sys.pycache_prefix = str(folder / "compiled")
    shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (REPOSITORY / name for name in BESIDE):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    return folder / "src"


def watched(folder: Path, room: str, copy: Path) -> line_tests.LineTests:
    """Return which tests of a room run which line, from the file of an earlier call or by running them all."""
    found = folder / f"tests-{room}.json"
    if not found.exists() and outcome([str(REPOSITORY / "tests" / room)], copy, None, found) != 0:
        found.unlink(missing_ok=True)
        raise SystemExit(f"{(copy / OUTPUT).read_text()[-3000:]}\nThe tests fail without any change.")
    return line_tests.read(found)


def try_all(
    chosen: Sequence[Mutant], tests: line_tests.LineTests, copy: Path, record: Path, seconds: float
) -> list[Tried]:
    """Try changes one after the other, write each down, and return them with those that were tried before."""
    until = time.monotonic() + seconds
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    done = [Tried(**json.loads(line)) for line in lines]
    with record.open("a", encoding="utf-8") as file:
        for mutant in chosen[len(done) :]:
            if time.monotonic() > until:
                break
            done.append(attempt(mutant, tests, copy))
            file.write(json.dumps(done[-1]._asdict()) + "\n")
            file.flush()
            noticed = sum(tried.outcome == NOTICED for tried in done)
            print(f"{noticed} of {len(done)} noticed", end="\r", file=sys.stderr)
    return done


def sample(size: int, seed: int) -> list[Mutant]:
    """Return as many changes that compile, each of another place: places have equal chances, whatever they allow."""
    modules = [path for room in ROOMS for path in sorted((REPOSITORY / "src" / PACKAGE / room).rglob("*.py"))]
    places: dict[tuple[Path, Position], list[Mutant]] = defaultdict(list)
    for module in modules:
        for mutant in mutants_of(module):
            places[module, mutant.position].append(mutant)
    chosen = random.Random(seed)
    keys = sorted(places)
    chosen.shuffle(keys)
    orders = (chosen.sample(places[key], len(places[key])) for key in keys)
    found = (next(filter(compiles, order), None) for order in orders)
    return list(islice((mutant for mutant in found if mutant is not None), size))


def compiles(mutant: Mutant) -> bool:
    """Say whether a change is Python: those of stars in calls, as if they were products, are not."""
    try:
        compile(changed_source(mutant), str(mutant.module), "exec")
    except SyntaxError:
        return False
    return True


def changed_source(mutant: Mutant) -> str:
    """Return the module with the change."""
    source = mutant.module.read_text(encoding="utf-8")
    return str(mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence))


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
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in found]  # type: ignore[attr-defined]  # of all these kinds


def attempt(mutant: Mutant, tests: line_tests.LineTests, copy: Path) -> Tried:
    """Make the change, run the tests of its line, and take it back; print it where they pass."""
    began = os.times()
    source, changed = mutant.module.read_text(encoding="utf-8"), changed_source(mutant)
    below = mutant.module.relative_to(REPOSITORY / "src")
    (first, _), (last, _) = mutant.position
    candidates = next(filter(None, (tests.running(below, lines) for lines in around(source, first, last))), set())
    met = tests.chosen(candidates or tests.of_files(files_naming(mutant.module)), mutant.module.stem, BUDGET)
    write(copy / below, changed)
    ended = outcome(met, copy, PATIENCE)
    write(copy / below, source)
    by = re.search(r"^(?:FAILED|ERROR) (tests/.+)$", (copy / OUTPUT).read_text(errors="replace"), flags=re.MULTILINE)
    if ended not in (0, None, HUNG) and by is None:
        fail_unless_tests_run(met, copy)
    said = {0: "not noticed", None: LATE}.get(ended, NOTICED)
    was, now = (text.splitlines()[first - 1].strip() for text in (source, changed))
    if said != NOTICED:
        print(f"{below}:{first} {said}\n  - {was}\n  + {now}", flush=True)
    seconds = sum(os.times()[2:4]) - sum(began[2:4])
    hangs = "they hang" if ended == HUNG else ""
    return Tried(f"{below}:{first}", was, now, said, by[1][:200] if by else hangs, round(seconds, 1))


def fail_unless_tests_run(tests: Sequence[str], copy: Path) -> None:
    """Stop where tests that named none among them as failing do not pass without a change either."""
    if outcome(tests, copy, None) != 0:
        raise SystemExit(f"{(copy / OUTPUT).read_text()[-3000:]}\nThese tests cannot be run; begin in an empty folder.")


def write(module: Path, source: str) -> None:
    """Change a module of the copy; what was compiled of it could be as old and as long to the second and byte."""
    module.write_text(source, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(module))).unlink(missing_ok=True)


def around(source: str, first: int, last: int) -> list[list[int]]:
    """Return the lines from ``first`` to ``last``, and those of the functions and classes around, the innermost first.

    Only lines in the bodies of functions are taken. What stands in their heads, in those of classes or beside both is
    run when its module is imported, which is no test's, though one may have been the first to import it.
    """
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    blocks = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    inside = {
        line
        for node in blocks
        if not isinstance(node, ast.ClassDef)
        for line in range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
    }
    spans = [
        range(min([n.lineno, *(d.lineno for d in n.decorator_list)]), (n.end_lineno or n.lineno) + 1) for n in blocks
    ]
    wider = [range(first, last + 1), *sorted((span for span in spans if first in span), key=len)]
    return [[line for line in lines if line in inside] for lines in wider]


def files_naming(module: Path) -> list[str]:
    """Return the test files that name a module or are called after it; all of its room where none does."""
    room = module.relative_to(REPOSITORY / "src" / PACKAGE).parts[0]
    dotted = ".".join(module.relative_to(REPOSITORY / "src").with_suffix("").parts).removesuffix(".__init__")
    files = {
        str(path.relative_to(REPOSITORY)): path
        for folder in WATCHED
        for path in sorted((REPOSITORY / "tests" / folder).rglob("test_*.py"))
    }
    named = [
        name for name, path in files.items() if dotted in path.read_text(encoding="utf-8") or module.stem in path.stem
    ]
    return named or [name for name in files if name.startswith(f"tests/{room}/")]


def outcome(tests: Iterable[str], copy: Path, seconds: int | None, found: Path | None = None) -> int | None:
    """Return the exit code of tests in a process of their own; :data:`HUNG`, or None where their time was up."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(tests, copy, seconds, found))
    process.start()
    hung = seconds is not None and not works_to_its_end(process, CLOCK * seconds)
    process.join(None if seconds is None else 0)
    code = process.exitcode
    for child in psutil.Process(process.pid).children(recursive=True) if process.is_alive() else ():
        child.kill()
    process.kill()
    process.join()
    if hung:
        return HUNG
    return None if code in (None, -signal.SIGKILL, -signal.SIGXCPU) else code


def works_to_its_end(process: multiprocessing.process.BaseProcess, seconds: float) -> bool:
    """Wait for a process, so many seconds at most; return whether it and its children never just wait for long."""
    begun = idle_since = time.monotonic()
    worked = 0.0
    while process.is_alive() and time.monotonic() < begun + seconds:
        process.join(1)
        before, worked = worked, worked_s(process)
        if abs(worked - before) > 0.01:
            idle_since = time.monotonic()
        elif time.monotonic() > idle_since + IDLE:
            return False
    return True


def worked_s(process: multiprocessing.process.BaseProcess) -> float:
    """Return the processor seconds of a process and its children, of those that have ended as well."""
    seconds = 0.0
    with suppress(psutil.NoSuchProcess):  # it or a child has just ended
        own = psutil.Process(process.pid)
        for one in (own, *own.children(recursive=True)):
            seconds += sum(one.cpu_times()[:4])  # its own and those of its ended children, as user and system
    return seconds


def run_tests(tests: Iterable[str], copy: Path, seconds: int | None, found: Path | None) -> None:
    """Run tests against the copy, until one fails; the exit code is pytest's, or the signal at the end of the time."""
    import pytest

    os.chdir(REPOSITORY)
    if seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    sys.path[:0] = [str(copy), str(REPOSITORY)]  # as python -m pytest does, for the benchmarks
    os.environ |= {
        "PYTHONPATH": str(copy),
        "PYTHONPYCACHEPREFIX": str(sys.pycache_prefix),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    output = os.open(copy / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    watch = [] if found is None else [line_tests.Watch(copy, found)]
    plugins = [word for name in ("no:cacheprovider", *PLUGINS) for word in ("-p", name)]
    options = ["-x", "-q", "-o", "timeout=0", "-m", "not soak and not clock"]
    code = pytest.main([*options, *plugins, *tests], plugins=watch)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
