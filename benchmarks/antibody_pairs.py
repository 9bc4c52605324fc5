"""The real pairs of antigen and antibody that quality is measured on."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.tabstar_results import DATA_VARIABLE, REPOSITORY
from tabstar_lit.config.paths import roots
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.conversion.config import read_conversion
from tabstar_lit.families.antibody.conversion.convert import convert_pairs
from tabstar_lit.families.antibody.numbering.domains import find_domains
from tabstar_lit.families.antibody.pairs.fasta import read_fasta
from tabstar_lit.families.antibody.pairs.tokens import antibody_text

ASSAYS = {"alphaseq": "her2_alphaseq", "spr": "her2_spr"}
"""The two assays behind the HER2 binders, ranked apart: between them there is more than affinity."""


def find_antibodies() -> Path:
    """Return the folder of the real pairs.

    Raises
    ------
    DataError
        It is not there.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = (Path(named) if named else REPOSITORY.parent / "shared" / "data") / "antibody"
    if not folder.is_dir():
        raise DataError(
            f"The pairs are not on this machine: no folder {folder}. Let {DATA_VARIABLE} name the folder that holds "
            "antibody, or run the other experiments alone: make results ARGS=antibody_toy"
        )
    return folder


def converted(name: str) -> None:
    """Bring a pairs file below the data root up to date."""
    conversion = read_conversion(REPOSITORY / "examples" / "antibody" / f"{name}.yaml")._replace(
        folder=find_antibodies()
    )
    output = roots().data / f"{name}.h5"
    output.parent.mkdir(parents=True, exist_ok=True)
    convert_pairs(conversion, output)


def conversion_commands(*names: str) -> list[str]:
    """Return what a user types to make the pairs files."""
    return [f"tabstar_lit convert antibody examples/antibody/{name}.yaml -o data/{name}.h5" for name in names]


def parent_text() -> str:
    """Return the variable domains of trastuzumab, the parent of the HER2 binders."""
    records = {record.name: record.letters for record in read_fasta(find_antibodies() / "her2_trastuzumab.fasta")}
    (heavy,), (light,) = find_domains([records["trastuzumab_heavy"], records["trastuzumab_light"]])
    return antibody_text(heavy.letters, light.letters)
