"""YAML files a user names: what they are not is said at once, whatever family reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.antibody.conversion.config import read_conversion as read_pairs
from tabstar_lit.families.hep.events.conversion_config import read_conversion as read_events
from tabstar_lit.families.microbes.conversion.config import read_conversion as read_study
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

READERS = [read_pairs, read_events, read_study, read_manifest]


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_does_not_hang_any_reader(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=r"c\.yaml: no regular file but a pipe"):
        read(tmp_path / "c.yaml")


@pytest.mark.parametrize("read", READERS)
def test_another_encoding_and_no_file_are_said(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "c.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"c\.yaml:1:1: not UTF-8 text"):
        read(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path)
