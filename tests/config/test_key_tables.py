"""Tables of keys say what the schema says: every key once, with its default, its meaning and where its own keys are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tabstar_lit.commands.schemas import generated
from tabstar_lit.config.key_pages import Trained, family_page, filled, key_pages
from tabstar_lit.config.key_tables import key_tables
from tabstar_lit.config.schema import Experiment, TuningConfig
from tabstar_lit.config.schema.base import AlsoSpelled, Section
from tabstar_lit.config.schema_walk import reachable, yaml_fields
from tabstar_lit.families import own_families
from tabstar_lit.families.hep.events.conversion_config import ConversionConfig


class Crust(Section):
    """What is outside, such as ``rye`` (see :class:`Filling`)."""

    flour: str = Field("rye", description="Kind of *flour*.")
    minutes: Annotated[float, AlsoSpelled("time", "mins")] = Field(30.0, description="Time at <heat> | `a|b*`.")


class ThinCrust(Crust):
    """A crust for the hasty."""

    minutes: float = Field(10.0, description="Less time.")


class Filling(Section):
    """What every filling has."""

    salt: bool = Field(False, description="With salt.")


class Sweet(Filling):
    """A filling of fruit."""

    kind: Literal["sweet"]
    fruit: tuple[str, ...] = Field(("apple", "plum"), description="Which.")


class Savoury(Filling):
    """A filling of vegetables."""

    kind: Literal["savoury"]
    herbs: dict[str, int | None] = Field({"dill": 2, "mint": None}, description="How much.")
    lid: Crust | None = Field(None, description="A lid.")


class Cheese(Section):
    """A filling by itself."""

    kind: Literal["cheese"]
    crust: ThinCrust = Field(default_factory=ThinCrust, description="Its crust.")


class Guest(Section):
    """Somebody who eats."""

    name: str = Field(description="Name.")
    nickname: str = Field("", description="Another.")


class Pie(Section):
    """All of a pie."""

    crust: Crust = Field(default_factory=Crust, description="The outside.")
    filling: Annotated[Sweet | Savoury | Cheese, Field(discriminator="kind")] = Field(description="The inside.")
    guests: list[Guest] = Field(default_factory=list, description="Who comes.")


TABLES = """\
## Top level

| Key | Default | Meaning |
|---|---|---|
| [`crust`](#crust) | see there | The outside. |
| [`filling`](#filling) | required | The inside. |
| [`guests`](#guests-each) | `[]` | Who comes. |

## crust

What is outside, such as `rye` (see `Filling`).

| Key | Default | Meaning |
|---|---|---|
| `flour` | `rye` | Kind of \\*flour\\*. |
| `minutes` | `30.0` | Time at &lt;heat> \\| `a\\|b*`. Also spelled `time` or `mins`. |

## filling

`kind` is `sweet`, `savoury` or `cheese`.

### All but cheese

What every filling has.

| Key | Default | Meaning |
|---|---|---|
| `salt` | `false` | With salt. |

### sweet

A filling of fruit.

| Key | Default | Meaning |
|---|---|---|
| `fruit` | `[apple, plum]` | Which. |

### savoury

A filling of vegetables.

| Key | Default | Meaning |
|---|---|---|
| `herbs` | `{dill: 2, mint: null}` | How much. |
| [`lid`](#crust) | `null` | A lid. |

### cheese

A filling by itself.

| Key | Default | Meaning |
|---|---|---|
| [`crust`](#crust-of-cheese) | see there | Its crust. |

### crust of cheese

A crust for the hasty. Beside the keys of [crust](#crust):

| Key | Default | Meaning |
|---|---|---|
| `minutes` | `10.0` | Less time. |

## guests, each

Somebody who eats.

| Key | Default | Meaning |
|---|---|---|
| `name` | required | Name. |
| `nickname` | `""` | Another. |"""


def test_each_section_has_a_table_of_its_keys() -> None:
    assert key_tables(Pie) == TABLES


def test_what_is_explained_elsewhere_is_left_out_and_a_heading_can_be() -> None:
    tables = key_tables(Pie, level=4, title="", known=[Crust, Sweet, Savoury, Cheese, ThinCrust])
    assert tables.startswith("| Key | Default | Meaning |\n|---|---|---|\n| `crust` | see there |")
    assert re.findall("^#.*", tables, re.MULTILINE) == ["#### guests, each"]


def test_a_change_without_a_word_keeps_the_meaning_of_what_was_changed() -> None:
    class Experiment2(Experiment):
        dataset_config: Any = 3

    assert "| `dataset_config` | `3` | Where data comes from. |" in key_tables(Experiment2, known=reachable(Experiment))


def test_what_differs_among_alternatives_is_named_after_those_that_have_it() -> None:
    page = family_page("signal", families()["signal"])
    (networks,) = re.findall(r"### EventTransformer\n.*?\n\n\|.*?\n\n", page, re.DOTALL)
    assert "| [`embeddings`](#embeddings-of-eventtransformer) |" in networks
    assert "### embeddings of EventTransformer\n" in page
    assert "### All but TabSTAR\n" in page


PAGE = """\
# By hand

## Keys

<!-- keys of tabstar_lit.config.schema:NonFinite -->
old
<!-- end of keys -->

<!-- pages of keys -->
<!-- end of pages of keys -->
"""


def families() -> dict[str, Trained]:
    return {family.name: Trained(family.command, family.schema()) for family in own_families()}


def test_a_page_is_filled_in_where_it_asks_for_it_and_nowhere_else() -> None:
    known = families()
    text = filled(PAGE, known)
    assert text == filled(text, known)
    begin, rest = text.split("<!-- keys of tabstar_lit.config.schema:NonFinite -->\n")
    table, end = rest.split("<!-- end of keys -->")
    assert begin == "# By hand\n\n## Keys\n\n"
    assert table.splitlines()[1] == "| Key | Default | Meaning |"
    assert "| `policy` | `stop` |" in table
    assert "- [signal](families/signal-keys.md), trained by `train_signal`\n" in end
    assert "old" not in text


def test_a_new_family_has_a_page_that_others_lead_to(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/all.md").write_text("# All\n\n<!-- pages of keys -->\n<!-- end of pages of keys -->\n")
    (tmp_path / "docs/other.md").write_text("# Other\n")
    (tmp_path / "mkdocs.yml").write_text("nav:\n  - Keys:\n      # pages of keys\n      # end of pages of keys\n")
    pages = key_pages(tmp_path, {"waves": Trained("train_waves", next(iter(families().values())).schema)})
    assert sorted(pages) == ["docs/all.md", "docs/families/waves-keys.md", "mkdocs.yml"]
    assert pages["docs/families/waves-keys.md"].startswith("# Every key of waves\n")
    assert "[waves](families/waves-keys.md), trained by `train_waves`" in pages["docs/all.md"]
    assert "      - waves: families/waves-keys.md\n" in pages["mkdocs.yml"]


def slug(title: str) -> str:
    return "-".join("".join(sign for sign in title.lower() if sign.isalnum() or sign in "_ -").split())


@pytest.mark.parametrize("name", families())
def test_headings_of_a_family_are_told_apart_and_every_link_leads_to_one(name: str) -> None:
    page = family_page(name, families()[name])
    titles = [slug(title) for title in re.findall(r"^#+ (.*)", page, re.MULTILINE)]
    assert len(titles) == len(set(titles))
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= set(titles)


def keys(sections: list[type[BaseModel]]) -> set[str]:
    return {name for section in sections for name in yaml_fields(section)}


@pytest.mark.parametrize("name", families())
def test_no_key_of_a_family_is_left_out(name: str, repository: Path) -> None:
    pages = generated(repository)
    listed = listed_in(
        pages[f"docs/families/{name}-keys.md"] + pages["docs/configuration.md"] + pages["docs/tuning.md"]
    )
    assert keys(reachable(families()[name].schema)) - listed <= {"model"}


@pytest.mark.parametrize(("page", "section"), [("docs/events.md", ConversionConfig), ("docs/tuning.md", TuningConfig)])
def test_no_key_of_another_file_is_left_out(page: str, section: type[BaseModel], repository: Path) -> None:
    assert keys(reachable(section)) - listed_in(generated(repository)[page]) == set()


def listed_in(page: str) -> set[str]:
    return set(re.findall(r"^\| \[?`(\w+)`", page, re.MULTILINE))
