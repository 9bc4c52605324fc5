"""The house style, measured: sizes, docstrings, annotations, architecture, light imports, pinned versions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
SOURCE_FILES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

MAX_FILE, MEDIAN_FILE = 400, 130
MAX_FUNCTION, MEDIAN_FUNCTION = 70, 14
TESTS_PER_SOURCE_LINE = 0.7
HEAVY_NAMES = """comet_ml h5py lightning matplotlib mlflow numpy pandas pyarrow pytorch_optimizer scipy
    sentence_transformers sklearn torch torchmetrics transformers"""
HEAVY = frozenset(HEAVY_NAMES.split())

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions() -> Iterator[tuple[str, Function]]:
    """Every function and method of the source, with the place it stands at."""
    for path in SOURCE_FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{relative(path)}:{node.lineno} {node.name}", node


def public_names(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | Function]:
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


def all_public() -> Iterator[tuple[str, ast.Module | ast.ClassDef | Function]]:
    for path in SOURCE_FILES:
        for node in public_names(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{relative(path)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}", node


def unannotated(function: Function) -> list[str]:
    """Names of the arguments, and ``return``, that carry no annotation."""
    arguments = function.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    missing = [a.arg for a in named if a is not None and a.annotation is None and a.arg not in {"self", "cls"}]
    return missing + ([] if function.returns is not None else ["return"])


def test_no_file_is_too_long() -> None:
    assert {relative(path): lines(path) for path in SOURCE_FILES if lines(path) > MAX_FILE} == {}


def test_files_are_short_in_the_middle() -> None:
    assert median(map(lines, SOURCE_FILES)) <= MEDIAN_FILE


def test_no_function_is_too_long() -> None:
    sizes = {place: (node.end_lineno or 0) - node.lineno + 1 for place, node in functions()}
    assert {place: size for place, size in sizes.items() if size > MAX_FUNCTION} == {}


def test_functions_are_short_in_the_middle() -> None:
    assert median((node.end_lineno or 0) - node.lineno + 1 for _, node in functions()) <= MEDIAN_FUNCTION


def test_every_public_name_is_documented() -> None:
    assert [place for place, node in all_public() if not (ast.get_docstring(node) or "").strip()] == []


def test_every_function_is_annotated() -> None:
    assert {place: missing for place, node in functions() if (missing := unannotated(node))} == {}


def test_there_is_enough_test_code() -> None:
    tests = sum(map(lines, (REPOSITORY / "tests").rglob("*.py")))
    assert tests >= TESTS_PER_SOURCE_LINE * sum(map(lines, SOURCE_FILES))


# Written with one letter in brackets, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(T[O]DO|FI[X]ME|X[X]X|H[A]CK)\b|pragma: no c[o]ver|pytest\.mark\.(s[k]ip\b|xf[a]il)")
UNEXPLAINED = re.compile(r"#\s*n[o]qa(?!: [A-Z]+\d+(, ?[A-Z]+\d+)* +\S)|#\s*type: i[g]nore(?!\[[\w, -]+\] +# \S)")
MACHINE = re.compile(r"(?<![\w.])/(w[o]rk|r[o]ot|h[o]me/\w|U[s]ers)/")
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".cfg"}


def project_texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the project a person wrote or will read."""
    folders = ["src", "tests", "docs", "benchmarks", "model_config", "dataset_config", "schemas", ".ci"]
    loose = [path for path in REPOSITORY.iterdir() if path.is_file()]
    nested = [path for name in folders for path in (REPOSITORY / name).rglob("*") if path.is_file()]
    for path in sorted(loose + nested):
        if path.suffix in TEXT or path.name in {"Makefile", "run"}:
            yield path, path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (UNFINISHED, "a mark of unfinished work"),
        (UNEXPLAINED, "a silenced check without its code and a reason"),
        (MACHINE, "a path of one machine"),
    ],
    ids=["unfinished", "unexplained", "machine"],
)
def test_no_forbidden_words(pattern: re.Pattern[str], why: str) -> None:
    found = [
        f"{relative(path)}:{number} {line.strip()[:80]}"
        for path, text in project_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], why


def test_broad_excepts_say_why() -> None:
    """Catching everything is right at a few borders only, a plot or a tracker service: a comment says why."""
    broad = re.compile(r"^(?! *#)[^\n]*\n *except (Base)?Exception\b[^#\n]*\n(?! *#)", re.MULTILINE)
    assert [relative(path) for path in SOURCE_FILES if broad.search(path.read_text(encoding="utf-8"))] == []


def light_modules() -> list[str]:
    """What ``--help`` imports: the package, the configuration, the commands and every family's schema."""
    package = SOURCE / "tabstar_lit"
    paths = [package / "__init__.py", *package.glob("config/**/*.py"), *package.glob("commands/**/*.py")]
    paths += package.glob("families/**/config.py")
    names = (path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".") for path in paths)
    return sorted({name.removesuffix(".__init__") for name in names})


def heavy_after(code: str) -> set[str]:
    """Top-level heavy packages that are loaded once ``code`` has run in a new interpreter."""
    report = "import sys; print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n{report}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("module", light_modules())
def test_import_is_light(module: str) -> None:
    assert heavy_after(f"import {module}") == set()


@pytest.mark.parametrize("script", sorted(PROJECT["project"]["scripts"]))
def test_help_is_light(script: str) -> None:
    module, _, function = PROJECT["project"]["scripts"][script].partition(":")
    call = f"sys.argv = ['{script}', '--help']; from {module} import {function}; {function}()"
    assert heavy_after(call) == set()


LINT_IMPORTS = ["-c", "from importlinter.cli import lint_imports_command as check; check()", "--no-logo"]
RUFF_CHECK = ["-m", "ruff", "check", "--output-format", "concise", "."]
RUFF_FORMAT = ["-m", "ruff", "format", "--check", "."]


@pytest.mark.parametrize("arguments", [LINT_IMPORTS, RUFF_CHECK, RUFF_FORMAT], ids=["imports", "style", "format"])
def test_static_check_passes(arguments: list[str]) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def canonical(requirement: str) -> str:
    """Name of the package a requirement asks for, as the index spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def test_every_requirement_is_pinned() -> None:
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(line) for line in pins if "==" in line and not line.startswith("#")}
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = {canonical(name) for names in [PROJECT["project"]["dependencies"], *extras] for name in names}
    assert asked - pinned == {"tabstar-lit"}, "a new requirement needs its line in constraints.txt"


def test_readme_names_every_command() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [name for name in PROJECT["project"]["scripts"] if f"`{name}" not in readme] == []
