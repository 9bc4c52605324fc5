"""What ``tabstar_lit convert antibody`` reads: where antibodies, antigens and affinities stand in files. Light."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from tabstar_lit.config.nodes import to_tree
from tabstar_lit.config.schema import Section
from tabstar_lit.config.schema.base import Fraction, Name, PositiveNumber
from tabstar_lit.config.tree import ConfigTree, Problem
from tabstar_lit.config.validate import validate
from tabstar_lit.config.yaml_reader import read_yaml

Kind = Literal["pkd", "kd", "log10_kd", "delta_g", "delta_delta_g"]
Unit = Literal["M", "mM", "uM", "nM", "pM", "kcal/mol", "kJ/mol"]
Numbering = Literal["own", "anarci", "abnumber", "anarcism"]

MOLAR: dict[str, float] = {"M": 0.0, "mM": -3.0, "uM": -6.0, "nM": -9.0, "pM": -12.0}
"""log10 of each unit of concentration in mol/l."""

GAS_CONSTANT: dict[str, float] = {"kcal/mol": 1.987204e-3, "kJ/mol": 8.314463e-3}
"""R in each unit of energy, per kelvin (CODATA 2018)."""


class FixedSequence(Section):
    """A sequence that all rows have: a record of a FASTA file."""

    fasta: Name = Field(description="FASTA file, relative to this one.")
    record: Name | None = Field(None, description="Name of the record; null: the only one.")


Place = Name | FixedSequence


class NonBinders(Section):
    """Rows that bind too weakly to be measured."""

    column: Name = Field(description="Column that tells.")
    value: str = Field(description="Its text for rows that do not bind.")
    pkd_below: float = Field(description="pKd below which the assay sees nothing: the affinity is at most this.")


class Affinity(Section):
    """Where affinities stand and what they mean."""

    column: Name = Field("pKd", description="Column of the numbers; '>' and '<' before one make it a bound.")
    kind: Kind = Field(
        "pkd",
        description="pkd: −log10 of K_D in mol/l; kd: K_D; log10_kd: its logarithm; delta_g: free energy of binding; "
        "delta_delta_g: that of a mutant minus that of its reference.",
    )
    unit: Unit | None = Field(None, description="M, mM, uM, nM, pM of K_D; kcal/mol, kJ/mol of energies.")
    temperature: PositiveNumber = Field(298.15, description="Of energies, in kelvin.")
    reference: float | Name | None = Field(
        None, description="With delta_delta_g: pKd of the reference, a number or the column that holds it."
    )
    non_binders: NonBinders | None = Field(None, description="Rows without a number since they do not bind.")

    def problems(self) -> Iterable[Problem]:
        """Ask for what the kind needs."""
        units = {"kd": MOLAR, "log10_kd": MOLAR, "delta_g": GAS_CONSTANT, "delta_delta_g": GAS_CONSTANT}.get(self.kind)
        if units is not None and self.unit not in units:
            yield Problem(("unit",), f"kind: {self.kind} needs a unit: {', '.join(units)}")
        if units is None and self.unit is not None:
            yield Problem(("unit",), "pkd has no unit: leave it out, or say another kind")
        if (self.kind == "delta_delta_g") != (self.reference is not None):
            yield Problem(("reference",), "delta_delta_g, and it alone, needs reference: the pKd it is a difference to")


class PairSource(Section):
    """One file of pairs, a row each."""

    file: Name = Field(description="Table or FASTA file, relative to this one.")
    format: Literal["csv", "tsv", "json", "jsonl", "fasta", "parquet"] | None = Field(
        None, description="What it is; null: by its ending, which .gz may follow."
    )
    antibody: Annotated[tuple[Place, ...], Field(min_length=1)] = Field(
        ("antibody_heavy", "antibody_light"),
        description="Columns of the antibody's chains in any order, since they are recognised; or fixed sequences.",
    )
    antigen: tuple[Place, ...] = Field(
        ("antigen_sequence",), description="Columns of the antigen's chains, or fixed ones; none: it is not known."
    )
    antigen_name: Name | None = Field(None, description="Column of the antigen's name.")
    affinity: Affinity | None = Field(None, description="Where affinities stand; null: none are known.")
    grafts: dict[Name, Name] = Field(
        default_factory=dict,
        description="Column -> residues of a fixed antibody sequence that the column's residues take the place of.",
    )
    where: dict[Name, str] = Field(default_factory=dict, description="Column -> text: other rows are left out.")


class Clustering(Section):
    """Which antigens resemble each other: pairs of one cluster are never separated by a split."""

    k: Annotated[int, Field(ge=2, le=8)] = Field(4, description="Length of the k-mers that are compared.")
    jaccard: Fraction = Field(0.35, description="Least share of common k-mers among all of two antigens.")
    containment: Fraction = Field(0.7, description="Or least share among those of the shorter one.")
    join_antibodies: bool = Field(True, description="Join antigens, too, that one and the same antibody binds.")


class PairConversion(Section):
    """A conversion to a pairs file."""

    sources: Annotated[tuple[PairSource, ...], Field(min_length=1)] = Field(description="Files of pairs.")
    numbering: Numbering = Field(
        "own", description="Which program numbers residues: own, or one of anarci, abnumber, anarcism if installed."
    )
    domains: Literal["variable", "whole"] = Field(
        "variable", description="variable: antibodies are cut to their variable domains; whole: they stay as they are."
    )
    bad_rows: Literal["skip", "refuse"] = Field(
        "skip", description="Rows that cannot be used: left out and counted, or the conversion ends at the first one."
    )
    clusters: Clustering = Field(default_factory=Clustering, description="Clusters of antigens.")


class Conversion(NamedTuple):
    """A configuration, the places of its keys, and the folder its files are relative to."""

    config: PairConversion
    tree: ConfigTree
    folder: Path


def read_conversion(path: Path) -> Conversion:
    """Read the YAML file of a conversion.

    Raises
    ------
    ConfigError
        With every mistake at once, each at its line and column; or the file cannot be read.
    """
    tree = to_tree(read_yaml(path))
    return Conversion(validate(PairConversion, tree), tree, path.parent)
