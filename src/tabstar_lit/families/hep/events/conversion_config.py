"""What ``tabstar_lit convert events`` reads: where events come from and what becomes of them. Light to import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field

from tabstar_lit.config.nodes import to_tree
from tabstar_lit.config.schema.base import Name, PositiveCount, PositiveNumber, Section
from tabstar_lit.config.tree import ConfigTree, Path_, Problem
from tabstar_lit.config.validate import validate
from tabstar_lit.config.yaml_reader import read_yaml
from tabstar_lit.families.hep.events.expressions import MISSING, Expression, ExpressionError

WILDCARDS = "*?["
TRIMMED = ("pt", "mass", "n")
"""What is told of a trimmed jet."""


def _listed(value: Any) -> Any:
    """Let a single value stand for a list of one."""
    return value if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)


def _texts(value: Any) -> Any:
    """Let whole numbers stand for themselves as text."""
    listed = _listed(value)
    return listed if listed is None else tuple(str(entry) if type(entry) is int else entry for entry in listed)


def _spelled_out(value: Any) -> Any:
    """Let ``pt: lepton_pT * 100`` stand for ``pt: {from: lepton_pT * 100}``, and ``pt:`` for the column itself."""
    if isinstance(value, dict):
        return {name: _column(entry) for name, entry in value.items()}
    return value


def _column(entry: Any) -> Any:
    if entry is None:
        return {}
    return {"from": entry} if isinstance(entry, str) else entry


Texts = Annotated[tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=Name | tuple[Name, ...])]
Code = float | str
Codes = Annotated[tuple[Code, ...], BeforeValidator(_listed, json_schema_input_type=Code | tuple[Code, ...])]


class ColumnSpec(Section):
    """One column of the event file."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Name | None = Field(
        default=None, alias="from", description="Expression on the source's columns; null: the column of this name."
    )
    kind: Literal["numerical", "categorical"] = Field(default="numerical", description="Numbers or categories.")
    unit: str | None = Field(default=None, description="Unit after scaling, such as GeV.")
    scale: float = Field(default=1.0, allow_inf_nan=False, description="Factor the values are multiplied with.")
    type: Literal["float", "int", "bool"] = Field(
        default="float",
        description="What the values must be before scaling: int refuses fractions, bool all but 0 and 1.",
    )
    missing_code: Codes = Field(
        default=(), description="Value or values of the source's columns that mean missing, such as -999."
    )
    nullable: bool = Field(default=False, description="Empty cells and NaN are missing values, not mistakes.")
    categories: (
        Annotated[tuple[Name, ...], BeforeValidator(_texts, json_schema_input_type=Code | tuple[Code, ...])] | None
    ) = Field(default=None, description="All categories in the order of their codes; null: those found, sorted.")


Columns = Annotated[
    dict[Name, ColumnSpec],
    BeforeValidator(_spelled_out, json_schema_input_type=dict[Name, Name | ColumnSpec | None]),
]


class ObjectSpec(Section):
    """One type of objects: several columns with one value an object."""

    columns: Columns = Field(description="By name.")
    select: Name | None = Field(default=None, description="Condition an object must meet.")
    order_by: Name | None = Field(default=None, description="Expression; objects are sorted by falling value.")
    max_length: PositiveCount | None = Field(default=None, description="Keep the first so many objects of an event.")


class NsubjettinessSpec(Section):
    """Columns that tell how far a jet is from having 1, 2, ... prongs (arXiv 1011.2268)."""

    axes: PositiveCount = Field(description="The most prongs; N axes make N columns, numbered from 1.")
    power: PositiveNumber = Field(default=1.0, description="Power of the distance to the nearest axis.")


class TrimmingSpec(Section):
    """What is left of a jet without its soft subjets (arXiv 0912.1342)."""

    radius: PositiveNumber = Field(description="Radius of its kT subjets.")
    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Subjets with less than this share of the jet's pt are taken away."
    )


class SubstructureSpec(Section):
    """What FastJet computes from the constituents of the one jet of each event."""

    pt: Name = Field(description="Transverse momenta of the constituents: an expression with one value an object.")
    eta: Name = Field(description="Their pseudorapidities.")
    phi: Name = Field(description="Their azimuths in radians.")
    energy: Name | None = Field(default=None, description="Their energies; null: they have no mass.")
    radius: PositiveNumber = Field(description="Radius of the jet.")
    nsubjettiness: dict[Name, NsubjettinessSpec] = Field(
        default={}, description="Name -> N-subjettiness; name_1, name_2, ... can be used like columns of the source."
    )
    trimming: dict[Name, TrimmingSpec] = Field(
        default={}, description="Name -> trimming; so can name_pt, name_mass and name_n, the number of subjets left."
    )

    def particles(self) -> dict[str, str]:
        """Return the expressions of the constituents' four-momenta by key."""
        keys = ("pt", "eta", "phi", "energy")
        return {key: text for key in keys if (text := getattr(self, key)) is not None}

    def names(self) -> tuple[str, ...]:
        """Return the names of all columns it gives."""
        numbered = (f"{name}_{n}" for name, spec in self.nsubjettiness.items() for n in range(1, spec.axes + 1))
        return (*numbered, *(f"{name}_{what}" for name in self.trimming for what in TRIMMED))

    def problems(self) -> Iterable[Problem]:
        """Refuse a section that asks for nothing."""
        if not self.nsubjettiness and not self.trimming:
            yield Problem((), "substructure gives no columns: add nsubjettiness or trimming.")


class SourceSpec(Section):
    """Files with events of one kind."""

    file: Texts = Field(description="File, or pattern such as 'run*.root', relative to this configuration; or a list.")
    format: Literal["csv", "parquet", "root", "hdf5"] | None = Field(
        default=None, description="Format; null: by the end of the name."
    )
    tree: Name | None = Field(default=None, description="Tree of a ROOT file; null: the only one.")
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="What separates the cells of a CSV file; null: a comma, in .tsv files a tab."
    )
    label: Name | dict[Name, Name] | None = Field(
        default=None, description="Class of all its events, or a condition for each class; null: no labels at all."
    )
    label_codes: Name | None = Field(
        default=None,
        description="Instead of a label, the column of numbers that the file itself names under `labels` in its "
        "`metadata`, as piles of SeeSawML do: events.label_type.",
    )
    tag: dict[Name, int | float | str] = Field(
        default={}, description="Name -> value that all its events share: {sample: 1} is a column 'sample' of ones."
    )
    weight: Name | None = Field(default=None, description="Event weight, instead of the common one.")
    cuts: Texts = Field(default=(), description="Conditions its events must meet, beside the common ones.")

    @property
    def is_labelled(self) -> bool:
        """Whether its events have classes."""
        return self.label is not None or self.label_codes is not None

    def problems(self) -> Iterable[Problem]:
        """Refuse two ways of labelling."""
        if self.label is not None and self.label_codes is not None:
            yield Problem(("label_codes",), "label and label_codes both give the classes: keep one of them")


class ConversionConfig(Section):
    """The whole configuration of a conversion."""

    sources: tuple[SourceSpec, ...] = Field(min_length=1, description="Where events come from.")
    define: dict[Name, Name] = Field(
        default={}, description="Name -> expression; the name stands for it in all below, later definitions included."
    )
    substructure: SubstructureSpec | None = Field(
        default=None, description="More columns of each event, from the constituents of its jet."
    )
    columns: Columns = Field(
        default={}, description="Columns with one value an event; names may be patterns such as 'DER_*'."
    )
    objects: dict[Name, ObjectSpec] = Field(default={}, description="Types of objects by name.")
    weight: Name | None = Field(default=None, description="Event weight: an expression; null: none.")
    variations: dict[Name, Name] = Field(
        default={},
        description="Name -> expression: further weights, such as systematic variations, one of which "
        "dataset_config.weight chooses. They change neither ids nor splits.",
    )
    event_id: Texts = Field(
        default=(),
        description="Column that tells events apart, or several that do together; none: contents are hashed.",
    )
    group_id: Texts = Field(default=(), description="Column, or several, whose equal values no split may separate.")
    cuts: Texts = Field(default=(), description="Conditions all events must meet.")
    classes: tuple[Name, ...] | None = Field(
        default=None, description="Order of the classes; null: as the labels are first named."
    )
    chunk_rows: PositiveCount = Field(default=65_536, description="Events held in memory at a time.")

    @cached_property
    def definitions(self) -> dict[str, Expression]:
        """Return all definitions, each reading those before it."""
        definitions: dict[str, Expression] = {}
        for name, text in self.define.items():
            definitions[name] = Expression(text, definitions.copy())
        return definitions

    def expression(self, text: str) -> Expression:
        """Parse an expression that may name definitions."""
        return Expression(text, self.definitions)

    def derived(self) -> tuple[str, ...]:
        """Return the columns that are computed from those of the source."""
        return self.substructure.names() if self.substructure else ()

    def class_names(self) -> tuple[str, ...]:
        """Return all classes in order."""
        named = dict.fromkeys(
            name
            for source in self.sources
            for name in ([source.label] if isinstance(source.label, str) else source.label or ())
        )
        return self.classes or tuple(named)

    def expressions(self, index: int) -> Iterator[tuple[Path_, str]]:
        """Yield all that is computed from the columns of source ``index``, each with its place; patterns left out."""
        source, place = self.sources[index], ("sources", index)
        yield from ((("define", name), text) for name, text in self.define.items())
        if self.substructure:
            yield from ((("substructure", key), text) for key, text in self.substructure.particles().items())
        if isinstance(source.label, dict):
            yield from (((*place, "label", name), text) for name, text in source.label.items())
        yield from (((*place, "cuts", i), text) for i, text in enumerate(source.cuts))
        if source.weight or self.weight:
            yield (*place, "weight") if source.weight else ("weight",), source.weight or self.weight or ""
        yield from ((("variations", name), text) for name, text in self.variations.items())
        for key in ("cuts", "event_id", "group_id"):
            yield from (((key, i), text) for i, text in enumerate(getattr(self, key)))
        yield from _of_columns(("columns",), self.columns)
        for name, spec in self.objects.items():
            yield from _of_columns(("objects", name, "columns"), spec.columns)
            for key in ("select", "order_by"):
                if text := getattr(spec, key):
                    yield ("objects", name, key), text

    def problems(self) -> Iterable[Problem]:
        """Find expressions that cannot be read and keys that do not fit together."""
        checked = {entry for index in range(len(self.sources)) for entry in self.expressions(index)}
        unreadable = [Problem(path, mistake) for path, text in checked if (mistake := _mistake(text))]
        yield from unreadable or self._definition_problems()
        if not self.columns and not self.objects:
            yield Problem((), "neither columns nor objects are given: there is nothing to convert")
        for path, spec in self.specs():
            yield from _of_spec(path, spec)
        unlabelled = [index for index, source in enumerate(self.sources) if not source.is_labelled]
        if unlabelled and len(unlabelled) < len(self.sources):
            yield Problem(("sources", unlabelled[0]), "this source has no label but others have: label all or none")
        yield from self._class_problems()

    def specs(self) -> Iterator[tuple[Path_, ColumnSpec]]:
        """Yield all columns, of events and objects, each with its place."""
        yield from ((("columns", name), spec) for name, spec in self.columns.items())
        for objects, entry in self.objects.items():
            for name, spec in entry.columns.items():
                yield ("objects", objects, "columns", name), spec

    def _definition_problems(self) -> Iterator[Problem]:
        """Find what names itself, a definition further down, or a column that is computed from it."""
        below, derived = set(self.define), self.derived()
        for name, text in self.define.items():
            if name in derived:
                yield Problem(("define", name), f"'{name}' is a column of substructure already; choose another name.")
            if name == MISSING:
                yield Problem(("define", name), f"'{name}' is the word for no value; choose another name.")
            for other in {column.name for column in Expression(text).names} & below:
                yield Problem(("define", name), f"'{other}' is not defined above this line; move its definition up.")
            below.remove(name)
        for key, text in self.substructure.particles().items() if self.substructure else ():
            for column in self.expression(text).names:
                if column.name in derived:
                    yield Problem(("substructure", key), f"'{text}' needs '{column.name}', which is computed from it.")

    def _class_problems(self) -> Iterator[Problem]:
        names = self.classes or ()
        for i, name in enumerate(names):
            if name in names[:i]:
                yield Problem(("classes", i), f"the class '{name}' stands above already")
        for index, source in enumerate(self.sources if names else ()):
            for name in [source.label] if isinstance(source.label, str) else source.label or ():
                if name not in names:
                    yield Problem(("sources", index, "label"), f"the class '{name}' is not among classes.", names)


class Conversion(NamedTuple):
    """A configuration, the places of its keys, and the folder its files are relative to."""

    config: ConversionConfig
    tree: ConfigTree
    folder: Path


def read_conversion(path: Path) -> Conversion:
    """Read the configuration of a conversion.

    Parameters
    ----------
    path : Path
        YAML file.

    Returns
    -------
    Conversion
        The configuration and where its keys stand.

    Raises
    ------
    ConfigError
        With every mistake at once, each at its line and column; or the file cannot be read.
    """
    tree = to_tree(read_yaml(path))
    return Conversion(validate(ConversionConfig, tree), tree, path.parent)


def _mistake(text: str) -> str:
    """Return what is wrong with an expression, or nothing."""
    try:
        Expression(text)
    except ExpressionError as error:
        return str(error)
    return ""


def is_pattern(name: str) -> bool:
    """Tell whether the name of a column stands for several."""
    return any(sign in name for sign in WILDCARDS)


def source_of(name: str, spec: ColumnSpec) -> str:
    """Return the expression a column is computed from: its own name, quoted, unless it says another."""
    return spec.from_ or f"`{name}`"


def _of_columns(path: Path_, columns: dict[str, ColumnSpec]) -> Iterator[tuple[Path_, str]]:
    for name, spec in columns.items():
        if not is_pattern(name):
            yield (*path, name, *(("from",) if spec.from_ else ())), source_of(name, spec)


def _of_spec(path: Path_, spec: ColumnSpec) -> Iterator[Problem]:
    name = str(path[-1])
    if is_pattern(name) and (spec.from_ or path[0] == "objects"):
        yield Problem(path, f"'{name}' stands for several columns of events; it cannot have 'from' or be of objects")
    if name == "offsets" and path[0] == "objects":
        yield Problem(path, "a column of objects cannot be called 'offsets'")
    if spec.categories is not None and spec.kind != "categorical":
        yield Problem((*path, "categories"), "only a categorical column has categories; add 'kind: categorical'")
    if spec.kind == "categorical" and (spec.scale != 1 or spec.type != "float"):
        yield Problem(path, "a categorical column has neither scale nor type")
