"""What a study leaves: its best values, the command that trains with them, a table of its trials, and a figure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from tabstar_lit.config import ConfigTree, to_yaml
from tabstar_lit.config.scalars import parse_scalar
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.runs.files import format_value
from tabstar_lit.engine.runs.records import REPORT_FILE
from tabstar_lit.files import write_text
from tabstar_lit.plots.style import PALETTE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST_FILE, FIGURE_FILE = "best.yaml", "history.png"
PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "interrupted"}


@dataclass(frozen=True)
class Row:
    """One trial: ``state`` in Optuna's word, ``values`` by dotted key, ``value`` where it has one."""

    number: int
    state: str
    values: Mapping[str, Any]
    value: float | None
    epochs: int
    failure: str = ""


@dataclass(frozen=True)
class Summary:
    """A study as it stands.

    Attributes
    ----------
    name, monitor : str
        Of the study, and of the metric that is the value of a trial.
    maximize : bool
        Whether a higher value is better.
    rows : sequence of Row
        The trials in order.
    command : sequence of str
        The training command without the values of a trial.
    """

    name: str
    monitor: str
    maximize: bool
    rows: Sequence[Row]
    command: Sequence[str]

    @property
    def best(self) -> Row | None:
        """The best of the finished trials, the earliest where several are as good."""
        finished = [row for row in self.rows if row.state == "COMPLETE"]
        return min(finished, key=lambda row: self._loss(row.value), default=None)

    @property
    def best_command(self) -> str:
        """The command that trains with the values of the best trial, under a name of its own."""
        values = assignments(self.best.values) if self.best is not None else []
        return shlex.join([*self.command, *values, f"experiment_config.run_name={self.name}_best"])

    def best_so_far(self) -> tuple[list[int], list[float]]:
        """Return the numbers of the finished trials and the best value up to each."""
        finished = [(row.number, row.value) for row in self.rows if row.state == "COMPLETE" and row.value is not None]
        better = max if self.maximize else min
        return [number for number, _ in finished], list(accumulate((value for _, value in finished), better))

    def _loss(self, value: float | None) -> float:
        return (value or 0.0) * (-1 if self.maximize else 1)


def assignments(values: Mapping[str, Any]) -> list[str]:
    """Return ``key=value`` arguments that give exactly these values on the command line."""
    return [f"{key}={literal(value)}" for key, value in values.items()]


def literal(value: Any) -> str:
    """Write a value so that the command line reads it back unchanged.

    Examples
    --------
    >>> [literal(value) for value in (1e-05, None, "relu", "true", [64, 32])]
    ['1e-05', 'null', 'relu', '"true"', '[64, 32]']
    """
    if isinstance(value, str) and PLAIN.fullmatch(value) and parse_scalar(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def write_summary(folder: Path, summary: Summary) -> None:
    """Write ``report.md``, its figure and, once a trial has finished, ``best.yaml`` into the study's folder."""
    save_figure(history(summary), folder / FIGURE_FILE)
    write_text(folder / REPORT_FILE, "\n".join(_report(summary)))
    if summary.best is not None:
        nested = to_yaml(ConfigTree(_nested(summary.best.values), {}))
        write_text(folder / BEST_FILE, f"# {summary.best_command}\n{nested}")


def history(summary: Summary) -> Figure:
    """Draw the value of every trial, and the best so far."""
    figure, (axes,) = new_figure()
    for state, marker, color in (("COMPLETE", "o", PALETTE[0]), ("PRUNED", "x", PALETTE[1])):
        points = [(row.number, row.value) for row in summary.rows if row.state == state and row.value is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=color, label=STATES[state])
    numbers, best = summary.best_so_far()
    if numbers:
        axes.step(numbers, best, where="post", color=PALETTE[2], label="best so far")
        axes.legend()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=summary.monitor, title=summary.name)
    return figure


def _report(summary: Summary) -> list[str]:
    """Return the lines of the report."""
    best = summary.best
    keys = list(dict.fromkeys(key for row in summary.rows for key in row.values))
    rows = [
        (
            f"[{row.number}](../{summary.name}_trial_{row.number}/report.md)",
            STATES[row.state],
            row.value,
            row.epochs,
            *(literal(row.values[key]) if key in row.values else None for key in keys),
            row.failure.partition("\n")[0],
        )
        for row in summary.rows
    ]
    found = ["No trial has finished.", ""]
    if best is not None:
        found = [
            f"The best is trial {best.number}: {summary.monitor} {format_value(best.value)}. Its values stand in "
            f"[{BEST_FILE}]({BEST_FILE}); this trains with them:",
            "",
            "```bash",
            summary.best_command,
            "```",
            "",
        ]
    header = ("trial", "state", summary.monitor, "epochs", *(f"`{key}`" for key in keys), "why it failed")
    figure = [f"![Value of every trial, and the best so far]({FIGURE_FILE})", ""]
    return [f"# {summary.name}", "", *found, *figure, *table(header, rows)]


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as the mappings of a file."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return nested
