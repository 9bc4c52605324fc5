"""Options of families that share a verb: what they share they spell alike."""

from __future__ import annotations

import click
import pytest

from tabstar_lit.commands.verbs import CheckpointVerb, checkpoint_verbs

VERBS = checkpoint_verbs(taken=())


@pytest.mark.parametrize("verb", VERBS)
def test_no_letter_stands_for_two_options(verb: str) -> None:
    command = VERBS[verb]
    assert isinstance(command, CheckpointVerb)
    spelled: dict[str, set[tuple[str, ...]]] = {}
    for option in command.params:
        for spelling in option.opts if isinstance(option, click.Option) else ():
            spelled.setdefault(spelling, set()).add(tuple(option.opts))
    assert {name: options for name, options in spelled.items() if len(options) > 1} == {}
