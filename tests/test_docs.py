"""What the documentation tells people to type works.

Every ``bash``, ``python`` and ``yaml`` block of README.md and docs/ is run or checked, page by page, from top
to bottom in one empty folder. ``text`` and ``console`` blocks show something and are not run.

- bash: a line that trains is run for an epoch or two, on a few rows or in a few steps. ``make NAME`` is checked
  to be a target of the Makefile, and ``track``, a server, is left out. Everything else runs as it stands.
- python: executed; the blocks of a page share their names.
- yaml: a piece of a configuration. Its keys say where it belongs (``max_epochs`` into ``training_config`` and
  so on); it is merged over what ``train_tabstar`` runs by default and validated.

A comment directly above a block changes that:

    <!-- test: elsewhere: REASON -->    not run here; the reason names the test that covers it
    <!-- test: file PATH -->            yaml: written to PATH in the page's folder, for the commands after it
    <!-- test: of COMMAND ... -->       yaml: merged over what COMMAND runs with these overrides instead
    <!-- test: with KEY=VALUE ... -->   bash: appended to every training command of the block
    <!-- test: first COMMANDS -->       run before the block, like a bash block; separated by semicolons
    <!-- test: shows -->                console: what follows ``$ command`` is what the command prints
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from traceback import format_exception
from typing import Any, NamedTuple

import click
import pytest
import yaml
from click.testing import CliRunner

from tabstar_lit.config import load_experiment
from tabstar_lit.config.schema_walk import models_in
from tabstar_lit.families import FAMILIES, get_family

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- test: (?P<marker>[^\n]*) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
SHOWN = {"console", "json", "text"}
OF_A_SHELL = re.compile(r"[$`|&;<>*~{]")
CHANGES_THE_SHELL = re.compile(r"^\s*(export|cd|source|set)\b|<<|^\s*\w+=", re.MULTILINE)
LOOKING_ONLY = {"--check", "--help", "--list", "--print-config", "--version"}
EPOCH = ["model_config.training_config.max_epochs=1"]
"""What makes the training of a family short that is not named below."""
SMALL = {
    "train_tabstar": [
        "model_config.training_config.max_epochs=1",
        "dataset_config.rows_per_dataset=16",
        "dataset_config.val_rows_per_dataset=16",
    ],
    "train_signal": [
        "model_config.training_config.max_epochs=2",
        "dataset_config.dataloader_kwargs.batch_size=8192",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
    "train_experts": [
        "model_config.training_config.max_epochs=1",
        "model_config.architecture_config.width=16",
        "model_config.architecture_config.heads=2",
        "dataset_config.context_length=64",
        "dataset_config.rows_per_epoch=64",
        "dataset_config.max_samples=40",
    ],
    "train_microbes": [
        "model_config.training_config.max_epochs=1",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
    "train_fakes": [
        "model_config.training_config.max_epochs=1",
        "dataset_config.dataloader_kwargs.batch_size=32768",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
    "train_antibody": [
        "model_config.training_config.max_epochs=1",
        "dataset_config.max_samples=64",
        "dataset_config.split.val=0.02",
        "tracking_config.samples=4",
    ],
}


class Block(NamedTuple):
    """A fenced block of a page: line, language, text, and the marker above it in two parts."""

    line: int
    language: str
    body: str
    verb: str
    rest: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        verb, _, rest = (match["marker"] or "").partition(" ")
        body = "".join(line.removeprefix(match["indent"]) for line in match["body"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(line, match["language"], body, verb.rstrip(":"), rest)


# -- bash ------------------------------------------------------------------------------------------


def targets() -> set[str]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def shortened(line: str, extra: list[str]) -> str:
    """A command of the page as it is run here: training on a few rows, ``make`` only looked up."""
    words = shlex.split(line, comments=True)
    if words and words[0] == "make":
        assert words[1] in targets(), f"the Makefile has no target {words[1]!r}"
        return ":"
    if words and words[0] == "track":
        return ":"
    if words and words[0].startswith("train_") and LOOKING_ONLY.isdisjoint(words):
        given = {word.partition("=")[0] for word in words}
        small = [setting for setting in SMALL.get(words[0], EPOCH) if setting.partition("=")[0] not in given]
        return shlex.join([*words, *small, *extra])
    return line


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def program(line: str) -> click.Command | None:
    """The project's command that a line is, if it is nothing else: no variables, pipes or patterns."""
    words = shlex.split(line, comments=True)
    if not words or OF_A_SHELL.search(line):
        return None
    (*_, found) = (None, *entry_points(group="console_scripts", name=words[0]))
    command = None if found is None or not found.value.startswith("tabstar_lit.") else found.load()
    return command if isinstance(command, click.Command) else None


def run_bash(block: Block, folder: Path) -> None:
    """Run a block; the project's own commands in this process, since each would take seconds to start."""
    extra = shlex.split(block.rest) if block.verb == "with" else []
    lines = [shortened(line, extra) for line in block.body.replace("\\\n", " ").splitlines()]
    commands = [program(line) for line in lines]
    if CHANGES_THE_SHELL.search(block.body) or not any(commands):
        lines, commands = ["\n".join(lines)], [None]
    for line, command in zip(lines, commands, strict=True):
        if command is not None:
            done = CliRunner().invoke(command, shlex.split(line, comments=True)[1:])
            error = "".join(format_exception(done.exception)) if done.exception is not None else ""
            assert done.exit_code == 0, f"{line}\n{done.output[-4000:]}\n{error[-4000:]}"
        else:
            ended = shell(line, folder)
            assert ended.returncode == 0, f"{line}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


def compare_console(block: Block, folder: Path) -> None:
    for part in block.body.split("$ ")[1:]:
        command, _, expected = part.partition("\n")
        done = shell(command, folder)
        printed = done.stdout + done.stderr
        assert expected.strip() in printed, f"`{command}` prints\n{printed}"


# -- yaml ------------------------------------------------------------------------------------------


def fields(section: Any) -> set[str]:
    """The keys of a section, or of any of those it may be."""
    models = models_in(section)
    return {field.alias or name for model in models for name, field in model.model_fields.items()} | {"defaults"}


def place(keys: set[str], schema: Any) -> list[str]:
    """Where in the configuration a piece with these keys belongs."""
    model = schema.model_fields["model"].annotation
    candidates = [
        ([], schema),
        (["experiment_config"], schema.model_fields["experiment_config"].annotation),
        (["model_config"], model),
        (["model_config", "training_config"], model.model_fields["training_config"].annotation),
        (["model_config", "architecture_config"], model.model_fields["architecture_config"].annotation),
        (["dataset_config"], schema.model_fields["dataset_config"].annotation),
    ]
    for path, section in candidates:
        if keys <= fields(section) | ({"commands"} if not path else set()):
            return path
    raise AssertionError(f"the keys {sorted(keys)} belong to no one section of the configuration")


def merge(base: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    both = {k: merge(base[k], v) for k, v in piece.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return base | piece | both


def check_yaml(block: Block, folder: Path) -> None:
    if block.verb == "file":
        target = folder / block.rest
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.body, encoding="utf-8")
        return
    command, *overrides = shlex.split(block.rest) if block.verb == "of" else ["train_tabstar"]
    family = next(family for family in map(get_family, FAMILIES) if family.command == command)
    schema = family.schema()
    piece = yaml.safe_load(block.body)
    for name in reversed(place(set(piece), schema)):
        piece = {name: piece}
    primary = yaml.safe_load((REPOSITORY / "training_config.yaml").read_text(encoding="utf-8"))
    commands = piece.pop("commands", {})
    overlay = merge(primary.get("commands", {}), merge({family.command: piece}, commands))
    written = folder / "yaml"
    written.mkdir(exist_ok=True)
    (written / "training_config.yaml").write_text(yaml.safe_dump(primary | {"commands": overlay}), encoding="utf-8")
    load_experiment(schema, command=command, overrides=overrides, config_dir=written)


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in blocks(page):
        where = f"{page.relative_to(REPOSITORY)}:{block.line}"
        try:
            if block.verb == "first":
                run_bash(block._replace(body=block.rest.replace(";", "\n")), tmp_path)
            if block.verb == "elsewhere":
                assert len(block.rest) > 20, "say which test covers it instead"
            elif block.verb == "shows":
                compare_console(block, tmp_path)
            elif block.language == "bash":
                run_bash(block, tmp_path)
            elif block.language == "python":
                exec(compile(block.body, where, "exec"), names)  # noqa: S102  # running it is the point
            elif block.language == "yaml":
                check_yaml(block, tmp_path)
            else:
                assert block.language in SHOWN, f"say what it is: bash, python, yaml, {', '.join(SHOWN)}"
        except Exception as error:
            raise AssertionError(f"{where}: the {block.language} block does not work: {error}") from error


def test_tests_named_by_the_pages_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"\btests/[\w/]+\.py\b", page.read_text(encoding="utf-8"))}
    assert {name for name in named if not (REPOSITORY / name).is_file()} == set()


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*PAGES, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPOSITORY)}: {target}")
    assert broken == []
