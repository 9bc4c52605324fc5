"""The house style, measured: sizes, docstrings, annotations, architecture, light imports, pinned versions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import house
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src"
SOURCE_FILES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

HEAVY_NAMES = """comet_ml h5py lightning matplotlib mlflow numpy pandas pyarrow pytorch_optimizer scipy
    sentence_transformers sklearn torch torchmetrics transformers"""
HEAVY = frozenset(HEAVY_NAMES.split())


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.fixture(scope="module")
def measured() -> house.House:
    return house.read(REPOSITORY)


@pytest.mark.parametrize("rule", house.RULES)
def test_the_house_keeps_its_budget(measured: house.House, rule: str) -> None:
    assert list(house.RULES[rule](measured)) == [], house.RULES[rule].__doc__


def asserts(node: ast.AST) -> bool:
    """Whether a node compares something: by itself, or by what is named so."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        return name.rpartition(".")[2].startswith(("assert_", "check_")) or name in {"pytest.raises", "pytest.warns"}
    return isinstance(node, ast.Assert)


def test_every_test_asserts_something() -> None:
    idle = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not any(map(asserts, ast.walk(node)))
    ]
    assert idle == []


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


TOOLS = {"test", "mutants", "docs", "dev"}
"""Extras that work on the program."""


def canonical(requirement: str) -> str:
    """Name of the package a requirement asks for, as the index spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def test_every_requirement_is_pinned() -> None:
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(line) for line in pins if "==" in line and not line.startswith("#")}
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = {canonical(name) for names in [PROJECT["project"]["dependencies"], *extras] for name in names}
    assert asked - pinned == {"tabstar-lit"}, "a new requirement needs its line in constraints.txt"


def test_the_oldest_versions_are_those_that_are_tested() -> None:
    """What ``make test-oldest`` installs is what ``pyproject.toml`` promises."""
    pins = (REPOSITORY / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = {canonical(line): line.partition("==")[2] for line in pins if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    groups = [PROJECT["project"]["dependencies"], *(extras[name] for name in extras if name not in TOOLS)]
    promised = {canonical(line): re.split(r">=|,", line)[1] for group in groups for line in group if ">=" in line}
    assert tested == promised


def third_party_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Packages a file imports, and whether it always does: not only in a function or for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {id(node) for outer in (*typing, *functions) for node in ast.walk(outer)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in {name.partition(".")[0] for name in names} - {"tabstar_lit", *sys.stdlib_module_names}:
            yield name, id(node) not in inner


RUNTIME = {canonical(requirement) for requirement in PROJECT["project"]["dependencies"]}
OPTIONAL = {
    canonical(requirement)
    for extra, requirements in PROJECT["project"]["optional-dependencies"].items()
    if extra not in {"test", "docs", "dev"}
    for requirement in requirements
}


USED_WHERE_THEY_ARE = {"pynvml", "anarci", "abnumber", "anarcism"}
"""Comes with the driver of graphics cards; number antibodies, and need programs that pip does not install."""


def test_every_import_is_a_requirement() -> None:
    """What is always imported is required; what a function imports is at least in one of the extras."""
    distributions = packages_distributions()
    missing = {
        f"{relative(path)}: {name}"
        for path in SOURCE_FILES
        for name, always in third_party_imports(path)
        if always or name not in USED_WHERE_THEY_ARE
        if not {canonical(d) for d in distributions.get(name, ())} & (RUNTIME if always else RUNTIME | OPTIONAL)
    }
    assert missing == set()


def test_every_requirement_is_imported() -> None:
    distributions = packages_distributions()
    names = {name for path in SOURCE_FILES for name, _ in third_party_imports(path)}
    imported = {canonical(distribution) for name in names for distribution in distributions.get(name, ())}
    assert RUNTIME - imported == set()


def test_readme_names_every_command() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [name for name in PROJECT["project"]["scripts"] if f"`{name}" not in readme] == []
