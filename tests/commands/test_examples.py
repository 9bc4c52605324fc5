"""Every command's help ends with commands to type, and these are understood as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from typed_commands import PROGRAMS, understand

from tabstar_lit.commands.verbs import CheckpointVerb
from tabstar_lit.engine.options import examples

COLUMNS = 80


def below(name: str, command: click.Command, family: str = "") -> Iterator[tuple[str, str, click.Command]]:
    """Yield what one types for a command and for all below it, with the family of a verb's checkpoints."""
    if isinstance(command, CheckpointVerb):
        yield from ((name, of, offer) for of, offer in command.offers.items())
        return
    yield name, family, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None
                yield from below(f"{name} {word}", found)


COMMANDS = [part for name, program in PROGRAMS.items() for part in below(name, program)]


def shown(command: click.Command) -> list[str]:
    """Return the examples of a help text, without what is said about them."""
    _, _, text = (command.epilog or "").partition("Examples:\n")
    lines = [line for line in text.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    return [line.strip().partition("  ")[0] for line in lines]


EXAMPLES = list(dict.fromkeys((line, family) for _, family, command in COMMANDS for line in shown(command)))


@pytest.mark.parametrize(("name", "family", "command"), COMMANDS, ids=[f"{name} {of}" for name, of, _ in COMMANDS])
def test_a_help_ends_with_examples_that_fit_a_terminal(name: str, family: str, command: click.Command) -> None:
    assert shown(command)
    with click.Context(command, info_name=name, terminal_width=COLUMNS) as context:
        lines = command.get_help(context).splitlines()
    examples = lines[next(i for i, line in enumerate(lines) if line.strip() == "Examples:") :]
    assert max(map(len, examples)) <= COLUMNS - 2, "those of a verb are two further to the right"


def test_what_is_said_of_an_example_stands_behind_it_or_where_that_is_too_long_below() -> None:
    assert examples(("run", "it runs"), ("rerun", "again")).splitlines()[2:] == ["  run    it runs", "  rerun  again"]
    assert examples(("run " * 20, "it runs " * 5)).splitlines()[2:] == [f"  {'run ' * 20}", f"      {'it runs ' * 5}"]


@pytest.mark.parametrize(("line", "family"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_an_example_is_understood(line: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    typed = line.replace("COMMAND", "train_signal").replace("FAMILY", "signal")
    command = understand(typed.partition(" > ")[0], family)
    assert command.epilog is not None


@pytest.mark.parametrize(
    ("words", "meant"), [(["pedict"], "predict"), (["runs", "lst"], "list"), (["convert", "event"], "events")]
)
def test_a_misspelt_command_is_answered_with_the_nearest(words: list[str], meant: str) -> None:
    done = CliRunner().invoke(PROGRAMS["tabstar_lit"], words)
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.output
