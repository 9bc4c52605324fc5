from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tabstar_lit.data.source_files import file_identity, file_sha256
from tabstar_lit.errors import DataError


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x,y\n1,2\n")
    assert file_sha256(tmp_path / "a.csv") == hashlib.sha256(b"x,y\n1,2\n").hexdigest()


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.csv: no such file"):
        file_sha256(tmp_path / "b.csv")
    with pytest.raises(DataError, match="cannot be read"):
        file_sha256(tmp_path)


def test_a_file_is_known_by_name_and_bytes_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x")
    assert file_identity(tmp_path / "a.csv") == {"file": "a.csv", "sha256": hashlib.sha256(b"x").hexdigest()}
