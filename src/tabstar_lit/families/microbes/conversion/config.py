"""What ``tabstar_lit convert microbiome`` reads: the files of a study and what becomes of them. Light to import."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from tabstar_lit.config.nodes import to_tree
from tabstar_lit.config.schema.base import Count, Fraction, Name, PositiveCount, Section
from tabstar_lit.config.tree import ConfigTree, Problem, raise_problems
from tabstar_lit.config.validate import validate
from tabstar_lit.config.yaml_reader import read_yaml


def _listed(value: Any) -> Any:
    """Let a single value stand for a list of one, and null for none."""
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)


def _file(value: Any) -> Any:
    """Let a name stand for ``{file: name}``."""
    return {"file": value} if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...] | None)]


class Rarefaction(Section):
    """Equal numbers of reads in all samples, drawn without replacement."""

    depth: PositiveCount = Field(description="Reads that are drawn of each sample; those with fewer are left out.")
    seed: Count = Field(0, description="Of the draws; a sample's do not depend on other samples.")


class UnifracSpec(Section):
    """Distances that are computed from table and tree."""

    metric: Literal["unweighted", "weighted", "weighted_normalized", "generalized"] = Field(
        "unweighted", description="Which UniFrac."
    )
    alpha: Fraction = Field(
        0.5, description="generalized: 0 weighs rare and abundant lineages alike, 1 by their shares."
    )


class DistanceFile(Section):
    """Distances that others computed."""

    file: Name = Field(description=".npy, .h5 of ssu, .tsv or .qza, relative to this configuration.")
    ids: Name | None = Field(None, description="Text file with the id of each row of an .npy file, one a line.")


class TaxonomySpec(Section):
    """Taxa of the features."""

    file: Name = Field(
        description="TSV with columns `Feature ID` and `Taxon`, or .qza, relative to this configuration."
    )
    level: PositiveCount = Field(
        2, description="Level that counts: 2 is the phylum in `d__Bacteria; p__Firmicutes; ...`."
    )


class StudyConfig(Section):
    """The whole configuration of a conversion."""

    name: Name = Field(description="Name of the study.")
    table: Name = Field(description="Count table: .biom (HDF5), .tsv, .csv or .qza, relative to this configuration.")
    tree: Name | None = Field(None, description="Phylogenetic tree: Newick or .qza; null: none, and no UniFrac.")
    sequences: Name | None = Field(
        None, description="FASTA or .qza with the sequence of each feature; null: the ids are the sequences."
    )
    metadata: Name | None = Field(None, description="TSV, .csv or .qza with a row for each sample; null: none.")
    taxonomy: Annotated[
        TaxonomySpec | None, BeforeValidator(_file, json_schema_input_type=Name | TaxonomySpec | None)
    ] = Field(None, description="Taxa of the features.")
    distances: Annotated[
        DistanceFile | None, BeforeValidator(_file, json_schema_input_type=Name | DistanceFile | None)
    ] = Field(None, description="Distances that others computed, instead of `unifrac`.")
    unifrac: UnifracSpec = Field(default_factory=UnifracSpec, description="Distances that are computed from the tree.")
    columns: dict[Name, Literal["class", "number"]] = Field(
        default={}, description="What columns of the metadata hold; of others it is guessed, as QIIME 2 does."
    )
    only_columns: bool = Field(False, description="Keep the named columns alone, and the group.")
    group: Names = Field(
        (),
        description="Column, or several together, whose samples belong together (a subject; a village and its house), "
        "which no split may separate.",
    )
    missing: Names = Field(
        (), description="Further marks of missing values, beside those of Qiita, QIIME 2 and the INSDC."
    )
    without_tip: Literal["drop", "keep", "refuse"] = Field(
        "drop",
        description="Features that are no tips of the tree. drop: leave them out; keep: read them, but not in UniFrac; "
        "refuse: stop.",
    )
    other_letters: Literal["refuse", "n"] = Field(
        "refuse", description="IUPAC letters for one of several bases: stop, or read them as N."
    )
    rarefy: Annotated[
        Rarefaction | None,
        BeforeValidator(
            lambda own: {"depth": own} if type(own) is int else own,
            json_schema_input_type=PositiveCount | Rarefaction | None,
        ),
    ] = Field(None, description="Equal numbers of reads; null: all reads of all samples.")
    min_samples: PositiveCount = Field(1, description="Leave out features that fewer samples have, after rarefaction.")
    min_reads: PositiveCount = Field(1, description="Leave out samples with fewer reads, before rarefaction.")

    def files(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Yield every file with the place of its name."""
        for key in ("table", "tree", "sequences", "metadata"):
            if (own := getattr(self, key)) is not None:
                yield (key,), own
        if self.taxonomy is not None:
            yield ("taxonomy", "file"), self.taxonomy.file
        if self.distances is not None:
            yield ("distances", "file"), self.distances.file
            if self.distances.ids is not None:
                yield ("distances", "ids"), self.distances.ids

    def problems(self) -> Iterable[Problem]:
        """Refuse what needs a file that is not named."""
        if self.metadata is None and (self.group or self.columns):
            yield Problem(("metadata",), "group and columns are of the metadata: name their file under 'metadata'")
        if self.tree is None and self.without_tip != "drop":
            yield Problem(("without_tip",), "there is no tree that could lack a tip: name one, or leave this out")


class Conversion(NamedTuple):
    """A configuration, where its keys stand, and the folder that its paths are relative to."""

    config: StudyConfig
    tree: ConfigTree
    folder: Path

    def path(self, name: str) -> Path:
        """Return the file of a name."""
        return self.folder / Path(name).expanduser()


def read_conversion(path: Path) -> Conversion:
    """Read the configuration of a conversion.

    Raises
    ------
    ConfigError
        With every mistake at once, each at its line and column; or the file cannot be read.
    """
    tree = to_tree(read_yaml(path))
    own = Conversion(validate(StudyConfig, tree), tree, path.parent)
    missing = [(place, own.path(name)) for place, name in own.config.files() if not own.path(name).is_file()]
    raise_problems(tree, [Problem(place, f"no file '{file}'", _beside(file)) for place, file in missing])
    return own


def _beside(file: Path) -> list[str]:
    return sorted(found.name for found in file.parent.glob("*") if found.is_file())
