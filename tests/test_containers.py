"""What builds the package elsewhere asks for what there is: extras, commands, releases of Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = ("containers/Dockerfile", "containers/tabstar_lit.def", "environment.yml")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return found


def steps() -> list[str]:
    """Return every command of the workflow."""
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_installs_extras_that_exist_at_the_pinned_versions(recipe: str, project: dict[str, Any]) -> None:
    text = (REPOSITORY / recipe).read_text()
    asked = [extra for extras in re.findall(r"\.\[([\w,]+)\]", text) for extra in extras.split(",")]
    assert asked
    assert set(asked) <= set(project["optional-dependencies"])
    assert "-c constraints.txt" in text


def test_every_stage_of_the_container_ends_as_a_user_without_rights() -> None:
    text = (REPOSITORY / "containers/Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    runnable = [stage for stage in stages if "CMD" in stage]
    assert [stage.split(" AS ")[1].split()[0] for stage in runnable] == ["cpu", "cuda"]
    for stage in runnable:
        assert stage.index("USER trainer") < stage.index("CMD")


def test_the_workflow_types_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    typed = [word for run in steps() if run.startswith("make ") for word in run.split()[1:] if "=" not in word]
    assert {"lint", "test", "docs"} <= set(typed) <= targets


def test_the_workflow_tests_the_releases_of_python_that_are_promised(project: dict[str, Any]) -> None:
    matrix = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    promised = [text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r"Python :: 3\.\d+", text)]
    assert matrix["python-version"] == promised
