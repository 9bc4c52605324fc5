"""A data set is called after its file where that takes the place of a command's own data."""

from __future__ import annotations

import pytest

from tabstar_lit.config.data_names import named_after_data
from tabstar_lit.config.nodes import Node, find
from tabstar_lit.config.yaml_reader import parse_yaml

FILES, NAME = ("dataset_config", "files"), ("dataset_config", "name")


def composed(files: str) -> Node:
    return parse_yaml(f"dataset_config: {{name: toy, files: {files}}}\n", "f.yaml")


def name_of(before: Node, after: Node) -> object:
    found = find(named_after_data(before, after, "files"), NAME)
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("files", "name"),
    [("a/wines.h5", "wines"), (["b c.h5", "d.h5"], "b_c"), ("a/events/*.h5", "events"), ("*.h5", "toy"), ([], "toy")],
)
def test_it_takes_the_name_of_the_first_file_or_its_folder(files: str | list[str], name: str) -> None:
    before = composed("null")
    value = files if isinstance(files, str) else [Node(file, None) for file in files]
    assert name_of(before, before.replaced(FILES, Node(value, None))) == name


def test_a_name_that_was_given_stays() -> None:
    before = composed("null")
    after = before.replaced(FILES, Node("wines.h5", None)).replaced(NAME, Node("mine", None))
    assert name_of(before, after) == "mine"
    same = before.replaced(FILES, Node("wines.h5", None)).replaced(NAME, Node("toy", None))
    assert name_of(before, same) == "toy"


def test_a_file_in_the_place_of_another_keeps_its_name() -> None:
    before = composed("old.h5")
    assert name_of(before, before.replaced(FILES, Node("new.h5", None))) == "toy"


def test_without_a_file_nothing_changes() -> None:
    before = composed("null")
    assert name_of(before, before) == "toy"
    after = before.replaced(FILES, Node("wines.h5", None))
    assert named_after_data(before, after, None) is after
    nowhere = parse_yaml("dataset_config: {name: toy}\n", "f.yaml")
    assert named_after_data(nowhere, nowhere, "files") is nowhere
