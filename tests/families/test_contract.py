"""Everything a family offers hangs on its object, and nothing but the list of families knows one by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest
from toy import ToyFamily

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families import FAMILIES, get_family, own_families

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "tabstar_lit"
SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def options(command: click.Command) -> dict[str, click.Option]:
    own = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {spelling: option for option in own for spelling in option.opts}


def test_no_room_but_the_families_names_a_family() -> None:
    names = "|".join([*(family.command for family in own_families()), r"tabstar_lit\.families\.\w+\."])
    rooms = ["commands", "config", "data", "engine", "losses", "metrics", "nn", "plots", "tuning"]
    files = [PACKAGE / "api.py", *(file for room in rooms for file in (PACKAGE / room).rglob("*.py"))]
    code = {file: file.read_text(encoding="utf-8") for file in files}
    found = {file.name: re.findall(rf"\b({names})", text) for file, text in code.items()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_name_in_the_list_is_the_family_s_own(name: str) -> None:
    assert get_family(name).name == name


def test_every_family_has_its_console_script_and_there_are_no_others() -> None:
    expected = {family.command: f"tabstar_lit.commands.train:{family.command}" for family in own_families()}
    assert {name: target for name, target in SCRIPTS.items() if ".train:" in target} == expected


@pytest.mark.parametrize("family", own_families(), ids=lambda family: family.name)
def test_verbs_begin_with_a_checkpoint(family: AnyFamily) -> None:
    for verb in family.verbs().values():
        first = next(parameter for parameter in verb.params if isinstance(parameter, click.Argument))
        assert first.name == "checkpoint"


def test_an_option_takes_a_value_in_all_families_or_in_none() -> None:
    """Otherwise the checkpoint could not be found behind it."""
    for family in own_families():
        for verb, command in family.verbs().items():
            for other in own_families():
                theirs = options(other.verbs()[verb]) if verb in other.verbs() else {}
                for spelling, option in options(command).items():
                    twin = theirs.get(spelling, option)
                    assert (twin.is_flag, twin.nargs) == (option.is_flag, option.nargs), f"{verb} {spelling}"


def test_a_family_may_offer_nothing_beside_training() -> None:
    family = ToyFamily()
    assert family.configurations() is None
    assert (*family.converters(), *family.viewers(), *family.verbs(), *family.groups()) == ()
    with pytest.raises(CheckpointError, match=r"a\.ckpt is of the family toy, which restores no models"):
        family.restore(Path("a.ckpt"))
