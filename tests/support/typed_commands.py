"""Lines that a person types, understood as the program would, without doing anything."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

import click

from tabstar_lit import api
from tabstar_lit.commands.cli import main
from tabstar_lit.commands.track import track
from tabstar_lit.commands.train import train_command
from tabstar_lit.commands.verbs import CheckpointVerb
from tabstar_lit.families import all_families, family_of_command

TRAINING = {family.command: train_command(family.name) for family in all_families()}
PROGRAMS: Mapping[str, click.Command] = {**TRAINING, "track": track, "tabstar_lit": main}


class Typed(NamedTuple):
    """A command that was found, and the words after it."""

    command: click.Command
    words: list[str]


def found(words: list[str], family: str = "") -> Typed:
    """Return the command that words are for; of a verb for checkpoints that of a family, the first by default."""
    command, words = PROGRAMS[words[0]], words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(click.Context(command), words[0])
        assert below is not None, f"there is no {words[0]!r}"
        command, words = below, words[1:]
    if isinstance(command, CheckpointVerb):
        command = command.offers[family or next(iter(command.offers))]
    return Typed(command, words)


def understand(line: str, family: str = "") -> click.Command:
    """Return the command of a line that it parses and composes, where it has overrides; its files have to be there."""
    words = shlex.split(line)
    command, rest = found(words, family)
    if "--help" in rest:
        return command
    given = command.make_context(line, rest).params
    if given.get("overrides") and not given.get("multirun"):
        training = given.get("command") or (words[0] if words[0] in TRAINING else f"train_{words[1]}")
        api.compose(family_of_command(training), given["overrides"], None, tell=print)
    return command
