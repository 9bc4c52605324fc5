"""The built-in corpus: five real tables that scikit-learn carries, so that training needs no download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn import datasets

from tabstar_lit.data.splits import row_ids
from tabstar_lit.families.tabstar.tables.converter import Report, convert
from tabstar_lit.families.tabstar.tables.encoding import Settings
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry


@dataclass(frozen=True)
class BuiltinSource:
    """A table that scikit-learn carries.

    Attributes
    ----------
    entry : TableEntry
        What it is; ``file`` names scikit-learn's loader.
    columns : tuple of (str, str)
        Old and new names of columns whose names say nothing.
    class_names : tuple of str
        Names of the classes, where scikit-learn's say nothing.
    """

    entry: TableEntry
    columns: tuple[tuple[str, str], ...] = ()
    class_names: tuple[str, ...] = ()

    def identity(self) -> dict[str, str]:
        """Return loader and version of scikit-learn."""
        return {"file": f"sklearn.datasets.{self.entry.file}", "sha256": "", "version": sklearn.__version__}

    def read(self) -> RawTable:
        """Load the table with speaking names."""
        options: dict[str, Any] = {"scaled": False} if self.entry.file == "load_diabetes" else {}
        bunch = getattr(datasets, self.entry.file)(as_frame=True, **options)
        frame: pd.DataFrame = bunch.data.rename(columns=dict(self.columns))
        names = self.class_names or tuple(map(str, getattr(bunch, "target_names", ())))
        values = bunch.target.to_numpy()
        classes = self.entry.task == "classification"
        frame[self.entry.target] = np.array(names, dtype=object)[values] if classes else values
        return RawTable(frame, row_ids(frame))


_DIABETES = (
    ("sex", "sex (1 or 2)"),
    ("bmi", "body mass index"),
    ("bp", "average blood pressure"),
    ("s1", "total serum cholesterol"),
    ("s2", "low-density lipoproteins"),
    ("s3", "high-density lipoproteins"),
    ("s4", "total cholesterol / HDL"),
    ("s5", "log of serum triglycerides"),
    ("s6", "blood sugar level"),
)

SOURCES = (
    BuiltinSource(
        TableEntry(
            name="iris",
            file="load_iris",
            target="species",
            task="classification",
            description="Measurements of iris flowers of three species (Fisher 1936).",
        )
    ),
    BuiltinSource(
        TableEntry(
            name="wine",
            file="load_wine",
            target="cultivar",
            task="classification",
            description="Chemical analysis of Italian wines from three cultivars.",
        ),
        columns=(("od280/od315_of_diluted_wines", "od280/od315 of diluted wines"),),
        class_names=("cultivar 1", "cultivar 2", "cultivar 3"),
    ),
    BuiltinSource(
        TableEntry(
            name="breast_cancer",
            file="load_breast_cancer",
            target="diagnosis",
            task="classification",
            description="Cell nuclei in images of breast masses (Wisconsin, diagnostic).",
        )
    ),
    BuiltinSource(
        TableEntry(
            name="digits",
            file="load_digits",
            target="digit",
            task="classification",
            description="Handwritten digits, 8 x 8 grey values.",
        )
    ),
    BuiltinSource(
        TableEntry(
            name="diabetes",
            file="load_diabetes",
            target="disease progression",
            task="regression",
            description="Patients: a measure of disease progression one year after baseline (Efron 2004).",
        ),
        columns=_DIABETES,
    ),
)
"""The tables, in the order of the corpus. Linnerud's 20 rows are too few to validate on."""


def convert_builtin(path: Path, settings: Settings | None = None) -> Report:
    """Make or refresh the built-in corpus.

    Parameters
    ----------
    path : Path
        Where to write it.
    settings : Settings, optional
        Split and bin labels.

    Returns
    -------
    Report
        What was converted and what was kept.

    Raises
    ------
    DataError
        If it cannot be written, or ``path`` is another kind of file.
    """
    return convert(SOURCES, path, settings=settings)


def ensure_builtin(path: Path) -> Path:
    """Return ``path`` once the built-in corpus of this release lies there; fast when it does already.

    Parameters
    ----------
    path : Path
        Where the corpus belongs.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    DataError
        If it cannot be written, or ``path`` is another kind of file.
    """
    convert_builtin(path)
    return path
