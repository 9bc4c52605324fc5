"""``plotting_config`` of fakes: which figures, of which variables, in which bins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from tabstar_lit.config.schema import Section
from tabstar_lit.config.schema.base import AlsoSpelled, Name, NonNegativeNumber, PositiveCount
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.fakes.variables import has_variable

FigureName = Literal["reweighting", "weights", "log_ratio", "subtraction", "factor", "losses", "chi2", "metrics"]
Edges = Annotated[tuple[float, ...], Field(min_length=2)]


class VariablePlot(Section):
    """The bins a variable is drawn in."""

    bins: Annotated[PositiveCount, AlsoSpelled("n_bins", "nbins")] = Field(40, description="Number of bins.")
    low: Annotated[float | None, AlsoSpelled("x_min")] = Field(
        None, description="Lower end, in the file's unit; null: all but the lowest 1 in 2000 events."
    )
    high: Annotated[float | None, AlsoSpelled("x_max")] = Field(
        None, description="Upper end; null: all but the highest 1 in 2000 events."
    )
    log: Annotated[bool, AlsoSpelled("logx")] = Field(False, description="Bins of equal width in the logarithm.")

    def problems(self) -> Iterable[Problem]:
        """Refuse bounds that leave nothing between them, or that have no logarithm."""
        if self.low is not None and self.high is not None and self.high <= self.low:
            yield Problem(("high",), f"high {self.high:g} is not above low {self.low:g}")
        if self.log and self.low is not None and self.low <= 0:
            yield Problem(("low",), f"low {self.low:g} has no logarithm: give one above 0, or log: false")


class FakesPlotting(Section):
    """Figures of the fakes family, and the bins of its metrics."""

    figures: Literal["all"] | tuple[FigureName, ...] = Field("all", description="Figures drawn; `all` draws each.")
    bins: Annotated[PositiveCount, AlsoSpelled("n_bins", "nbins")] = Field(
        50, description="Bins of histograms of weights and log-ratios."
    )
    variables: dict[Name, VariablePlot] | None = Field(
        None,
        description="Variable -> `{bins, low, high, log}`; abs_<name> is an absolute value. Drawn, and compared by "
        "chi2_<variable>. null: every numerical feature and spectator.",
    )
    chi2_bins: PositiveCount = Field(
        20, description="Bins of chi2, each with an equal share of the reference events; fewer for few events."
    )
    yield_tolerance: NonNegativeNumber | None = Field(
        0.2,
        description="A head whose reweighted sample has a total further than this from the reference's, relative to it "
        "and beside two statistical errors, is named in log and report at the end of a stage; null: none is.",
    )
    standard_binning: dict[Name, Edges] = Field(
        default_factory=dict,
        description="Variable -> bin edges of the binned estimate of the fake factor. Empty: ten bins of equal shares "
        "in pt, abs_eta and met, as far as there are such variables.",
    )
    max_events: PositiveCount = Field(
        10_000_000, description="Figures are drawn from at most so many events, evenly spaced; metrics from all."
    )

    def wants(self, name: FigureName) -> bool:
        """Return whether a figure is asked for."""
        return self.figures == "all" or name in self.figures

    def problems(self) -> Iterable[Problem]:
        """Refuse bin edges that do not rise."""
        for name, edges in self.standard_binning.items():
            if any(high <= low for low, high in pairwise(edges)):
                yield Problem(("standard_binning", name), f"bin edges {list(edges)} do not rise")


def check_plotting(plotting: FakesPlotting, variables: Collection[str]) -> list[Problem]:
    """Return the names in ``plotting`` that the data does not have; paths are relative to ``plotting_config``.

    Parameters
    ----------
    plotting : FakesPlotting
        The configuration.
    variables : collection of str
        Numerical features and spectators.
    """
    places = [
        *(("variables", name) for name in plotting.variables or ()),
        *(("standard_binning", name) for name in plotting.standard_binning),
    ]
    return [
        Problem(place, f"'{place[-1]}' is no numerical feature or spectator.", tuple(variables))
        for place in places
        if not has_variable(place[-1], variables)
    ]
