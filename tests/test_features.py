"""What the page of features names is there: commands, keys, targets of the Makefile, files, sections of pages."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from typed_commands import PROGRAMS, understand

from tabstar_lit.config.schema_walk import models_at, yaml_fields
from tabstar_lit.families import get_family

PAGE = Path(__file__).resolve().parents[1] / "docs/features.md"
ROWS = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
NAMED = sorted(set(chain.from_iterable(re.findall(r"`([^`]+)`", cell) for _, cell, _ in ROWS)))
FEATURES = 24


def test_every_feature_says_what_to_type_and_where_more_is_said() -> None:
    assert len(ROWS) == FEATURES
    assert all("`" in typed and "](" in page for _, typed, page in ROWS)


@pytest.mark.parametrize("named", NAMED)
def test_what_is_named_exists(named: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, rest = named.partition(" ")
    if first in PROGRAMS:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "model.ckpt").touch()
        assert understand(named if named != "tabstar_lit runs show" else f"{named} RUN").help
    elif first == "make":
        assert re.search(rf"^{rest}:", (repository / "Makefile").read_text(), flags=re.MULTILINE)
    elif (repository / named).exists():
        pass
    else:
        *above, key = named.partition("=")[0].split(".")
        sections = models_at(get_family("signal").schema(), {}, tuple(above or ["model_config"]))
        assert any(key in yaml_fields(section) for section in sections), f"there is no {named}"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([\w/-]+\.md#[\w-]+)\)", PAGE.read_text()))))
def test_the_sections_exist(link: str) -> None:
    page, _, anchor = link.partition("#")
    titles = re.findall(r"^#+ (.+)$", (PAGE.parent / page).read_text(), flags=re.MULTILINE)
    assert anchor in {re.sub(r"[^\w]+", "-", title.lower()).strip("-") for title in titles}
