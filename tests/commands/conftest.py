"""Fixtures of the commands' tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built-in corpus, made once for all tests."""
    from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin

    return ensure_builtin(tmp_path_factory.mktemp("corpus") / "builtin.h5")
