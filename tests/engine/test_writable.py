"""``--check`` looks whether a run could write what it will, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tabstar_lit.engine.preflight import require_writable
from tabstar_lit.errors import ConfigError


def test_folders_that_can_be_made_are_not_made(tmp_path: Path) -> None:
    require_writable([tmp_path, tmp_path / "a" / "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/1/x/runs", "/sys/none"])
def test_a_folder_nobody_can_write_to_is_named(place: str) -> None:
    with pytest.raises(ConfigError, match=rf"{place}: nothing can be written there \(.*experiment_config\.save_dir"):
        require_writable([Path(place)])


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="runs/x: nothing can be written there"):
        require_writable([tmp_path / "runs" / "x"])
