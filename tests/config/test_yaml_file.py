"""YAML files a user names: what they are not is said at once, whatever family reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tabstar_lit.config.yaml_file import read_mapping, read_yaml
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.conversion.config import read_conversion as read_pairs
from tabstar_lit.families.hep.events.conversion_config import read_conversion as read_events
from tabstar_lit.families.microbes.conversion.config import read_conversion as read_study
from tabstar_lit.families.tabstar.manifest import read_manifest

READERS = [read_pairs, read_events, read_study, read_manifest]


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_does_not_hang_any_reader(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(DataError, match=r"c\.yaml: no regular file but a pipe"):
        read(tmp_path / "c.yaml")


@pytest.mark.parametrize("read", READERS)
def test_another_encoding_and_no_file_are_said(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "c.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"c\.yaml: not UTF-8 text"):
        read(tmp_path / "c.yaml")
    with pytest.raises(DataError, match=r"absent\.yaml: cannot be read: No such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_values_keep_their_places(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1\nb: [2]\n")
    assert read_yaml(tmp_path / "c.yaml").value["b"].position.line == 2
    assert read_mapping(tmp_path / "c.yaml", "the keys a, b") is not None
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"list\.yaml:1:1: expected a mapping with the keys a, b"):
        read_mapping(tmp_path / "list.yaml", "the keys a, b")
