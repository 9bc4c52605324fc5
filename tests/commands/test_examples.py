"""Every command's help ends with commands to type, and these are understood as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from tabstar_lit import api
from tabstar_lit.commands.cli import main
from tabstar_lit.commands.track import track
from tabstar_lit.commands.train import train_command
from tabstar_lit.commands.verbs import CheckpointVerb
from tabstar_lit.families import all_families, family_of_command

TRAINING = {family.command: train_command(family.name) for family in all_families()}
PROGRAMS: Mapping[str, click.Command] = {**TRAINING, "track": track, "tabstar_lit": main}
COLUMNS = 80


def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all that are below it, with what one types for it."""
    if isinstance(command, CheckpointVerb):
        yield from ((f"{name} ({family})", offer) for family, offer in command.offers.items())
        return
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None
                yield from below(f"{name} {word}", found)


COMMANDS = dict(part for name, program in PROGRAMS.items() for part in below(name, program))


def shown(command: click.Command) -> list[str]:
    """Return the examples of a help text, without what is said about them."""
    _, _, text = (command.epilog or "").partition("Examples:\n")
    lines = [line for line in text.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    return [line.strip().partition("  ")[0] for line in lines]


EXAMPLES = list(dict.fromkeys((name, line) for name, command in COMMANDS.items() for line in shown(command)))


def addressed(words: list[str], family: str) -> tuple[click.Command, list[str]]:
    """Return the command that a line is for, and the rest of its words."""
    command, words = PROGRAMS[words[0]], words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no {words[0]!r}"
        command, words = found, words[1:]
    return (command.offers[family] if isinstance(command, CheckpointVerb) else command), words


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_ends_with_examples_that_fit_a_terminal(name: str) -> None:
    command = COMMANDS[name]
    assert shown(command)
    with click.Context(command, info_name=name, terminal_width=COLUMNS) as context:
        lines = command.get_help(context).splitlines()
    examples = lines[next(i for i, line in enumerate(lines) if line.strip() == "Examples:") :]
    assert max(map(len, examples)) <= COLUMNS - 2, "verbs indent them once more"


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_understood(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.replace("COMMAND", "train_signal").partition(" > ")[0])
    if words[-1] == "--help":
        return
    command, rest = addressed(words, name.rpartition("(")[2].rstrip(")"))
    given = command.make_context(line, rest).params
    if "overrides" in given:
        training = given.get("command") or (words[0] if words[0] in TRAINING else f"train_{words[1]}")
        api.compose(family_of_command(training), given["overrides"], None, tell=print)
