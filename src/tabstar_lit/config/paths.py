"""Where configurations are searched and where runs read and write: the ``ANALYSIS_ML_*_DIR`` variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tabstar_lit.errors import ConfigError

PRIMARY_NAME = "training_config.yaml"


class Roots(NamedTuple):
    """The directories under which relative and absent paths of a configuration lie."""

    data: Path
    logs: Path
    results: Path
    models: Path


def roots() -> Roots:
    """Give ``ANALYSIS_ML_{DATA,LOGS,RESULTS,MODELS}_DIR``; without them ``data/`` and ``runs/`` here."""
    defaults = {"data": "data", "logs": "runs/logs", "results": "runs/results", "models": "runs/models"}
    return Roots(**{name: _variable(name) or Path(default) for name, default in defaults.items()})


def find_config_dirs(config_dir: Path | None, family_files: Path | None = None) -> list[Path]:
    """Give the directories that configuration files are searched in, the first hit of each file wins.

    In order: `config_dir`, ``$ANALYSIS_ML_CONFIG_DIR``, the working directory, `family_files`, the copy inside the
    package.

    Raises
    ------
    ConfigError
        When `config_dir` or the variable names something that is not a directory.
    """
    chosen = {"--config-dir": config_dir, "ANALYSIS_ML_CONFIG_DIR": _variable("config")}
    for source, directory in chosen.items():
        if directory is not None and not directory.is_dir():
            raise ConfigError(f"{source}: '{directory}' is not a directory; `tabstar_lit init` makes one to edit")
    directories = [*chosen.values(), Path(), family_files, packaged_config_dir()]
    return list(dict.fromkeys(directory for directory in directories if directory is not None))


def packaged_config_dir() -> Path:
    """Give the configurations that come with the program: inside the wheel, or the root of a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_configs"
    return inside if inside.is_dir() else package.parent.parent


def _variable(name: str) -> Path | None:
    value = os.environ.get(f"ANALYSIS_ML_{name.upper()}_DIR")
    return Path(value).expanduser() if value else None
