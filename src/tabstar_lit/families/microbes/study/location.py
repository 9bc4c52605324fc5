"""Where the study of a configuration is, and what to do where there is none."""

from __future__ import annotations

from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.config.tree import nearest_names
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.study.generated import ensure_generated
from tabstar_lit.families.microbes.study.study import Study, read_study

GENERATED = "microbes_generated.h5"
"""Name of the generated study below the data root."""


def open_study(config: MicrobesDataset, scratch: Path | None = None) -> Study:
    """Open the study that ``config.study`` means: as given, else below the data root; null is the generated one.

    Parameters
    ----------
    config : MicrobesDataset
        The ``dataset_config``.
    scratch : Path, optional
        Folder for a generated study that is missing.

    Raises
    ------
    DataError
        It is no usable study, or not there: says where it was looked for, and what is there.
    """
    if config.study is None:
        path = roots().data / GENERATED
        return read_study(ensure_generated(path if scratch is None or path.exists() else scratch / path.name))
    path = Path(config.study).expanduser()
    below_root = roots().data / path
    if path.exists() or not below_root.exists():
        _require(path, below_root)
        return read_study(path)
    return read_study(below_root)


def _require(path: Path, below_root: Path) -> None:
    if path.exists():
        return
    names = [found.name for folder in (path.parent, below_root.parent) for found in folder.glob("*.h5")]
    near = nearest_names(path.name, sorted(names), n=1)
    hint = f"Did you mean '{path.with_name(near[0])}'?" if near else ""
    raise DataError(
        f"dataset_config.study: {path}: no such file, neither as given nor below the data root "
        f"{below_root.parent.absolute()}. "
        f"{hint or f'Make it with: tabstar_lit convert microbiome CONFIG.yaml -o {path}'}"
    )
