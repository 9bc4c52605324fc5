"""Files that antibodies are asked for with, and written to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.pairs.fasta import fasta_lines, read_fasta
from tabstar_lit.families.antibody.pairs.letters import Letters, cleaned
from tabstar_lit.families.antibody.pairs.tokens import antibody_text

log = logging.getLogger(__name__)


def read_antigens(path: Path) -> dict[str, str]:
    """Read antigens by name; letters beyond the twenty are counted in a warning.

    Raises
    ------
    DataError
        Naming file and line.
    """
    found = dict(_cleaned(path, chains=True))
    for name, letters in found.items():
        if letters.unknown:
            log.warning("%s: '%s' has %d letters beyond the twenty, read as unknown.", path, name, letters.unknown)
    return {name: letters.text for name, letters in found.items()}


def read_template(path: Path) -> str:
    """Read an antibody whose X are filled in: the heavy chain and, where there is one, the light chain after it.

    Raises
    ------
    DataError
        The file holds another number of chains, or no sequence.
    """
    chains = [letters.text for _, letters in _cleaned(path, chains=False)]
    if len(chains) > 2:
        raise DataError(f"{path}: holds {len(chains)} chains; a template has a heavy one and perhaps a light one.")
    return antibody_text(*(chains if len(chains) == 2 else (chains[0], "")))


def _cleaned(path: Path, *, chains: bool) -> Iterator[tuple[str, Letters]]:
    for record in read_fasta(path):
        try:
            yield record.name, cleaned(record.letters, chains=chains)
        except ValueError as error:
            raise DataError(f"{path}:{record.line}: '{record.name}': {error}. Correct it, or take it out.") from error


def write_files(frame: pd.DataFrame, output: Path) -> tuple[Path, Path]:
    """Write antibodies as Parquet, and beside it their chains as FASTA, ``<name>_heavy`` and ``<name>_light``.

    Returns
    -------
    tuple of Path
        Both files.

    Raises
    ------
    ConfigError
        The name given for the table is that of the other file.
    """
    fasta = output.with_suffix(".fasta")
    if fasta == output:
        raise ConfigError(f"-o {output}: name the Parquet file; the FASTA file is written beside it.")
    with whole_file(output) as part:
        frame.to_parquet(part, index=False)
    with whole_file(fasta) as part, part.open("w", encoding="utf-8") as lines:
        lines.writelines(fasta_lines(_named_chains(frame)))
    return output, fasta


def _named_chains(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for name, heavy, light in zip(frame["name"], frame["heavy"], frame["light"], strict=True):
        for kind, letters in (("heavy", heavy), ("light", light)):
            if letters:
                yield f"{name}_{kind}", letters
