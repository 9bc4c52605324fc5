"""Metrics and figures of a stage of fakes: how well the reweighted sample looks like the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabstar_lit.config.tree import dotted, suggestion
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.config import Role
from tabstar_lit.families.hep.fakes.ensemble import PLAIN, Ensemble
from tabstar_lit.families.hep.fakes.plotting_config import FakesPlotting, FigureName, check_plotting
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm
from tabstar_lit.families.hep.fakes.tracking.figures import draw_all
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.fakes.tracking.scores import metric_names, score, strayed_heads
from tabstar_lit.families.hep.plotting import name_units
from tabstar_lit.plots.curves import epoch_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = ("ess", "logerror", "coverage1", "coverage2")


class FakesTracker(Tracker):
    """Track chi2 of reweighted against reference, effective sample size and, for toys, the distance to the truth.

    Validation steps return ``log_ratios`` ``[B, C]``, ``targets`` ``[B]`` (1 for the reference), signed ``weights``
    ``[B]`` (in the ratio stage times the subtraction factor) and ``variables`` ``[B, S]`` in the file's units.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    role : str
        The stage: numerator, denominator or ratio.
    variables : sequence of str
        Names of the columns of ``variables``.
    plotting : FakesPlotting
        Figures and bins.
    form : ClosedForm or None
        The truth, where it is known: that of a toy.
    pt_variable : str
        The transverse momentum, one of ``variables``.
    units : mapping of str to str
        Units of columns, for the axes of figures.
    ensemble : Ensemble
        How heads are taken together.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.

    Raises
    ------
    ConfigError
        ``plotting`` names a variable that there is not.
    """

    rows = "events"

    def __init__(
        self,
        figures: Path,
        *,
        role: Role,
        variables: Sequence[str],
        plotting: FakesPlotting | None = None,
        form: ClosedForm | None = None,
        pt_variable: str = "pt",
        units: Mapping[str, str] | None = None,
        ensemble: Ensemble = PLAIN,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.role = role
        self.variables = tuple(variables)
        self.units = dict(units or {})
        self.plotting = plotting or FakesPlotting()
        self.form, self.ensemble = form, ensemble
        self.pt_variable = pt_variable
        self._strayed: tuple[str, ...] = ()
        self._check_names()
        self.compared = self.variables if self.plotting.variables is None else tuple(self.plotting.variables)

    def keeps(self) -> tuple[str, ...]:
        """Return the columns of all scores and figures."""
        return ("log_ratios", "targets", "weights", "variables", "std")

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return every score by name."""
        events = self._events(collected)
        if events is None:
            return {}
        bins = self.plotting.chi2_bins
        self._strayed = strayed_heads(events, self.plotting.yield_tolerance)
        return score(events, self.compared, bins=bins, form=self.form, pt_variable=self.pt_variable)

    def notes(self) -> tuple[str, ...]:
        """Name the heads whose total leaves the reference: where all do, the ratio is not learned."""
        return self._strayed

    def metric_names(self) -> tuple[str, ...]:
        """Return the name of every score."""
        return metric_names(self.compared, known=self.form is not None)

    def better_when_larger(self) -> tuple[str, ...]:
        """Return the effective sample size; of the others some should be small and some near a value."""
        return ("ess",)

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the figures of this epoch."""
        events = self._events(collected)
        if events is not None:
            for name, figure in draw_all(events, self.plotting, self.compared, self.form, self.pt_variable):
                yield name, name_units(figure, self.units)

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield losses and scores by epoch."""
        chi2 = ["chi2", *(f"chi2_{name}" for name in self.compared if len(self.compared) > 1)]
        summaries: tuple[tuple[FigureName, list[str], str, str], ...] = (
            ("losses", ["train_loss", "val_loss"], "Loss of the {}", "risk, mean over events"),
            ("chi2", [f"val_{name}" for name in chi2], "χ² of the {}, reweighted against reference", "χ² / bin"),
            ("metrics", [f"val_{name}" for name in SUMMARY], "Scores of the {}", "share (logerror: |Δ log ratio|)"),
        )
        for name, values, title, ylabel in summaries:
            if not self.plotting.wants(name):
                continue
            log, title = name == "chi2", title.format(self.role)
            figure = epoch_figure(self.history, values, title=title, ylabel=ylabel, log=log)
            if figure is not None:
                yield name, figure

    def _check_names(self) -> None:
        """Refuse names that would only be missed in the first validation."""
        messages = [
            f"plotting_config.{dotted(p.path)}: {p.message}{suggestion(str(p.path[-1]), p.allowed)}"
            for p in check_plotting(self.plotting, self.variables)
        ]
        if self.pt_variable not in self.variables:
            messages.append(
                f"dataset_config.pt_variable: no numerical feature or spectator is called '{self.pt_variable}'."
                f"{suggestion(self.pt_variable, self.variables)}"
            )
        if messages:
            raise ConfigError("\n".join(messages))

    def _events(self, collected: Mapping[str, Columns]) -> Reweighted | None:
        """Return the events of the stage, if any."""
        rows = collected.get(self.role)
        if rows is None:
            return None
        return Reweighted.of(rows, names=self.variables, role=self.role, ensemble=self.ensemble)
