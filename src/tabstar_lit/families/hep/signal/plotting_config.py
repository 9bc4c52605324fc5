"""``plotting_config`` of a signal classifier: which figures, and what the physics metrics are about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from tabstar_lit.config.schema import Section
from tabstar_lit.config.schema.base import AlsoSpelled, Name, NonNegativeNumber, PositiveCount, PositiveNumber
from tabstar_lit.config.tree import Path_, Problem

FigureName = Literal[
    "roc",
    "rejection",
    "precision_recall",
    "confusion",
    "scores",
    "logits",
    "one_vs_rest",
    "discriminants",
    "significance",
    "calibration",
    "sculpting",
    "overtraining",
    "importance",
    "losses",
    "metrics",
]
Efficiency = Annotated[float, Field(gt=0, lt=1)]
ClassNames = Annotated[tuple[Name, ...], Field(min_length=1)]


class SignificanceConfig(Section):
    """Classes that a significance counts as signal and as background; the others are left out."""

    signal: ClassNames = Field(description="Names of classes.")
    background: ClassNames = Field(description="Names of classes.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a class that would count twice."""
        for index, name in enumerate(self.background):
            if name in self.signal:
                yield Problem(("background", index), f"class '{name}' is in signal too; a class is one or the other")
        for key, names in (("signal", self.signal), ("background", self.background)):
            yield from _listed_twice((key,), names)


class SignalPlotting(Section):
    """Figures and physics metrics of a signal classifier."""

    figures: Literal["all"] | tuple[FigureName, ...] = Field("all", description="Figures drawn; `all` draws each.")
    bins: Annotated[PositiveCount, AlsoSpelled("n_bins", "nbins")] = Field(50, description="Bins of histograms.")
    logit_range: tuple[float, float] | None = Field(
        None, description="Range of logit histograms; null: where all but 1 in 1000 events lie."
    )
    efficiencies: tuple[Efficiency, ...] = Field(
        (0.3, 0.5, 0.7), description="Signal efficiencies whose background rejection is logged as rejection_<percent>."
    )
    significance: dict[Name, SignificanceConfig] = Field(
        default_factory=dict,
        description="Name -> `{signal, background}`, lists of classes; logged as significance_max_<name> and "
        "significance_integrated_<name> beside the one of the data set's own signal.",
    )
    background_uncertainty: NonNegativeNumber = Field(
        0.0, description="Relative uncertainty of the background yield in significances."
    )
    min_background_events: PositiveCount = Field(
        10,
        description="Cuts that fewer background events pass count as significance 0; bins grow until they hold as "
        "many.",
    )
    yield_scale: PositiveNumber = Field(
        1.0, description="Factor on event weights in significances: 10 when validation holds a tenth of all events."
    )
    groups: Annotated[dict[Name, ClassNames], AlsoSpelled("custom_groups", "scores")] = Field(
        default_factory=dict, description="Group -> classes; draws confusion and one_vs_rest of merged classes too."
    )
    max_events: PositiveCount = Field(
        10_000_000, description="Figures are drawn from at most so many events, evenly spaced; metrics from all."
    )
    embedding: Literal["pca", "tsne"] | None = Field(
        None,
        description="With more than two classes, draw the logits of up to 2000 events in a plane, by PCA or "
        "t-SNE; null does not.",
    )
    sculpting: tuple[Name, ...] | None = Field(
        None,
        description="Variables whose background is drawn in slices of the score; null: those of DisCo, or else "
        "all spectators.",
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse an empty range, and classes that would be in two groups."""
        if self.logit_range is not None and not self.logit_range[0] < self.logit_range[1]:
            low, high = self.logit_range
            yield Problem(
                ("logit_range",), f"[{low:g}, {high:g}] is no range: the first number must be the smaller one"
            )
        owner: dict[str, str] = {}
        for group, classes in self.groups.items():
            yield from _listed_twice(("groups", group), classes)
            for index, name in enumerate(classes):
                if owner.setdefault(name, group) != group:
                    text = f"class '{name}' is in the group '{owner[name]}' already; a class can be in one group only"
                    yield Problem(("groups", group, index), text)


def _listed_twice(place: Path_, names: Sequence[str]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem((*place, index), f"class '{name}' is listed twice")


def check_plotting(plotting: SignalPlotting, *, classes: Collection[str], spectators: Collection[str]) -> list[Problem]:
    """Return the names in ``plotting`` that the data does not have; paths are relative to ``plotting_config``.

    Parameters
    ----------
    plotting : SignalPlotting
        The configuration.
    classes : collection of str
        Class names of the data set.
    spectators : collection of str
        Variables that are carried along.
    """
    problems = [
        Problem((*place, index), f"no class is called '{name}'.", tuple(classes))
        for place, names in _class_lists(plotting)
        for index, name in enumerate(names)
        if name not in classes
    ]
    problems += [
        Problem(("sculpting", index), f"'{name}' is not among dataset_config.spectators.", tuple(spectators))
        for index, name in enumerate(plotting.sculpting or ())
        if name not in spectators
    ]
    return problems


def _class_lists(plotting: SignalPlotting) -> Iterator[tuple[Path_, tuple[str, ...]]]:
    for name, group in plotting.significance.items():
        yield ("significance", name, "signal"), group.signal
        yield ("significance", name, "background"), group.background
    for name, classes in plotting.groups.items():
        yield ("groups", name), classes
